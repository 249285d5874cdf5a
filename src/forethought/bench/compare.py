"""All methods on every problem, interleaved: the order of methods rotates from problem to problem,
so that a machine that drifts hurts all alike."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from forethought.bench.engine import QUESTION
from forethought.bench.entrants import Bench, Entrant
from forethought.bench.problems import Posed
from forethought.bench.results import RunLog
from forethought.bench.runs import Run, failed, measured
from forethought.config import SearchConfig
from forethought.config_cot import CotConfig
from forethought.config_thinking import ThinkingConfig
from forethought.errors import PromptTooLong
from forethought.nodes import Rules
from forethought.prompts import task_named

_FEW: Final = 24  # tokens
_SHORT: Final[Mapping[type, Mapping[str, Any]]] = {
    SearchConfig: {"max_depth": 1, "thought_tokens": _FEW, "max_tokens": 512},
    ThinkingConfig: {"max_tokens": _FEW, "limit_counts_prompt": False},
    CotConfig: {"draft_tokens": _FEW, "think_tokens": _FEW, "answer_tokens": _FEW},
}


def missing_runs(
    labels: Sequence[str], posed: Sequence[Posed], log: RunLog
) -> list[tuple[int, str]]:
    """The runs that the log lacks, in the order to make them: a problem's place, and a method.

    Raises:
        ConfigError: the log holds runs on other problems of the same names.
    """
    return [
        (place, label)
        for place, one in enumerate(posed)
        for label in _rotated(labels, place)
        if log.find(label, one) is None
    ]


def compare(
    bench: Bench, entrants: Sequence[Entrant], posed: Sequence[Posed], log: RunLog
) -> Iterator[Run]:
    """Make the runs that the log lacks, each kept there before it is given.

    All methods meet a problem with the same seed, the settings' plus the problem's place. Grading
    is outside the timings. A question that does not fit a method's models is a wrong answer, for
    else no benchmark with it could be finished.

    Raises:
        ConfigError: as `missing_runs`; SearchError, EvaluatorError, EngineError: see
            `forethought.errors`; what was finished is in the log.
    """
    by_label = {entrant.method.label: entrant for entrant in entrants}
    for place, label in missing_runs(list(by_label), posed, log):
        entrant = by_label[label]
        run = _run(bench, entrant, posed[place], seed=entrant.config.seed + place)
        log.add(run)
        yield run


def warm_up(bench: Bench, entrants: Sequence[Entrant]) -> None:
    """One short step of every method on a question of our own, so that no first run pays for what
    is done once: pages of the weights, buffers, programs started. Nothing of it is kept."""
    for entrant in entrants:
        config = replace(entrant.config, deadline=None, **_SHORT[type(entrant.config)])
        apart = replace(entrant, config=config, store=None, rules=Rules())
        bench.solve(apart, QUESTION, seed=config.seed)


def _run(bench: Bench, entrant: Entrant, posed: Posed, *, seed: int) -> Run:
    bench.start_afresh(task_named(entrant.config.task))
    label, started = entrant.method.label, time.perf_counter()
    try:
        solution = bench.solve(entrant, posed.problem.question, seed=seed)
    except PromptTooLong as error:
        return failed(label, posed, error, seed=seed, seconds=time.perf_counter() - started)
    return measured(label, posed, solution)


def _rotated(labels: Sequence[str], place: int) -> list[str]:
    first = place % len(labels)
    return [*labels[first:], *labels[:first]]
