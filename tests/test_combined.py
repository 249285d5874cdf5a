"""Evaluators made of others: ensembles, steps taken together, and scores that are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from operator import mul
from typing import Any

import numpy as np
import pytest
from evaluator_contract import QUESTION, path_of

from forethought.errors import ConfigError, EvaluatorError
from forethought.evaluators.aggregate import Aggregate
from forethought.evaluators.asking import prefix_keys, scores_of
from forethought.evaluators.cache import Cached
from forethought.evaluators.ensemble import Ensemble
from forethought.thoughts import Thought


class Last:
    """Scores a path by the number that its last thought's text is, and notes what it was asked."""

    def __init__(self, name: str = "last", change: Callable[[float], Any] = float) -> None:
        self.name = name
        self.asked: list[list[str]] = []
        self._change = change

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        self.asked.append([" ".join(thought.text for thought in path) for path in paths])
        return [self._change(float(path[-1].text)) for path in paths]


class Failing(Last):
    """Cannot score until it is mended."""

    is_broken = True

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        scores = super().score(question, paths)
        if self.is_broken:
            raise EvaluatorError("broken")
        return scores


A = path_of("0.9", "0.5", "0.8")
B = path_of("0.9", "0.5", "0.1")
C = path_of("0.4")


# Aggregate


@pytest.mark.parametrize(
    ("how", "scores"),
    [
        ("last", [0.8, 0.1, 0.4]),
        ("min", [0.5, 0.1, 0.4]),
        ("mean", [2.2 / 3, 0.5, 0.4]),
        ("product", [0.36, 0.045, 0.4]),
    ],
)
def test_a_paths_steps_are_taken_together(how: Any, scores: list[float]) -> None:
    assert Aggregate(Last(), how).score(QUESTION, [A, B, C]) == pytest.approx(scores)


def test_distinct_prefixes_are_asked_for_in_one_call() -> None:
    inner = Last()
    Aggregate(inner, "min").score(QUESTION, [A, B, C, A])
    assert inner.asked == [["0.9", "0.9 0.5", "0.9 0.5 0.8", "0.9 0.5 0.1", "0.4"]]


def test_the_last_step_alone_passes_through() -> None:
    inner = Last()
    last = Aggregate(inner, "last")
    assert last.score(QUESTION, [A, A]) == [0.8, 0.8]
    assert inner.asked == [["0.9 0.5 0.8", "0.9 0.5 0.8"]]
    assert last.name == inner.name
    assert Aggregate(inner, "product").name == "product(last)"


def test_steps_cannot_be_taken_together_otherwise() -> None:
    with pytest.raises(ConfigError, match="how must be one of last, min, mean, product, not 'max'"):
        Aggregate(Last(), "max")  # type: ignore[arg-type]
    with pytest.raises(EvaluatorError, match="without thoughts"):
        Aggregate(Last(), "product").score(QUESTION, [A, []])


# Ensemble


def members(*scales: float) -> tuple[Last, ...]:
    return tuple(Last(f"m{i}", partial(mul, scale)) for i, scale in enumerate(scales))


@pytest.mark.parametrize(
    ("how", "weights", "score"),
    [
        ("mean", (), 0.5),
        ("mean", (3, 1), 0.65),
        ("geometric", (), 0.4),
        ("geometric", (3, 1), 0.8**0.75 * 0.2**0.25),
        ("min", (), 0.2),
        ("product", (), 0.16),
    ],
)
def test_members_are_joined(how: Any, weights: Any, score: float) -> None:
    ensemble = Ensemble(members(1.0, 0.25), weights, how)
    assert ensemble.score(QUESTION, [A, A]) == pytest.approx([score, score])


@pytest.mark.parametrize("how", ["mean", "geometric", "min", "product"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_rounding_leads_out_of_range(how: Any, value: float) -> None:
    weights = (0.1, 0.2, 0.7, 3.3) if how in ("mean", "geometric") else ()
    ensemble = Ensemble(members(1.0, 1.0, 1.0, 1.0), weights, how)
    assert ensemble.score(QUESTION, [path_of(str(value))]) == [value]


def test_every_member_is_asked_once_and_a_failing_one_raises() -> None:
    sound = Last()
    assert Ensemble((sound, Last())).score(QUESTION, [A, B]) == pytest.approx([0.8, 0.1])
    assert len(sound.asked) == 1
    with pytest.raises(EvaluatorError, match="broken"):
        Ensemble((sound, Failing())).score(QUESTION, [A])


def test_an_ensembles_name_has_its_members_and_their_shares() -> None:
    pair = members(1.0, 1.0)
    assert Ensemble(pair).name == "mean(m0, m1)"
    assert Ensemble(pair, (3, 1), "geometric").name == "geometric(0.75*m0, 0.25*m1)"
    assert Ensemble(pair, (3, 1)).name == Ensemble(pair, (6, 2)).name
    assert Ensemble(pair, how="min").name == "min(m0, m1)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": ()}, "at least one member"),
        ({"weights": (1.0,)}, "1 weights for 2 members"),
        ({"weights": (1.0, 0.0)}, "above 0"),
        ({"weights": (1.0, -2.0)}, "above 0"),
        ({"weights": (1.0, float("nan"))}, "above 0"),
        ({"weights": (1.0, float("inf"))}, "above 0"),
        ({"weights": (1.0, 1.0), "how": "min"}, "mean nothing to how='min'"),
        ({"how": "median"}, "how must be one of mean, geometric, min, product, not 'median'"),
    ],
)
def test_an_ensemble_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Ensemble(**{"members": members(1.0, 1.0), **settings})


