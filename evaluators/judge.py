"""A model as judge: the probability that it answers yes, read off one prefill.

Its prompt begins with the very tokens that the target thinks on, so where the target is the judge
the search's KV cache serves both: only the newest thought and the question after it are computed.
Nothing is generated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from forethought.errors import ConfigError, EvaluatorError
from forethought.evaluators.evaluator import path_tokens
from forethought.model import Reader
from forethought.prompts import Task
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class Judge:
    """Scores a path by P(yes) / (P(yes) + P(no)), the next token's after the task's judge question.

    The question stands in the assistant's own turn, which is a third of the tokens of a turn of its
    own and told right from wrong as well (docs/results.md).
    """

    reader: Reader
    task: Task

    @property
    def name(self) -> str:
        """`judge` and the judging model's name."""
        return f"judge:{self.reader.name}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One probability in [0, 1] per path, all in one batch.

        Raises:
            EvaluatorError: the model gives neither answer any probability.
            ConfigError: its vocabulary cannot write the answers behind the question.
            RunStopped: the caller's run has stopped.
        """
        if not paths:
            return []
        asked = Asked(self.reader, self.task, self.task.judge_question)
        choices = [
            [asked.tokens_of(word)[0] for word in words]
            for words in (self.task.judge_yes, self.task.judge_no)
        ]
        rows = self.reader.probs(asked.prompts(question, paths), choices)
        return [shares_of(row, self.name)[0] for row in rows]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question put behind a path, in the assistant's own turn, for the model to go on from."""

    reader: Reader
    task: Task
    text: str

    def prompts(self, question: str, paths: list[list[Thought]]) -> list[list[int]]:
        """One prompt per path, its last token the last of the text."""
        opening = self.task.opening(self.reader, question)
        return [
            opening + path_tokens(self.reader, path) + self.reader.encode(self._closing(path))
            for path in paths
        ]

    def tokens_of(self, word: str) -> list[int]:
        """The tokens of `word` where it goes on from the text: one or more.

        Raises:
            ConfigError: the two grow together, so that no token begins with the word.
        """
        text, both = self.reader.encode(self.text), self.reader.encode(self.text + word)
        if both[: len(text)] != text or len(both) == len(text):
            raise ConfigError(
                f"in the vocabulary of {self.reader.name}, {word!r} does not begin a token after "
                f"{self.text!r}: use another judge model, or a task that asks otherwise"
            )
        return both[len(text) :]

    def _closing(self, path: list[Thought]) -> str:
        is_closed = path[-1].text.endswith(self.task.delimiter)
        return self.text if is_closed else self.task.delimiter + self.text


def shares_of(probabilities: list[float], name: str) -> list[float]:
    """Each answer's share of what all answers have together.

    Raises:
        EvaluatorError: that is nothing, or no number.
    """
    total = math.fsum(probabilities)
    if not (math.isfinite(total) and total > 0.0):
        raise EvaluatorError(
            f"{name} gives its answers the probabilities {probabilities}: use another judge model"
        )
    return [float(probability / total) for probability in probabilities]
