"""The target as judge: the probability that it answers yes, read off one prefill.

Its prompt begins with the very tokens that the target thinks on, so the search's KV cache serves
both: only the newest thought and the question after it are computed. Nothing is generated.
"""

from __future__ import annotations

from dataclasses import dataclass

from forethought.errors import EvaluatorError
from forethought.evaluators.evaluator import path_tokens
from forethought.model import Model
from forethought.prompts import Task
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class Judge:
    """Scores a path by P(yes) / (P(yes) + P(no)) after asking whether it is right so far."""

    model: Model
    task: Task

    @property
    def name(self) -> str:
        """`judge` and the judging model's name."""
        return f"judge:{self.model.name}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One probability in [0, 1] per path, all in one batch.

        Raises:
            EvaluatorError: the model gives neither answer any probability.
            RunStopped: the caller's run has stopped.
        """
        opening = self.model.chat(self.task.messages(question))
        closing = self.model.encode(self.task.judge_question)
        prompts = [opening + path_tokens(self.model, path) + closing for path in paths]
        choices = [
            self.model.encode(self.task.judge_yes)[:1],
            self.model.encode(self.task.judge_no)[:1],
        ]
        return [_share(yes, no) for yes, no in self.model.probs(prompts, choices)]


def _share(yes: float, no: float) -> float:
    if yes + no <= 0.0:
        raise EvaluatorError(
            "the judge gives neither yes nor no any probability: use another judge model"
        )
    return yes / (yes + no)
