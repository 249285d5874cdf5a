"""A dear evaluator that reads only what a cheap one puts first."""

from __future__ import annotations

from dataclasses import dataclass

from forethought.config import require_at_least
from forethought.evaluators.asking import scores_of
from forethought.evaluators.evaluator import Evaluator
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class Shortlist:
    """Scores the `count` paths of a batch that `first` puts first by `then`, and the others below
    all of them: by their own score of `first` times the least that `then` gave.

    A search goes on from the best few of a step's candidates, and the target has to read these
    anyway; what a judge reads beyond them is lost. As with `Agreement`, a score depends on what
    else is scored in the same call.

    Raises:
        ConfigError: `count` is below 1.
    """

    first: Evaluator
    then: Evaluator
    count: int = 2

    def __post_init__(self) -> None:
        require_at_least("count", self.count, 1)

    @property
    def name(self) -> str:
        """Both names, and how many are read."""
        return f"best {self.count} of {self.first.name} by {self.then.name}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in [0, 1] per path; one call of each evaluator.

        Raises:
            EvaluatorError: one of them could not score.
            RunStopped: the caller's run has stopped.
        """
        cheap = scores_of(self.first, question, paths)
        order = sorted(range(len(paths)), key=cheap.__getitem__, reverse=True)[: self.count]
        read = scores_of(self.then, question, [paths[place] for place in order])
        below = min(read, default=0.0)
        return [
            read[order.index(place)] if place in order else score * below
            for place, score in enumerate(cheap)
        ]
