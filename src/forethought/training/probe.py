"""Training the probe: heads on hidden states, chosen by cross-validation over questions.

Labels are the chain's outcome for each of its steps, or what roll-outs from the step gave
(Math-Shepherd, Wang et al. 2024, section 3.2). Questions, never steps, are held out: steps of one
question know too much about each other.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forethought.bench.quality import Ranking, ranking_of
from forethought.bench.scoring import StepScores
from forethought.chains import Chain
from forethought.config import require
from forethought.errors import MissingExtra
from forethought.evaluators.heads import Head, Layer, save_head
from forethought.evaluators.probe import KIND
from forethought.training.about import about, about_ranking
from forethought.training.features import StateReader, StepStates
from forethought.training.labels import Labels, step_labels

HeadKind = Literal["linear", "two-layer"]
HEAD_KINDS: tuple[HeadKind, ...] = ("linear", "two-layer")

_NUM_FOLDS = 5
_STRENGTHS = (1e-4, 1e-3, 1e-2)  # of the linear head: the inverse of its L2 penalty
_HIDDEN, _PENALTY, _NUM_ROUNDS = 32, 10.0, 60  # of the two-layer head


@dataclass(frozen=True, slots=True)
class Trial:
    """One kind of head on one layer (0: the final norm), judged on questions it was not fitted on.

    `strength` is the linear head's inverse penalty, None for others.
    """

    layer: int
    kind: HeadKind
    strength: float | None
    ranking: Ranking


def compare_heads(found: StepStates, *, labels: Labels) -> list[Trial]:
    """Every kind of head on every layer, best first: by pairs within a question, then by the last
    step's AUC.

    Raises:
        ConfigError: there are fewer questions than folds, or one outcome only.
        MissingExtra: scikit-learn is not installed.
    """
    kinds: list[tuple[HeadKind, float | None]] = [("linear", c) for c in _STRENGTHS]
    kinds.append(("two-layer", None))
    trials = [
        Trial(layer, kind, strength, _judged(found, column, _Recipe(kind, strength), labels))
        for column, layer in enumerate(found.layers)
        for kind, strength in kinds
    ]
    return sorted(trials, key=lambda t: (_order(t.ranking.pairs), _order(t.ranking.auc_last)))


def train_probe(
    reader: StateReader, found: StepStates, trial: Trial, *, labels: Labels, path: Path
) -> Head:
    """Fit `trial`'s head on all chains and write it to `path` with what it is.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    column = found.layers.index(trial.layer)
    values = step_labels(found.chains, labels)
    layers = _Recipe(trial.kind, trial.strength).fit(found.states[:, column], values)
    info = {
        "kind": KIND,
        "layer": str(trial.layer),
        "task": reader.task.name,
        **about(reader.engine.path, found.chains),
        **about_ranking(labels, trial.ranking),
    }
    head = Head(layers, output="sigmoid", info=info)
    save_head(head, path)
    return head


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How a head is fitted."""

    kind: HeadKind
    strength: float | None

    def fit(self, states: NDArray[Any], values: NDArray[np.float64]) -> tuple[Layer, ...]:
        """Layers for states as they are; the scaling is folded into the first one.

        A value between 0 and 1 counts as that much of a right step and the rest of a wrong one.
        """
        rows = states.astype(np.float32)
        mean, scale = rows.mean(0), rows.std(0) + 1e-6
        scaled = (rows - mean) / scale
        doubled = np.concatenate([scaled, scaled])
        targets = np.repeat([1, 0], len(rows))
        weights = np.concatenate([values, 1.0 - values])
        kept = weights > 0
        model = self._estimator()
        with warnings.catch_warnings():
            # few rounds are part of the regularisation: it is not meant to converge
            warnings.simplefilter("ignore", _sklearn("exceptions").ConvergenceWarning)
            model.fit(doubled[kept], targets[kept], sample_weight=weights[kept])
        if self.kind == "linear":
            fitted = [(model.coef_, model.intercept_)]
        else:
            fitted = [(w.T, b) for w, b in zip(model.coefs_, model.intercepts_, strict=True)]
        first, offset = fitted[0]
        fitted[0] = first / scale, offset - (first / scale) @ mean
        return tuple(
            Layer(np.asarray(weight, np.float32), np.asarray(bias, np.float32))
            for weight, bias in fitted
        )

    def _estimator(self) -> Any:
        if self.kind == "linear":
            linear = _sklearn("linear_model")
            return linear.LogisticRegression(C=self.strength, max_iter=500)
        network = _sklearn("neural_network")
        return network.MLPClassifier(
            (_HIDDEN,), solver="lbfgs", alpha=_PENALTY, max_iter=_NUM_ROUNDS, random_state=0
        )


def _judged(found: StepStates, column: int, recipe: _Recipe, labels: Labels) -> Ranking:
    """The ranking by heads that were each fitted on the other folds' questions."""
    values = step_labels(found.chains, labels)
    owners = np.repeat(
        [_fold(chain) for chain in found.chains], [len(chain.steps) for chain in found.chains]
    )
    scores = np.zeros(len(values))
    for fold in range(_NUM_FOLDS):
        held = owners == fold
        require(bool(held.any() and (~held).any()), "too few questions to hold some out: add more")
        head = Head(recipe.fit(found.states[~held, column], values[~held]), output="sigmoid")
        scores[held] = head.apply(found.states[held, column].astype(np.float32))
    ends = np.cumsum([len(chain.steps) for chain in found.chains])[:-1]
    rows = [part.tolist() for part in np.split(scores, ends)]
    name = f"{recipe.kind}:{found.layers[column]}"
    ranking = ranking_of(StepScores(name, found.chains, rows, len(scores), 0.0, {}))
    assert ranking is not None
    return ranking


def _fold(chain: Chain) -> int:
    """The same for all chains of a question, whatever their order."""
    return sum(chain.question.encode()) % _NUM_FOLDS


def _order(value: float | None) -> float:
    return -1.0 if value is None else -value


def _sklearn(module: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingExtra(
            "scikit-learn is not installed: pip install 'forethought[train]'"
        ) from error
