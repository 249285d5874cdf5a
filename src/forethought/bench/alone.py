"""One model that solves by itself: whole solutions, without a search."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

from forethought.chains import solution_text
from forethought.config import SamplingParams, SearchConfig
from forethought.evaluators.voting import majority
from forethought.model import Completion, Model, Scope, run_scope
from forethought.nodes.state import entries_of
from forethought.prompts import Task, task_named
from forethought.solve import Solution
from forethought.thinking_tags import CLOSE, closing, is_reasoning_model, opening_of
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
        completions, entries = self._written(task, question, count)
        texts = [completion.text for completion in completions]
        if not is_reasoning_model(self.model):
            texts = [solution_text(text, task) for text in texts]
        chosen = majority(texts, task)
        thoughts = [
            self._thought(number, completion, is_chosen=number == chosen)
            for number, completion in enumerate(completions)
        ]
        ledger = close_ledger(entries, thoughts)
        answer = Answer(
            text=texts[chosen],
            answer=task.answer_of(texts[chosen]),
            path=[thoughts[chosen]],
            finish_reason=_REASONS[completions[chosen].finish_reason],
            ledger=replace(ledger, wall_seconds=time.perf_counter() - started),
        )
        return Solution(question, answer, thoughts, {}, self.config)

    def _written(
        self, task: Task, question: str, count: int
    ) -> tuple[list[Completion], list[LedgerEntry]]:
        """Whole solutions, and what they cost; those of a reasoning model in two parts, so that its
        final answer is told from its thinking."""
        thinks, deadline = is_reasoning_model(self.model), self.config.deadline
        ends = deadline and time.monotonic() + deadline
        prompt = opening_of(self.model, task, question, "auto")
        params = replace(self._params(count), stop=(CLOSE,) if thinks else ())
        with run_scope(Scope(deadline=ends)) as scope:
            completions = self.model.generate([prompt] * count, params)
        entries = entries_of(scope, "drafted" if self.source == "draft" else "revised")
        if thinks:
            with run_scope(Scope(deadline=ends)) as scope:
                completions = self._concluded(prompt, completions, replace(params, stop=()))
            entries += entries_of(scope, "answered")
        return completions, entries

    def _concluded(
        self, prompt: list[int], thinking: list[Completion], params: SamplingParams
    ) -> list[Completion]:
        """Thinking with its block closed and the answer behind it; the usage is the thinking's."""
        bridges = [closing(one.text) for one in thinking]
        given = [self.model.encode(bridge, special=True) for bridge in bridges]
        prompts = [prompt + one.tokens + own for one, own in zip(thinking, given, strict=True)]
        room = self.model.context_size - max(map(len, prompts)) - 1
        if room < 1:
            return thinking
        params = replace(params, max_tokens=min(params.max_tokens, room))
        answers = self.model.generate(prompts, params)
        return [
            replace(
                answer,
                text=one.text + bridge + answer.text,
                tokens=one.tokens + own + answer.tokens,
                usage=one.usage,
            )
            for one, bridge, own, answer in zip(thinking, bridges, given, answers, strict=True)
        ]

    def _params(self, count: int) -> SamplingParams:
        """A solution may be as long as a path of the search, all together as a run of it; thinking
        and answer of a reasoning model each."""
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
