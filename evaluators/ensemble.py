"""Several evaluators as one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, get_args

from forethought.config import require, require_one_of
from forethought.evaluators.asking import scores_of
from forethought.evaluators.evaluator import Evaluator
from forethought.thoughts import Thought

Vote = Literal["mean", "geometric", "min", "product"]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Scores a path by `how` its members score it: their arithmetic `mean` or `geometric` mean,
    weighted where `weights` has one number above 0 per member, the least (`min`) or the `product`.

    Every member has a veto in all but the arithmetic mean: its 0 makes the whole 0. Members that
    disagree in scale should be calibrated first.

    Raises:
        ConfigError: there are no members, or the weights do not fit them or `how`.
    """

    members: tuple[Evaluator, ...]
    weights: tuple[float, ...] = ()
    how: Vote = "mean"

    def __post_init__(self) -> None:
        require_one_of("how", self.how, get_args(Vote))
        require(bool(self.members), "an ensemble needs at least one member")
        require(
            not self.weights or self.how in ("mean", "geometric"),
            f"weights {self.weights} mean nothing to how={self.how!r}: leave them out",
        )
        require(
            len(self.weights) in (0, len(self.members)),
            f"{len(self.weights)} weights for {len(self.members)} members: give one each, or none",
        )
        require(
            all(math.isfinite(weight) and weight > 0 for weight in self.weights),
            f"weights must be above 0, not {self.weights}",
        )

    @property
    def name(self) -> str:
        """`how`, and the members' names with their weights."""
        names = [member.name for member in self.members]
        if self.weights:
            pairs = zip(self._shares(), names, strict=True)
            names = [f"{share:.3g}*{name}" for share, name in pairs]
        return f"{self.how}({', '.join(names)})"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in [0, 1] per path; every member is asked once for all paths.

        Raises:
            EvaluatorError: a member could not score; the others do not make up for it.
            RunStopped: the caller's run has stopped.
        """
        columns = [scores_of(member, question, paths) for member in self.members]
        return [self._combined(row) for row in zip(*columns, strict=True)]

    def _combined(self, scores: tuple[float, ...]) -> float:
        if self.how == "mean":
            return fmean(scores, self._shares())
        if self.how == "geometric":
            return math.prod(map(math.pow, scores, self._shares()))
        return min(scores) if self.how == "min" else math.prod(scores)

    def _shares(self) -> list[float]:
        weights = self.weights or (1.0,) * len(self.members)
        return [weight / sum(weights) for weight in weights]
