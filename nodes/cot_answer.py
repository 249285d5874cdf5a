"""The final answer of Speculative Chain-of-Thought: the target writes it behind one chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from forethought.config import SamplingParams
from forethought.config_cot import CotConfig
from forethought.errors import RemoteError
from forethought.model import Model
from forethought.nodes.closing import Closing
from forethought.nodes.commits import commit
from forethought.nodes.cot_state import CotRuntime, CotState, chain_to_answer, cot_settings
from forethought.nodes.state import entries_of, lost, node_scope, tell
from forethought.prompts import task_named
from forethought.thinking_tags import closing, has_think_tags, is_closed, opening_of
from forethought.thoughts import (
    Answer,
    Source,
    Status,
    Thought,
    close_ledger,
    merge_entries,
    text_of,
)

_STANDS: Final[dict[Source, Status]] = {"draft": "accepted", "target": "revised"}


@dataclass(frozen=True, slots=True)
class AnswerFromChain:
    """The answer from question and chain, the think block closed between them, greedily; without
    think tags, from the task's answer cue on. Where the target itself wrote the chain without tags
    and states the answer in it, there is nothing left to write."""

    model: Model

    def __call__(self, state: CotState, runtime: CotRuntime) -> dict[str, Any]:
        config = cot_settings(runtime)
        task = task_named(config.task)
        chain = chain_to_answer(state)
        path = [] if chain is None else [chain.marked(_STANDS[chain.source])]
        stop = state["stop"]
        with node_scope(state, config, answering=True) as scope:
            if not self._is_answered(path, config):
                try:
                    path += self._endings(state, path, config)
                except RemoteError as error:
                    stop = lost(path, runtime, error)
        is_whole = all(t.is_terminal for t in path) and self._is_answered(path, config)
        reason = stop or ("answer" if is_whole else scope.stop_reason() or "limit")
        entries = entries_of(scope, "answered")
        thoughts = settled(state["chains"], path)
        text = text_of(path)
        ledger = close_ledger(merge_entries(state["ledger"], entries), thoughts)
        answer = Answer(text, task.answer_of(text), path, reason, ledger)
        tell(runtime, "selected", thoughts=thoughts)
        told = commit(state, runtime, path)
        tell(runtime, "answered", answer=answer)
        return told | {"answer": answer, "ledger": entries, "thoughts": thoughts, "chains": []}

    def _is_answered(self, path: list[Thought], config: CotConfig) -> bool:
        """Whether the target has written an answer behind the last chain, or within its own."""
        if not path or path[-1].source == "draft":
            return False
        if has_think_tags(self.model, config.reasoning):
            return is_closed("".join(thought.text for thought in path))
        return task_named(config.task).find_answer(path[-1].text) is not None

    def _endings(self, state: CotState, path: list[Thought], config: CotConfig) -> list[Thought]:
        """What the target concludes, with what parts it from the chain; nothing where there is no
        room, or the run may not write any more."""
        task, number = task_named(config.task), len(state["chains"]) + 1
        opening = opening_of(self.model, task, state["question"], config.reasoning)
        text, ends = "".join(thought.text for thought in path), Closing(self.model, task)
        if has_think_tags(self.model, config.reasoning):
            params = SamplingParams(
                temperature=0.0, max_tokens=config.answer_tokens, seed=config.seed
            )
            ending = ends.written(opening, path, number, lead=closing(text), params=params)
        else:
            bridge = "" if not text or text.endswith(task.delimiter) else task.delimiter
            ending = ends.end(opening, path, number, bridge=bridge)
        return [ending] if ending else []


def settled(chains: list[Thought], path: list[Thought]) -> list[Thought]:
    """All thoughts of a run that ended with `path`; chains that are not on it were of no use."""
    known = {chain.id for chain in chains}
    on_path = {thought.id: thought for thought in path}
    decided = [on_path.get(chain.id, chain.marked("rejected")) for chain in chains]
    return decided + [thought for thought in path if thought.id not in known]
