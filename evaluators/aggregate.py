"""A path's score from the scores of its steps, under any evaluator.

Which way is best is open: OpenR's tree search takes the last step's score and its re-ranking the
last or the least; Lightman et al. 2023 ("Let's Verify Step by Step", section 2.6) multiply;
search-and-learn (`aggregate_scores`) has last, min and product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal, get_args

from forethought.config import require_one_of
from forethought.errors import EvaluatorError
from forethought.evaluators.asking import prefix_keys, scores_of
from forethought.evaluators.evaluator import Evaluator
from forethought.thoughts import Thought

Steps = Literal["last", "min", "mean", "product"]

_COMBINED: Final[dict[str, Callable[[list[float]], float]]] = {
    "min": min,
    "mean": fmean,
    "product": math.prod,
}


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Scores a path by `how` its steps score, each after those before it: the `last` one alone
    (what `evaluator` gives by itself), the least (`min`), their `mean`, or their `product`, which
    falls with every step.

    A search asks for the same early steps at every depth: put `Cached` inside to score them once.

    Raises:
        ConfigError: `how` is none of these.
    """

    evaluator: Evaluator
    how: Steps = "min"

    def __post_init__(self) -> None:
        require_one_of("how", self.how, get_args(Steps))

    @property
    def name(self) -> str:
        """`how` and the evaluator's name; the latter alone for `last`, which are its own scores."""
        inner = self.evaluator.name
        return inner if self.how == "last" else f"{self.how}({inner})"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in [0, 1] per path; all distinct prefixes are scored in one call.

        Raises:
            EvaluatorError: a path is empty, or the evaluator could not score.
            RunStopped: the caller's run has stopped.
        """
        if self.how == "last":
            return scores_of(self.evaluator, question, paths)
        if not all(paths):
            raise EvaluatorError("a path without thoughts has no steps to score")
        keys = [prefix_keys(question, path) for path in paths]
        prefixes = {
            key: path[:length]
            for path, own in zip(paths, keys, strict=True)
            for length, key in enumerate(own, 1)
        }
        scores = scores_of(self.evaluator, question, list(prefixes.values()))
        by_key = dict(zip(prefixes, scores, strict=True))
        combined = _COMBINED[self.how]
        return [combined([by_key[key] for key in own]) for own in keys]
