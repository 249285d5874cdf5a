"""Scores made probabilities: a monotone map, fitted on chains whose outcome is known.

A threshold means something only on the scale that it was learned on, so a calibrated evaluator's
name carries a digest of its calibration, and a calibration belongs to one evaluator by name.

Every map is (1 - 0.001) * fitted(score) + 0.001 * score: an isotonic fit is flat over whole ranges
of scores, and without the second part siblings that fall into one range could no longer be ranked.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from forethought.config import require, require_between, require_one_of
from forethought.errors import ConfigError
from forethought.evaluators.asking import scores_of
from forethought.evaluators.evaluator import Evaluator
from forethought.thoughts import Thought

Kind = Literal["isotonic", "platt", "none"]
Floats = NDArray[np.float64]

SCHEMA: Final = 1
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "isotonic": ("scores", "values"),
    "platt": ("intercept", "slope"),
    "none": (),
}
_OWN_SHARE = 1e-3
_CLIP = 1e-6  # logits stay within 13.9 of 0
_NUM_ITERATIONS = 100


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map of [0, 1] onto probabilities in [0, 1] that keeps the order of scores.

    `evaluator` is the name of the evaluator whose scores it maps. `parameters` by `kind`:
    `isotonic` has breakpoints, `scores` ascending and `values` not descending, between which values
    are interpolated; `platt` has one `slope`, at least 0, and one `intercept` of
    sigmoid(slope * logit(score) + intercept); `none` leaves scores as they are. Raises ConfigError.
    """

    evaluator: str
    kind: Kind
    parameters: dict[str, list[float]]

    def __post_init__(self) -> None:
        name = self.evaluator
        require(
            isinstance(name, str) and bool(name.strip()),
            f"evaluator of a calibration is {name!r}; it must be an evaluator's name",
        )
        require_one_of("kind", self.kind, tuple(_PARAMETERS))
        names, given = _PARAMETERS[self.kind], self.parameters
        require(
            isinstance(given, dict) and sorted(given) == list(names),
            f"parameters of kind {self.kind} must be {', '.join(names) or 'empty'}, not {given!r}",
        )
        for key, values in given.items():
            _check_numbers(key, values)
        if self.kind == "isotonic":
            _check_breakpoints(given["scores"], given["values"])
        if self.kind == "platt":
            slope = given["slope"]
            require(
                len(slope) == len(given["intercept"]) == 1 and slope[0] >= 0,
                f"a platt calibration has one intercept and one slope of at least 0, not {given!r}",
            )

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that tell this calibration from any other."""
        text = json.dumps(self.document(), sort_keys=True)
        return blake2b(text.encode(), digest_size=4).hexdigest()

    def apply(self, scores: list[float]) -> list[float]:
        """Probabilities in [0, 1] in place of scores, in the same order and as many.

        Raises:
            ConfigError: a score does not lie in [0, 1].
        """
        _check_scores(scores)
        if self.kind == "none":
            return list(scores)
        raw = np.asarray(scores, dtype=np.float64)
        mapped = (1.0 - _OWN_SHARE) * self._fitted(raw) + _OWN_SHARE * raw
        return [min(1.0, value) for value in mapped.tolist()]

    def document(self) -> dict[str, Any]:
        """Plain data for a JSON file; `parsed_calibration` reads it."""
        return {
            "schema": SCHEMA,
            "evaluator": self.evaluator,
            "kind": self.kind,
            "parameters": {name: list(values) for name, values in self.parameters.items()},
        }

    def _fitted(self, scores: Floats) -> Floats:
        given = self.parameters
        if self.kind == "isotonic":
            return np.interp(scores, given["scores"], given["values"])
        return _sigmoid(given["slope"][0] * _logit(scores) + given["intercept"][0])


@dataclass(frozen=True, slots=True)
class Calibrated:
    """An evaluator whose scores are probabilities. Raises ConfigError where the calibration is
    another evaluator's."""

    evaluator: Evaluator
    calibration: Calibration

    def __post_init__(self) -> None:
        fitted = self.calibration.evaluator
        require(
            fitted == self.evaluator.name,
            f"the calibration belongs to {fitted}, not to {self.evaluator.name}: fit one for it "
            "(forethought evaluators calibrate)",
        )

    @property
    def name(self) -> str:
        """The evaluator's name, the kind, and the calibration's digest."""
        return f"{self.evaluator.name}~{self.calibration.kind}:{self.calibration.digest}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One probability in [0, 1] per path; raises what the evaluator raises."""
        return self.calibration.apply(scores_of(self.evaluator, question, paths))


