"""Estimators and the moving average of the rejection threshold, by hand."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from forethought.config import Estimator, SearchConfig
from forethought.nodes.accept import next_beta
from forethought.nodes.thresholds import estimate, next_threshold
from forethought.thoughts import Source, Status, Thought

SCORES = [0.7, 0.9, 0.6]


def config(**settings: Any) -> SearchConfig:
    return SearchConfig(**settings)


@pytest.mark.parametrize(
    ("estimator", "value", "expected"),
    [("mean", 0.733333, 0.793333), ("max", 0.9, 0.81), ("ucb", 0.821525, 0.802153)],
)
def test_worked_example(estimator: Estimator, value: float, expected: float) -> None:
    assert estimate(SCORES, estimator) == pytest.approx(value, abs=1e-6)
    beta = next_threshold(0.80, SCORES, config(theta=0.9, theta_estimator=estimator))
    assert beta == pytest.approx(expected, abs=1e-6)


def test_ucb_takes_the_sample_deviation_over_the_root_of_n() -> None:
    bound = statistics.fmean(SCORES) + 2.5 * statistics.stdev(SCORES) / math.sqrt(3)
    assert estimate(SCORES, "ucb", ucb_c=2.5) == pytest.approx(bound)
    assert next_threshold(0.5, SCORES, config(theta=0.0, theta_estimator="ucb", ucb_c=2.5)) == (
        pytest.approx(bound)
    )


def test_ucb_of_one_score_is_that_score() -> None:
    assert estimate([0.4], "ucb", ucb_c=100.0) == 0.4


@pytest.mark.parametrize("beta", [None, 0.0, 0.42])
def test_an_empty_pool_leaves_beta_as_it_is(beta: float | None) -> None:
    assert next_threshold(beta, [], config()) == beta


def test_a_beta_of_zero_is_averaged_like_any_other() -> None:
    assert next_threshold(0.0, [0.5], config(theta=0.9)) == pytest.approx(0.05)


def test_the_first_beta_is_the_estimate_itself() -> None:
    assert next_threshold(None, SCORES, config(theta_estimator="max")) == 0.9


def test_init_estimator_makes_the_first_beta_and_no_other() -> None:
    settings = config(theta_estimator="mean", init_estimator="max", theta=0.0)
    assert next_threshold(None, SCORES, settings) == 0.9
    assert next_threshold(0.5, SCORES, settings) == pytest.approx(statistics.fmean(SCORES))


@pytest.mark.parametrize(("theta", "expected"), [(0.0, 0.5), (1.0, 0.8)])
def test_theta_weighs_the_old_beta(theta: float, expected: float) -> None:
    assert next_threshold(0.8, [0.5], config(theta=theta)) == expected


# Which scores are in the pool


def thought(number: int, *, source: Source, status: Status, score: float | None) -> Thought:
    return Thought(
        id=number,
        parent=0,
        depth=2,
        text="a\n\n",
        tokens=[],
        vocabulary="",
        source=source,
        is_terminal=False,
        status=status,
        score=score,
    )


CANDIDATES = [
    thought(1, source="draft", status="accepted", score=0.9),
    thought(2, source="draft", status="rejected", score=0.1),
    thought(3, source="target", status="revised", score=0.5),
    thought(4, source="target", status="revised", score=None),
]


@pytest.mark.parametrize(("pool", "expected"), [("large_only", 0.5), ("large_plus_accepted", 0.7)])
def test_the_pool_holds_target_scores_and_by_choice_those_of_accepted_drafts(
    pool: str, expected: float
) -> None:
    state: Any = {"depth": 2, "thresholds": {2: 0.3}}
    settings = config(theta=0.0, estimator_pool=pool)
    assert next_beta(state, CANDIDATES, settings) == pytest.approx(expected)


def test_without_scores_an_earlier_runs_value_for_the_next_depth_stays() -> None:
    state: Any = {"depth": 2, "thresholds": {2: 0.3, 3: 0.6}}
    assert next_beta(state, CANDIDATES[:2], config()) == 0.6


def test_without_scores_and_without_an_earlier_run_beta_is_carried_on() -> None:
    state: Any = {"depth": 2, "thresholds": {2: 0.3}}
    assert next_beta(state, CANDIDATES[:2], config()) == 0.3
