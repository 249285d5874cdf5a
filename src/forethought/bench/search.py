"""`forethought bench search`: SpecSearch under one or more evaluators, against the same search with
the target alone.

Problem by problem, all in turn and in alternating order, so that a machine that drifts hurts all
alike; same seeds, same sampler, same code: the baseline is the policy `never`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from forethought.chains import Problem
from forethought.config import SearchConfig
from forethought.evaluators import Cached, Evaluator, same_answer
from forethought.graphs import spec_search
from forethought.model import Model
from forethought.solve import Solution, solve
from forethought.stores import ThresholdStore


@dataclass(frozen=True, slots=True)
class Method:
    """A search with an evaluator, drafting or (`is_alone`) with the target alone."""

    evaluator: Evaluator
    is_alone: bool = False

    @property
    def name(self) -> str:
        """`spec-search` or `target-alone`, and the evaluator."""
        return f"{'target-alone' if self.is_alone else 'spec-search'} {self.evaluator.name}"


@dataclass(frozen=True, slots=True)
class Run:
    """What one method did on one problem; tokens are computed and sampled ones, by role."""

    method: str
    is_right: bool
    seconds: float
    outside_seconds: float
    num_drafts: int
    num_accepted: int
    tokens: dict[str, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """One method over all problems."""

    method: str
    num_problems: int
    accuracy: float
    median_seconds: float
    total_seconds: float
    outside_share: float
    acceptance: float | None
    tokens: dict[str, int]


def compare(
    problems: list[Problem],
    draft: Model,
    target: Model,
    *,
    config: SearchConfig,
    methods: list[Method],
) -> Iterator[Run]:
    """The methods on every problem, in alternating order."""
    store = ThresholdStore()
    for number, problem in enumerate(problems):
        for method in methods if number % 2 == 0 else methods[::-1]:
            policy: Literal["ema", "never"] = "never" if method.is_alone else "ema"
            settings = replace(config, policy=policy, seed=config.seed + number)
            evaluator = Cached(method.evaluator)
            graph = spec_search(draft=draft, target=target, evaluator=evaluator, thresholds=store)
            yield measured(method.name, problem, solve(problem.question, graph, config=settings))


def measured(method: str, problem: Problem, solution: Solution) -> Run:
    """A finished run in figures."""
    ledger = solution.answer.ledger
    drafts = [t for t in solution.thoughts if t.source == "draft"]
    tokens = {role: ledger.tokens_by(role) for role in ("scored", "revised", "answered")}
    kept, rejected = ledger.kept, ledger.rejected
    tokens["draft kept"] = kept.prompt_tokens + kept.generated_tokens
    tokens["draft rejected"] = rejected.prompt_tokens + rejected.generated_tokens
    return Run(
        method=method,
        is_right=same_answer(solution.answer.answer, problem.answer),
        seconds=ledger.wall_seconds,
        outside_seconds=ledger.outside_seconds,
        num_drafts=sum(t.num_draws for t in drafts),
        num_accepted=sum(t.num_draws for t in drafts if t.status != "rejected"),
        tokens=tokens,
    )


def summarise(runs: list[Run], method: str) -> Summary:
    """Figures of one method."""
    own = [run for run in runs if run.method == method]
    drafts = sum(run.num_drafts for run in own)
    seconds = [run.seconds for run in own]
    return Summary(
        method=method,
        num_problems=len(own),
        accuracy=sum(run.is_right for run in own) / len(own),
        median_seconds=statistics.median(seconds),
        total_seconds=sum(seconds),
        outside_share=sum(run.outside_seconds for run in own) / sum(seconds),
        acceptance=sum(run.num_accepted for run in own) / drafts if drafts else None,
        tokens={role: sum(run.tokens[role] for run in own) for role in own[0].tokens},
    )
