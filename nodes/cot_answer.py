"""The final answer of Speculative Chain-of-Thought: the target writes it behind one chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from forethought.config import SamplingParams
from forethought.config_cot import CotConfig
from forethought.evaluators import path_tokens
from forethought.model import Completion, Model
from forethought.nodes.closing import forced_end
from forethought.nodes.cot_state import CotRuntime, CotState, chain_to_answer, cot_settings
from forethought.nodes.state import entries_of, node_scope, tell
from forethought.nodes.whole_chains import has_think_tags, opening_of
from forethought.prompts import Task, task_named
from forethought.thinking_tags import closing
from forethought.thoughts import (
    ROOT,
    Answer,
    Source,
    Status,
    Thought,
    close_ledger,
    merge_entries,
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
        is_answered = chain is not None and self._has_answered(chain, config)
        with node_scope(state, config, answering=True) as scope:
            ending = None if is_answered else self._ending(state, chain, config)
        if ending is not None:
            path.append(ending)
        is_whole = all(t.is_terminal for t in path) and (is_answered or ending is not None)
        reason = state["stop"] or ("answer" if is_whole else scope.stop_reason() or "limit")
        entries = entries_of(scope, "answered")
        thoughts = settled(state["thoughts"], path)
        text = "".join(thought.text for thought in path).strip()
        ledger = close_ledger(merge_entries(state["ledger"], entries), thoughts)
        answer = Answer(text, task.answer_of(text), path, reason, ledger)
        tell(runtime, "selected", thoughts=thoughts)
        tell(runtime, "answered", answer=answer)
        return {"answer": answer, "ledger": entries, "thoughts": thoughts}

    def _has_answered(self, chain: Thought, config: CotConfig) -> bool:
        """Whether the chain is a whole solution of the target's own."""
        is_own = chain.source == "target" and chain.is_terminal
        stated = task_named(config.task).find_answer(chain.text)
        return is_own and not has_think_tags(self.model, config) and stated is not None

    def _ending(self, state: CotState, chain: Thought | None, config: CotConfig) -> Thought | None:
        """What the target concludes from the chain, with what parts the two; None where there is
        no room, or the run may not write any more."""
        task, text = task_named(config.task), chain.text if chain else ""
        is_tagged = has_think_tags(self.model, config)
        between = closing(text) if is_tagged else parting(text, task)
        tokens = self.model.encode(between, special=is_tagged)
        prompt = opening_of(self.model, state["question"], config)
        prompt += path_tokens(self.model, [chain] if chain else []) + tokens
        if is_tagged:
            completion = self._conclusion(prompt, config)
        else:
            completion = forced_end(self.model, task, prompt)
        if completion is None:
            return None
        return Thought(
            id=len(state["thoughts"]) + 1,
            parent=chain.id if chain else ROOT,
            depth=2 if chain else 1,
            text=between + completion.text,
            tokens=tokens + completion.tokens,
            vocabulary=self.model.vocabulary,
            source="target",
            is_terminal=completion.finish_reason in ("stop", "eos"),
            usage=completion.usage,
            status="final",
        )

    def _conclusion(self, prompt: list[int], config: CotConfig) -> Completion | None:
        limit = min(config.answer_tokens, self.model.context_size - len(prompt) - 1)
        if limit < 1:
            return None
        params = SamplingParams(temperature=0.0, max_tokens=limit, seed=config.seed)
        (completion,) = self.model.generate([prompt], params)
        return completion if completion.text.strip() else None


def parting(text: str, task: Task) -> str:
    """What parts a chain from the answer cue: the task's delimiter, where it does not end so."""
    return "" if not text or text.endswith(task.delimiter) else task.delimiter


def settled(thoughts: list[Thought], path: list[Thought]) -> list[Thought]:
    """All thoughts of a run that ended with `path`; drafts that are not on it were of no use."""
    on_path = {thought.id: thought for thought in path}
    known = {thought.id for thought in thoughts}
    chains = [on_path.get(thought.id, thought.marked("rejected")) for thought in thoughts]
    return chains + [thought for thought in path if thought.id not in known]
