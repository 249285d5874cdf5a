"""What an evaluator is: one method from paths to numbers. It knows no search."""

from __future__ import annotations

from typing import Protocol

from forethought.model import Reader
from forethought.thoughts import Thought


class Evaluator(Protocol):
    """Scores thoughts in their context.

    `name` identifies the evaluator and its weights: thresholds that one evaluator's scores have set
    mean nothing to another's.
    """

    @property
    def name(self) -> str: ...

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in [0, 1] per path: how good its last thought is after those before it.

        Raises:
            EvaluatorError: it could not score; it never makes a score up.
            RunStopped: the caller's run was cancelled or ran out of time.
        """
        ...


def closed_tokens(reader: Reader, path: list[Thought], delimiter: str) -> list[int]:
    """`path_tokens`, its last thought closed by `delimiter` where it is not."""
    is_closed = path[-1].text.endswith(delimiter)
    return path_tokens(reader, path) + ([] if is_closed else reader.encode(delimiter))


def path_tokens(reader: Reader, path: list[Thought]) -> list[int]:
    """A path in `reader`'s token ids: exactly those that were sampled where the vocabulary is the
    same, re-tokenised thought by thought where it is not."""
    tokens: list[int] = []
    for thought in path:
        same = thought.vocabulary == reader.vocabulary
        tokens += thought.tokens if same else reader.encode(thought.text)
    return tokens
