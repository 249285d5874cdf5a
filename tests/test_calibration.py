"""Calibrations: maps that keep the order, fitted, stored, and refused where they do not belong."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forethought.errors import ConfigError, EvaluatorError
from forethought.evaluators.calibration import (
    Calibrated,
    Calibration,
    Kind,
    fit_calibration,
    parsed_calibration,
    read_calibration,
)
from forethought.thoughts import Thought

KINDS: tuple[Kind, ...] = ("isotonic", "platt")


class Fixed:
    """An evaluator that gives what it was told to."""

    def __init__(self, scores: list[float], name: str = "fixed") -> None:
        self.name = name
        self.scores = scores

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return self.scores[: len(paths)]


def sample(num: int, *, bent: float = 1.0) -> tuple[list[float], list[bool]]:
    """Scores, and labels that are right with probability score ** bent."""
    draws = np.random.default_rng(7)
    scores = draws.uniform(0, 1, num)
    return scores.tolist(), (draws.uniform(0, 1, num) < scores**bent).tolist()


def fitted(kind: Kind, num: int = 400, *, bent: float = 3.0) -> Calibration:
    scores, labels = sample(num, bent=bent)
    return fit_calibration(scores, labels, kind=kind, evaluator="fixed")


def brier(scores: list[float], labels: list[bool]) -> float:
    return float(np.mean((np.array(scores) - labels) ** 2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_calibration_makes_scores_better_probabilities(kind: Kind) -> None:
    scores, labels = sample(2000, bent=3.0)
    calibration = fit_calibration(scores[:1000], labels[:1000], kind=kind, evaluator="fixed")
    held_out = scores[1000:], labels[1000:]
    assert brier(calibration.apply(held_out[0]), held_out[1]) < brier(*held_out) - 0.03


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_turned", [False, True])
def test_the_order_of_scores_is_kept_strictly(kind: Kind, is_turned: bool) -> None:
    labels = [is_turned, is_turned, not is_turned, not is_turned]
    calibration = fit_calibration([0.1, 0.2, 0.8, 0.9], labels, kind=kind, evaluator="fixed")
    mapped = calibration.apply(np.linspace(0, 1, 301).tolist())
    assert all(low < high for low, high in pairwise(mapped))
    assert mapped[0] >= 0
    assert mapped[-1] <= 1
    assert all(type(one) is float for one in mapped)


@pytest.mark.parametrize("kind", KINDS)
def test_where_higher_scores_are_more_often_wrong_the_map_is_nearly_flat(kind: Kind) -> None:
    scores, labels = sample(200)
    turned = [not label for label in labels]
    mapped = fit_calibration(scores, turned, kind=kind, evaluator="fixed").apply([0.1, 0.9])
    assert mapped == pytest.approx([np.mean(turned)] * 2, abs=0.15)
    assert mapped[0] < mapped[1]


def test_isotonic_breakpoints_pool_what_falls() -> None:
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5]
    labels = [False, True, False, True, True, False]
    given = fit_calibration(scores, labels, kind="isotonic", evaluator="fixed").parameters
    assert given["scores"] == [0.1, 0.2, 0.3, 0.4, 0.5]
    # 0.4 -> 1 and 0.5 -> 1/2 (two examples) fall, so the three share 2/3
    assert given["values"] == pytest.approx([0, 0.5, 0.5, 2 / 3, 2 / 3])


def test_between_breakpoints_values_are_interpolated() -> None:
    given = {"scores": [0.2, 0.6], "values": [0.0, 1.0]}
    mapped = Calibration("fixed", "isotonic", given).apply([0.0, 0.2, 0.3, 0.6, 1.0])
    assert mapped == pytest.approx([0.0, 0.0002, 0.999 * 0.25 + 0.0003, 0.9996, 1.0])


def test_the_isotonic_fit_is_that_of_scikit_learn() -> None:
    isotonic = pytest.importorskip("sklearn.isotonic")
    scores, labels = sample(300, bent=2.0)
    scores = [round(score, 2) for score in scores]
    theirs = isotonic.IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    given = fit_calibration(scores, labels, kind="isotonic", evaluator="fixed").parameters
    at = np.linspace(0, 1, 501)
    np.testing.assert_allclose(
        np.interp(at, given["scores"], given["values"]), theirs.predict(at), atol=1e-12
    )


def test_the_platt_fit_is_that_of_scikit_learn() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    scores, labels = sample(300, bent=2.0)
    logits = np.log(np.array(scores) / (1 - np.array(scores)))
    theirs = calibration._SigmoidCalibration().fit(logits, np.array(labels))
    given = fit_calibration(scores, labels, kind="platt", evaluator="fixed").parameters
    # theirs is 1 / (1 + exp(a * logit + b))
    assert given["slope"] == pytest.approx([-theirs.a_], abs=1e-4)
    assert given["intercept"] == pytest.approx([-theirs.b_], abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "scores", [[0.0, 1.0], [0.5, 0.5], [0.0, 0.0, 1.0, 1.0], [0.0, 1e-12, 1 - 1e-12, 1.0]]
)
def test_few_or_extreme_or_equal_examples_can_be_fitted(kind: Kind, scores: list[float]) -> None:
    labels = [index >= len(scores) / 2 for index in range(len(scores))]
    mapped = fit_calibration(scores, labels, kind=kind, evaluator="fixed").apply([0.0, 0.5, 1.0])
    assert 0 <= mapped[0] < mapped[1] < mapped[2] <= 1


def test_kind_none_changes_nothing() -> None:
    calibration = fit_calibration([0.2, 0.4], [False, True], kind="none", evaluator="fixed")
    assert calibration.apply([0.123456789, 0.5]) == [0.123456789, 0.5]


def test_no_scores_are_no_probabilities() -> None:
    assert [fitted(kind).apply([]) for kind in KINDS] == [[], []]


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, 0.2], [True], "2 scores for 1 labels"),
        ([0.1, 1.2], [True, False], "not 1.2"),
        ([0.1, float("nan")], [True, False], "not nan"),
        ([0.1, 0.2], [True, True], "of 2 2 are right"),
        ([0.1, 0.2], [False, False], "of 2 0 are right"),
        ([], [], "of 0 0 are right"),
    ],
)
def test_what_nothing_can_be_learned_of_is_refused(
    scores: list[float], labels: list[bool], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fit_calibration(scores, labels, kind="isotonic", evaluator="fixed")


# Files


@pytest.mark.parametrize("kind", ["isotonic", "platt", "none"])
def test_a_calibration_survives_its_file(kind: Kind, tmp_path: Path) -> None:
    calibration = fitted(kind)
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(calibration.document()), encoding="utf-8")
    assert read_calibration(file) == calibration
    assert read_calibration(file).digest == calibration.digest


GOOD: dict[str, Any] = {
    "schema": 1,
    "evaluator": "fixed",
    "kind": "isotonic",
    "parameters": {"scores": [0.1, 0.9], "values": [0.2, 0.7]},
}


def breakpoints(scores: Any, values: Any) -> dict[str, Any]:
    return {"parameters": {"scores": scores, "values": values}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema of a calibration must be 1, not 2"),
        ({"surprise": 1}, "JSON object of evaluator"),
        ({"evaluator": " "}, "evaluator of a calibration is ' '"),
        ({"evaluator": 3}, "evaluator of a calibration is 3"),
        ({"kind": "linear"}, "kind must be one of isotonic, platt, none, not 'linear'"),
        ({"kind": ["isotonic"]}, "kind must be one of"),
        ({"kind": "platt"}, "parameters of kind platt must be intercept, slope"),
        ({"parameters": []}, "parameters of kind isotonic"),
        (breakpoints([], []), "must be a list of numbers"),
        (breakpoints([0.1, "0.9"], [0.2, 0.7]), "holds '0.9'"),
        (breakpoints([False, 0.9], [0.2, 0.7]), "holds False"),
        (breakpoints([0.1, float("nan")], [0.2, 0.7]), "holds nan"),
        (breakpoints([0.1, 0.9], [0.2]), "2 breakpoints for 1 values"),
        (breakpoints([0.9, 0.1], [0.2, 0.7]), "breakpoints must rise"),
        (breakpoints([0.1, 0.9], [0.7, 0.2]), "values must not fall"),
        (breakpoints([0.1, 1.9], [0.2, 0.7]), "not 1.9"),
        ({"kind": "platt", "parameters": {"intercept": [0], "slope": [-1]}}, "at least 0"),
        ({"kind": "platt", "parameters": {"intercept": [0, 1], "slope": [1]}}, "one intercept"),
        ({"kind": "none"}, "parameters of kind none must be empty"),
    ],
)
def test_a_file_is_read_to_the_letter(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert parsed_calibration(GOOD).kind == "isotonic"
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(GOOD | change), encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        read_calibration(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\udcff"])
def test_what_is_no_calibration_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match="is no calibration"):
        read_calibration(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.json is no calibration"):
        read_calibration(tmp_path / "nothing.json")


# Evaluators


def test_a_calibrated_evaluator_scores_in_probabilities() -> None:
    calibration = fitted("isotonic")
    evaluator = Calibrated(Fixed([0.9, 0.2]), calibration)
    assert evaluator.score("How many?", [[], []]) == calibration.apply([0.9, 0.2])
    assert evaluator.score("How many?", []) == []


def test_its_name_tells_calibrations_apart() -> None:
    names = {
        Calibrated(Fixed([]), calibration).name
        for calibration in (fitted("isotonic"), fitted("platt"), fitted("platt", bent=2.0))
    }
    assert len(names) == 3
    assert all(name.startswith("fixed~") for name in names)


def test_another_evaluators_calibration_is_refused() -> None:
    with pytest.raises(ConfigError, match="belongs to fixed, not to other"):
        Calibrated(Fixed([], name="other"), fitted("platt"))


@pytest.mark.parametrize("score", [1.5, -0.1, float("nan")])
def test_a_score_out_of_range_is_never_mapped(score: float) -> None:
    with pytest.raises(EvaluatorError, match="evaluator fixed gave the score"):
        Calibrated(Fixed([score]), fitted("platt")).score("How many?", [[]])