# Cached


def test_a_path_is_scored_once() -> None:
    inner = Last()
    cached = Cached(inner)
    assert cached.score(QUESTION, [A, B, A]) == [0.8, 0.1, 0.8]
    assert cached.score(QUESTION, [C, B]) == [0.4, 0.1]
    assert inner.asked == [["0.9 0.5 0.8", "0.9 0.5 0.1"], ["0.4"]]
    assert (cached.hits, cached.misses) == (2, 3)
    assert cached.name == "last"


def test_nobody_is_asked_where_all_is_known() -> None:
    inner = Last()
    cached = Cached(inner)
    for _ in range(3):
        assert cached.score(QUESTION, [A]) == [0.8]
    assert len(inner.asked) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"text": "0.5"},
        {"tokens": [7]},
        {"vocabulary": "another"},
        {"is_terminal": True},
    ],
)
def test_what_an_evaluator_may_judge_by_makes_another_path(other: dict[str, Any]) -> None:
    inner = Last()
    cached = Cached(inner)
    cached.score(QUESTION, [C])
    cached.score(QUESTION, [[replace(C[0], **other)]])
    cached.score("Another question?", [C])
    assert len(inner.asked) == 3


def test_what_an_evaluator_does_not_judge_by_does_not() -> None:
    inner = Last()
    cached = Cached(inner)
    later = replace(C[0], id=99, parent=98, source="target", score=0.1, status="pruned")
    cached.score(QUESTION, [C, [later]])
    assert inner.asked == [["0.4"]]


def test_thoughts_are_not_run_together_in_keys() -> None:
    paths = [path_of("1", "23"), path_of("12", "3"), path_of("123"), path_of("1", "2", "3")]
    assert len({prefix_keys(QUESTION, path)[-1] for path in paths}) == 4
    assert prefix_keys(QUESTION, A)[:2] == prefix_keys(QUESTION, B)[:2]
    assert prefix_keys(QUESTION, A)[:2] == prefix_keys(QUESTION, A[:2])
    assert len(prefix_keys("half a pair: \ud83d", path_of("\ud83d"))) == 1


def test_a_failure_is_not_kept() -> None:
    inner = Failing()
    cached = Cached(inner)
    with pytest.raises(EvaluatorError, match="broken"):
        cached.score(QUESTION, [A])
    inner.is_broken = False
    assert cached.score(QUESTION, [A]) == [0.8]
    assert (cached.hits, cached.misses) == (0, 1)


def test_the_path_that_was_asked_for_longest_ago_is_forgotten() -> None:
    inner = Last()
    cached = Cached(inner, capacity=2)
    for path in (A, B, A, C):  # C takes the place of B
        cached.score(QUESTION, [path])
    inner.asked.clear()
    cached.score(QUESTION, [A])
    cached.score(QUESTION, [C])
    assert inner.asked == []
    cached.score(QUESTION, [B])
    assert inner.asked == [["0.9 0.5 0.1"]]
    with pytest.raises(ConfigError, match="capacity must be at least 1, not 0"):
        Cached(inner, capacity=0)


def test_a_call_may_ask_for_more_than_is_kept() -> None:
    cached = Cached(Last(), capacity=1)
    assert cached.score(QUESTION, [A, B, C, A]) == [0.8, 0.1, 0.4, 0.8]
    assert cached.score(QUESTION, [A, B, C, A]) == [0.8, 0.1, 0.4, 0.8]


def test_many_threads_get_their_own_scores() -> None:
    cached = Cached(Last(), capacity=40)
    barrier = threading.Barrier(8)
    paths = [path_of(f"0.{number:03}") for number in range(100)]

    def ask(first: int) -> bool:
        barrier.wait(10)
        for start in range(first, 90, 3):
            some = paths[start : start + 10]
            if cached.score(QUESTION, some) != [float(path[0].text) for path in some]:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    num_asked = sum(len(range(first, 90, 3)) * 10 for first in range(8))
    assert cached.hits + cached.misses == num_asked


def test_one_that_scores_holds_up_no_other() -> None:
    entered, release = threading.Event(), threading.Event()

    def wait(score: float) -> float:
        if score == 0.8:
            entered.set()
            assert release.wait(10)
        return score

    cached = Cached(Last(change=wait))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cached.score, QUESTION, [A])
        assert entered.wait(10)
        assert cached.score(QUESTION, [C]) == [0.4]
        release.set()
        assert slow.result(10) == [0.8]


def test_kept_scores_make_every_step_of_a_search_cost_one() -> None:
    inner = Last()
    product = Aggregate(Cached(inner), "product")
    for depth in (1, 2, 3):
        product.score(QUESTION, [A[:depth]])
    assert inner.asked == [["0.9"], ["0.9 0.5"], ["0.9 0.5 0.8"]]


# What evaluators are held to when another asks them


def test_scores_of_another_become_python_floats() -> None:
    (score,) = scores_of(Last(change=np.float32), QUESTION, [path_of("0.5")])
    assert type(score) is float


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.01, 1.01])
def test_a_score_out_of_range_is_an_error_with_its_value(value: float) -> None:
    with pytest.raises(EvaluatorError, match=f"evaluator last gave the score {value}"):
        scores_of(Last(change=lambda _: value), QUESTION, [C])


def test_a_wrong_number_of_scores_is_an_error() -> None:
    class Short(Last):
        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            return super().score(question, paths)[1:]

    with pytest.raises(EvaluatorError, match="gave 1 scores for 2 paths"):
        scores_of(Short(), QUESTION, [A, B])