def fit_calibration(
    scores: list[float], labels: list[bool], *, kind: Kind, evaluator: str
) -> Calibration:
    """The calibration of `evaluator` under which `scores` in [0, 1] best predict `labels`.

    `isotonic` minimises the squared error over all maps that keep the order (pool adjacent
    violators, Barlow et al. 1972); `platt` maximises the likelihood of a sigmoid over logits, with
    Platt's smoothed targets (Platt 1999, section 2.2), its slope not below 0.

    Raises:
        ConfigError: scores and labels differ in number, a score is out of range, or the labels are
            all the same, of which nothing can be learned.
    """
    require_one_of("kind", kind, tuple(_PARAMETERS))
    require(len(scores) == len(labels), f"{len(scores)} scores for {len(labels)} labels")
    _check_scores(scores)
    require(
        len(set(labels)) == 2,
        f"a calibration needs right and wrong examples, and of {len(labels)} "
        f"{sum(labels)} are right",
    )
    fits = {"isotonic": _isotonic, "platt": _platt, "none": lambda *_: {}}
    given = fits[kind](np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool))
    return Calibration(evaluator, kind, given)


def parsed_calibration(document: object) -> Calibration:
    """A calibration from `Calibration.document`'s form.

    Raises:
        ConfigError: it is not of this form, to the letter.
    """
    keys = ["evaluator", "kind", "parameters", "schema"]
    require(
        isinstance(document, dict) and sorted(map(str, document)) == keys,
        f"a calibration is a JSON object of {', '.join(keys)}",
    )
    assert isinstance(document, dict)
    schema = document["schema"]
    require(schema == SCHEMA, f"schema of a calibration must be {SCHEMA}, not {schema!r}")
    return Calibration(document["evaluator"], document["kind"], document["parameters"])


def read_calibration(path: Path) -> Calibration:
    """The calibration in a JSON file. Raises ConfigError where there is none."""
    try:
        return parsed_calibration(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        raise ConfigError(f"{path} is no calibration: {error}") from error


def _check_scores(scores: list[float]) -> None:
    for score in scores:
        require_between("scores to calibrate", score, (0.0, 1.0))


def _check_numbers(name: str, values: object) -> None:
    is_list = isinstance(values, list) and bool(values)
    require(is_list, f"{name} of a calibration must be a list of numbers, not {values!r}")
    assert isinstance(values, list)
    for value in values:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        require(
            is_number and math.isfinite(value), f"{name} of a calibration holds {value!r}: a number"
        )


def _check_breakpoints(scores: list[float], values: list[float]) -> None:
    require(len(scores) == len(values), f"{len(scores)} breakpoints for {len(values)} values")
    is_rising = bool(np.all(np.diff(scores) > 0) and np.all(np.diff(values) >= 0))
    require(is_rising, "breakpoints must rise, and their values must not fall")
    for one in (*scores, *values):
        require(0.0 <= one <= 1.0, f"breakpoints and values must lie in 0..1, not {one}")


def _isotonic(scores: Floats, labels: NDArray[np.bool_]) -> dict[str, list[float]]:
    distinct, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    shares = np.bincount(places, labels) / counts
    blocks: list[tuple[float, float, int]] = []  # share right, examples, distinct scores
    for share, count in zip(shares.tolist(), counts.tolist(), strict=True):
        value, weight, width = share, float(count), 1
        while blocks and blocks[-1][0] >= value:
            earlier, examples, scores_there = blocks.pop()
            value = (value * weight + earlier * examples) / (weight + examples)
            weight, width = weight + examples, width + scores_there
        blocks.append((value, weight, width))
    values = np.repeat([block[0] for block in blocks], [block[2] for block in blocks])
    # a block is flat: its first and last score are enough
    rises = np.diff(values) > 0
    ends = np.append(True, rises) | np.append(rises, True)
    return {"scores": distinct[ends].tolist(), "values": values[ends].tolist()}


def _platt(scores: Floats, labels: NDArray[np.bool_]) -> dict[str, list[float]]:
    num_right, num_wrong = int(labels.sum()), int((~labels).sum())
    targets = np.where(labels, (num_right + 1) / (num_right + 2), 1 / (num_wrong + 2))
    rows = np.column_stack([_logit(scores), np.ones_like(scores)])

    def loss(weights: Floats) -> float:
        at = rows @ weights
        return float(np.sum(np.logaddexp(0.0, at) - targets * at))

    weights = np.zeros(2)
    for _ in range(_NUM_ITERATIONS):
        expected = _sigmoid(rows @ weights)
        spread = (rows * (expected * (1 - expected))[:, None]).T @ rows
        step = np.linalg.solve(spread + 1e-9 * np.eye(2), rows.T @ (expected - targets))
        while loss(weights - step) > loss(weights) and np.abs(step).max() > _CLIP:
            step = step / 2  # Newton's step may go too far where the curve is flat
        weights = weights - step
        if np.abs(step).max() <= _CLIP:
            break
    slope, intercept = weights.tolist()
    if slope <= 0:  # of the maps that keep the order, the constant one is then the likeliest
        slope, intercept = 0.0, float(_logit(targets.mean()))
    return {"intercept": [intercept], "slope": [slope]}


def _logit(scores: Floats) -> Floats:
    inside = np.clip(scores, _CLIP, 1.0 - _CLIP)
    return np.log(inside) - np.log1p(-inside)


def _sigmoid(values: Floats) -> Floats:
    # without overflow on either side
    return np.exp(-np.logaddexp(0.0, -values))
