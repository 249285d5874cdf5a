"""The end of a chain of thought: what it says, or what the target states where it has no end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.config_thinking import ThinkingConfig
from forethought.model import Model
from forethought.nodes.chain import ChainRuntime, ChainState, chain_of, chain_settings
from forethought.nodes.closing import Closing, ForcedEnd, forced_end
from forethought.nodes.commits import commit
from forethought.nodes.state import tell
from forethought.prompts import task_named
from forethought.thinking_tags import closing, has_think_tags, opening_of
from forethought.thoughts import (
    Answer,
    Thought,
    close_ledger,
    merge_entries,
    text_of,
)


@dataclass(frozen=True, slots=True)
class Conclude:
    """Reads the answer off a chain that has ended. One that was stopped is closed by the target,
    its think block first; a cancelled run gets it as it stands."""

    model: Model

    def __call__(self, state: ChainState, runtime: ChainRuntime) -> dict[str, Any]:
        config, chain = chain_settings(runtime), chain_of(state)
        task = task_named(config.task)
        end = ForcedEnd([], "answer", [])
        if not (state["is_ended"] and any(thought.text.strip() for thought in chain)):
            chain = [thought for thought in chain if not thought.is_terminal]
            end = forced_end(
                state, runtime, config, chain, lambda: self._closed(state, chain, config)
            )
        path = chain + end.added
        ledger = close_ledger(merge_entries(state["ledger"], end.entries), state["thoughts"])
        text = text_of(path)
        answer = Answer(text, task.answer_of(text), path, end.reason, ledger)
        told = commit(state, runtime, path)
        tell(runtime, "answered", answer=answer)
        return told | {"answer": answer, "ledger": end.entries, "thoughts": end.added}

    def _closed(
        self, state: ChainState, chain: list[Thought], config: ThinkingConfig
    ) -> Thought | None:
        text = "".join(thought.text for thought in chain)
        bridge = closing(text) if has_think_tags(self.model, config.reasoning) else ""
        task, number = task_named(config.task), len(state["thoughts"]) + 1
        opening = opening_of(self.model, task, state["question"], config.reasoning)
        return Closing(self.model, task).end(opening, chain, number, bridge=bridge)
