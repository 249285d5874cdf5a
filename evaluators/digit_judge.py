"""A model as judge that grades: a digit from 0 to 9, read off one prefill.

The score of SpecReason (Pan et al. 2025, "SpecReason: Fast and Accurate Inference-Time Compute via
Speculative Reasoning"; `spec_reason.py` in ruipeterpan/specreason), which samples the digit with
its ten best log-probabilities. Here nothing is generated, and all ten digits are read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

from forethought.config import require, require_one_of
from forethought.evaluators.judge import Asked, shares_of
from forethought.model import Reader
from forethought.prompts import Task
from forethought.thoughts import Thought

Digit = Literal["greedy", "average"]

_DIGITS: Final = "0123456789"


@dataclass(frozen=True, slots=True)
class DigitJudge:
    """Scores a path by the digit that `reader` would write after the task's digit question, over 9.

    `how` is `greedy`, the most probable digit (the lower of two that tie), or `average`, the
    expectation over the digits' probabilities, which are renormalised to add up to one.
    SpecReason's default threshold of 7 is 7/9 here.

    Raises:
        ConfigError: a digit is not one token of the reader's vocabulary; or `how` is neither.
    """

    reader: Reader
    task: Task
    how: Digit = "average"

    def __post_init__(self) -> None:
        require_one_of("how", self.how, get_args(Digit))
        self._choices()

    @property
    def name(self) -> str:
        """`digit_judge`, the judging model's name, and `how`."""
        return f"digit_judge:{self.reader.name}:{self.how}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in [0, 1] per path, all in one batch.

        Raises:
            EvaluatorError: the model gives no digit any probability.
            RunStopped: the caller's run has stopped.
        """
        if not paths:
            return []
        rows = self.reader.probs(self._asked().prompts(question, paths), self._choices())
        return [self._grade(shares_of(row, self.name)) / 9 for row in rows]

    def _grade(self, shares: list[float]) -> float:
        if self.how == "greedy":
            return shares.index(max(shares))
        return min(9.0, math.fsum(digit * share for digit, share in enumerate(shares)))

    def _asked(self) -> Asked:
        return Asked(self.reader, self.task, self.task.digit_question)

    def _choices(self) -> list[list[int]]:
        choices = [self._asked().tokens_of(digit) for digit in _DIGITS]
        for digit, tokens in zip(_DIGITS, choices, strict=True):
            require(
                len(tokens) == 1,
                f"{self.reader.name} writes the digit {digit} as {len(tokens)} tokens after "
                f"{self.task.digit_question!r}: use another judge model, or Judge",
            )
        return choices
