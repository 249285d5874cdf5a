"""Process reward models with a head: Qwen2.5-Math-PRM, Skywork-o1-Open-PRM, TRL's.

The language model below the head is read by any `Reader`, and the head, a matrix or two, is applied
here. So one GGUF of the bare language model serves, which knows no head.
"""

from __future__ import annotations

from dataclasses import dataclass

from forethought.errors import EvaluatorError
from forethought.evaluators.causal_prm import single_token, step_texts
from forethought.evaluators.heads import Head
from forethought.model import Reader
from forethought.prompts_prm import StepMarks
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class HeadPrm:
    """Scores a path by its head's probability at the mark behind the last step, from the state
    after the final norm.

    Prompts are built piece by piece (opening, then each step and its mark), as the code of all
    three does or comes to: Skywork's and TRL's encode the steps one by one, and Qwen's mark is a
    control token, at which a text is split before it is encoded.
    """

    reader: Reader
    format: StepMarks
    head: Head

    @property
    def name(self) -> str:
        """The format's name, the model's, and what tells the head."""
        return f"{self.format.name}:{self.reader.name}:{self.head.fingerprint}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One probability in [0, 1] per path, all in one batch.

        Raises:
            EvaluatorError: the model's vocabulary is not that of the format, the head does not fit
                the model, or a path has no text.
            RunStopped: the caller's run has stopped.
        """
        if not paths:
            return []
        opening, mark = self._opening(question), self._mark()
        prompts = [opening + self._steps(path, mark) for path in paths]
        return self.head.apply(self.reader.hidden(prompts))

    def prompt(self, question: str, path: list[Thought]) -> list[int]:
        """The ids up to the mark behind the path's last step. Raises EvaluatorError as `score`."""
        return self._opening(question) + self._steps(path, self._mark())

    def _opening(self, question: str) -> list[int]:
        form, reader = self.format, self.reader
        if form.system is not None:
            return reader.chat(form.messages(question))
        start = (
            reader.start_tokens()
            if form.start is None
            else [single_token(reader, form.start, special=True)]
        )
        return start + reader.encode(question + form.after_question)

    def _steps(self, path: list[Thought], mark: list[int]) -> list[int]:
        return [token for step in step_texts(path) for token in self.reader.encode(step) + mark]

    def _mark(self) -> list[int]:
        form = self.format
        if form.is_control:
            return [single_token(self.reader, form.mark, wanted=form.token_id, special=True)]
        tokens = self.reader.encode(form.mark)
        if form.token_id not in (None, tokens[-1]):
            raise EvaluatorError(
                f"{form.mark!r} ends with the token {tokens[-1]} in the vocabulary of "
                f"{self.reader.name}, not with {form.token_id}: choose another format"
            )
        return tokens[-1:] if form.last_only else tokens
