"""One model that solves by itself: whole solutions, without a search."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final, Literal

from forethought.chains import solution_text
from forethought.config import SamplingParams, SearchConfig
from forethought.evaluators.voting import majority
from forethought.model import Completion, Model, Scope, run_scope
from forethought.prompts import task_named
from forethought.solve import Solution
from forethought.thinking_tags import has_think_tags, opening_of
from forethought.thoughts import ROOT, Answer, EndReason, LedgerEntry, Source, Thought, close_ledger

_REASONS: Final[dict[str, EndReason]] = {
    "stop": "answer",
    "eos": "answer",
    "length": "limit",
    "cancelled": "cancelled",
    "deadline": "deadline",
}


@dataclass(frozen=True, slots=True)
class Alone:
    """One model that writes whole solutions: one at temperature 0, or several at the temperature of
    `config`, whose most frequent answer wins (self-consistency, Wang et al., arXiv:2203.11171)."""

    model: Model
    source: Source
    config: SearchConfig

    def solve(self, question: str, count: int) -> Solution:
        """The model's answer; its `thoughts` are the `count` solutions, each one thought long.

        Raises:
            PromptTooLong, EngineError: see `forethought.errors`.
        """
        started = time.perf_counter()
        task = task_named(self.config.task)
        deadline = self.config.deadline
        with run_scope(Scope(deadline=deadline and time.monotonic() + deadline)) as scope:
            prompt = opening_of(self.model, task, question, "auto")
            completions = self.model.generate([prompt] * count, self._params(count))
        texts = [completion.text for completion in completions]
        if not has_think_tags(self.model, "auto"):
            texts = [solution_text(text, task) for text in texts]
        chosen = majority(texts, task)
        thoughts = [
            self._thought(number, completion, is_chosen=number == chosen)
            for number, completion in enumerate(completions)
        ]
        role: Literal["drafted", "revised"] = "drafted" if self.source == "draft" else "revised"
        entries = [LedgerEntry(name, role, used) for name, used in scope.meter.totals().items()]
        ledger = close_ledger(entries, thoughts)
        answer = Answer(
            text=texts[chosen],
            answer=task.answer_of(texts[chosen]),
            path=[thoughts[chosen]],
            finish_reason=_REASONS[completions[chosen].finish_reason],
            ledger=replace(ledger, wall_seconds=time.perf_counter() - started),
        )
        return Solution(question, answer, thoughts, {}, self.config)

    def _params(self, count: int) -> SamplingParams:
        """A solution may be as long as a path of the search, all together as a run of it."""
        config = self.config
        longest = min(config.thought_tokens * config.max_depth, config.max_tokens // count)
        params = config.sampling(seed=config.seed)
        params = replace(params, max_tokens=max(1, longest), keep_stop=False)
        return params if count > 1 else replace(params, temperature=0.0)

    def _thought(self, number: int, completion: Completion, *, is_chosen: bool) -> Thought:
        return Thought(
            id=number + 1,
            parent=ROOT,
            depth=1,
            text=completion.text,
            tokens=completion.tokens,
            vocabulary=self.model.vocabulary,
            source=self.source,
            is_terminal=True,
            usage=completion.usage,
            status="final" if is_chosen else "pruned",
        )
