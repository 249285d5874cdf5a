"""Rounds of token-level speculation on two engines: the draft proposes, the target verifies.

Either takes one request for all sequences of a call; what an engine has computed before comes from
its prefix cache.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from forethought.config import SamplingParams
from forethought.engine.continuation import Continuation
from forethought.engine.engine import Engine
from forethought.engine.gamma import Plain, Round
from forethought.engine.rejection import Proposal, Propose, Verdict, Verify
from forethought.model import NO_USAGE, Completion, StopReason, Usage


@dataclass(slots=True, eq=False)
class Writing:
    """One prompt of a call, what is written after it, and the chances of its own draws."""

    prompt: list[int]
    written: Continuation
    chance: np.random.Generator
    usage: Usage = NO_USAGE
    completion: Completion | None = None

    @property
    def tokens(self) -> list[int]:
        """The prompt and what is written."""
        return self.prompt + self.written.tokens


def begin(prompts: list[list[int]], params: SamplingParams) -> list[Writing]:
    """A call's writings; each draws from a stream of its own, whatever becomes of the others."""
    return [
        Writing(prompt, Continuation(index), np.random.default_rng([params.seed, index]))
        for index, prompt in enumerate(prompts)
    ]


@dataclass(frozen=True, slots=True)
class Rounds:
    """A target and its draft."""

    target: Engine
    draft: Engine

    def room(self, gamma: int) -> int:
        """With fewer tokens than these, a sequence has room for a round in both contexts."""
        return min(self.target.context_size, self.draft.context_size) - gamma

    def speculate(self, writings: list[Writing], params: SamplingParams, gamma: int) -> Round:
        """Add at least one token to each; fewer than `gamma` are proposed where `max_tokens` is
        near.

        Raises:
            RunStopped: the caller's run was cancelled or ran out of time; nothing was added then.
        """
        started = time.perf_counter()
        proposals, drafting = self._proposals(writings, params, gamma)
        drafted = time.perf_counter()
        chances = [
            w.chance.random((len(proposed) + 1, 2))
            for w, proposed in zip(writings, proposals, strict=True)
        ]
        prompts = [writing.tokens for writing in writings]
        tokens, verifying = self.target.verify(prompts, Verify(params, proposals, chances))
        verified = time.perf_counter()
        for writing, *usages in zip(writings, drafting, verifying, strict=True):
            writing.usage += sum(usages, NO_USAGE)
        self._take(writings, tokens, params)
        counts = [len(proposed) for proposed in proposals]
        is_timed = _num_computed(drafting) <= 2 * len(writings)
        is_timed = is_timed and _num_computed(verifying) <= sum(counts) + len(writings)
        return Round(
            num_sequences=len(writings),
            num_proposed=sum(counts),
            num_judged=sum(min(n, len(t)) for n, t in zip(counts, tokens, strict=True)),
            num_accepted=sum(len(drawn) - 1 for drawn in tokens),
            seconds=(drafted - started, verified - drafted) if is_timed else None,
        )

    def write_alone(self, writings: list[Writing], params: SamplingParams) -> Plain:
        """Let the target write each to its end, as if it had written all of it."""
        started = time.perf_counter()
        texts = [writing.written for writing in writings]
        completions = self.target.go_on([writing.prompt for writing in writings], params, texts)
        seconds = time.perf_counter() - started
        usages = [completion.usage for completion in completions]
        for writing, completion in zip(writings, completions, strict=True):
            usage = writing.usage + completion.usage
            writing.completion = replace(completion, usage=usage)
        counts = [usage.generated_tokens for usage in usages]
        is_timed = _num_computed(usages) <= len(writings)
        return Plain(len(writings), max(counts), sum(counts), seconds if is_timed else None)

    def stop(self, writings: list[Writing], params: SamplingParams, reason: StopReason) -> None:
        """End each with what there is."""
        with self.target.open_vocabulary() as vocabulary:
            for writing in writings:
                writing.completion = writing.written.completed(
                    reason, params, vocabulary, writing.usage
                )

    def _proposals(
        self, writings: list[Writing], params: SamplingParams, gamma: int
    ) -> tuple[list[list[Proposal]], list[Usage]]:
        # the target adds a token of its own, so the last one that may be written is not proposed
        lefts = [params.max_tokens - len(writing.written.tokens) - 1 for writing in writings]
        counts = [min(gamma, left) for left in lefts]
        asked = [index for index, count in enumerate(counts) if count]
        proposals: list[list[Proposal]] = [[] for _ in writings]
        usages = [NO_USAGE] * len(writings)
        ask = Propose(
            [replace(params, max_tokens=counts[index]) for index in asked],
            [writings[index].chance.random(counts[index]) for index in asked],
        )
        found = self.draft.propose([writings[index].tokens for index in asked], ask)
        for index, proposed, usage in zip(asked, *found, strict=True):
            proposals[index], usages[index] = proposed, usage
        return proposals, usages

    def _take(
        self, writings: list[Writing], tokens: list[list[Verdict]], params: SamplingParams
    ) -> None:
        """Add tokens up to the one that ends a writing; those behind it are forgotten."""
        with self.target.open_vocabulary() as vocabulary:
            for writing, drawn in zip(writings, tokens, strict=True):
                for one in drawn:
                    if reason := writing.written.add(
                        one.token, params, vocabulary, logprob=one.logprob
                    ):
                        writing.completion = writing.written.completed(
                            reason, params, vocabulary, writing.usage
                        )
                        break


def _num_computed(usages: list[Usage]) -> int:
    return sum(usage.prompt_tokens for usage in usages)
