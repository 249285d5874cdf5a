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
    """Scores a path by P(yes) / (P(yes) + P(no)), the next token's after the task's judge question.

    The question stands in the assistant's own turn, which is a third of the tokens of a turn of its
    own and told right from wrong as well (docs/results.md).
    """

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
        prompts = [opening + path_tokens(self.model, path) + self._closing(path) for path in paths]
        choices = [
            [self.model.encode(word)[0] for word in words]
            for words in (self.task.judge_yes, self.task.judge_no)
        ]
        return [_share(yes, no) for yes, no in self.model.probs(prompts, choices)]

    def _closing(self, path: list[Thought]) -> list[int]:
        is_closed = path[-1].text.endswith(self.task.delimiter)
        return self.model.encode(
            self.task.judge_question
            if is_closed
            else self.task.delimiter + self.task.judge_question
        )


def _share(yes: float, no: float) -> float:
    if yes + no <= 0.0:
        raise EvaluatorError(
            "the judge gives neither yes nor no any probability: use another judge model"
        )
    return yes / (yes + no)
