"""`forethought bench search`: SpecSearch against the same search with the target alone.

Problem by problem, both in turn and in alternating order, so that a machine that drifts hurts both
alike; same seeds, same sampler, same judge, same code: the baseline is the policy `never`.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from forethought.config import SearchConfig, require
from forethought.engine import Engine
from forethought.evaluators import Judge
from forethought.graphs import spec_search
from forethought.prompts import task_named
from forethought.solve import Solution, solve
from forethought.stores import ThresholdStore

Method = Literal["spec-search", "target-alone"]
METHODS: tuple[Method, ...] = ("spec-search", "target-alone")


@dataclass(frozen=True, slots=True)
class Problem:
    """A question and its final answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Run:
    """What one method did on one problem; tokens are computed and sampled ones, by role."""

    method: Method
    is_right: bool
    seconds: float
    outside_seconds: float
    num_drafts: int
    num_accepted: int
    tokens: dict[str, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """One method over all problems."""

    method: Method
    num_problems: int
    accuracy: float
    median_seconds: float
    total_seconds: float
    outside_share: float
    acceptance: float | None
    tokens: dict[str, int]


def load_problems(path: Path, limit: int) -> list[Problem]:
    """The first `limit` problems of a JSON Lines file with `question` and `answer`.

    Raises:
        ConfigError: a line is not of this form.
    """
    problems = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()[:limit], 1):
        try:
            row = json.loads(line)
            problems.append(Problem(str(row["question"]), str(row["answer"])))
        except (ValueError, KeyError, TypeError) as error:
            require(False, f"{path}:{number} is no JSON object of question and answer: {error}")
    require(bool(problems), f"{path} has no problems")
    return problems


def compare(
    problems: list[Problem],
    draft: Engine,
    target: Engine,
    *,
    config: SearchConfig,
    methods: tuple[Method, ...] = METHODS,
) -> Iterator[Run]:
    """The methods on every problem, in alternating order."""
    judge = Judge(target, task_named(config.task))
    graph = spec_search(draft=draft, target=target, evaluator=judge, thresholds=ThresholdStore())
    for number, problem in enumerate(problems):
        order = methods if number % 2 == 0 else methods[::-1]
        for method in order:
            policy: Literal["ema", "never"] = "ema" if method == "spec-search" else "never"
            settings = replace(config, policy=policy, seed=config.seed + number)
            yield measured(method, problem, solve(problem.question, graph, config=settings))


def measured(method: Method, problem: Problem, solution: Solution) -> Run:
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


def summarise(runs: list[Run], method: Method) -> Summary:
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


def same_answer(given: str, expected: str) -> bool:
    """Equal as numbers where both end in one, else as text without spaces and dollar signs."""
    left, right = _number(given), _number(expected)
    if left is not None and right is not None:
        return abs(left - right) < 1e-6
    return re.sub(r"[\s$]", "", given) == re.sub(r"[\s$]", "", expected)


def _number(text: str) -> float | None:
    found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    return float(found[-1].replace(",", "")) if found else None
