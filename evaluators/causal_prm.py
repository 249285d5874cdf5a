"""Process reward models that answer with a token: Math-Shepherd, MATH-psa, RLHFlow.

They are language models trained to say `+` or `-` of each step, so a score is read off one prefill,
like the judge's; any `Reader` serves, whatever runs it.

The ids that a model reads are those of its own code: a whole text is encoded at once. The ids of a
path's prefix are a prefix of the path's all the same, since no token reaches over a tag's end (line
ends are tokens of their own in Mistral's vocabulary, and Qwen's splits a text before the blank that
follows one), so siblings share all but their last step.
"""

from __future__ import annotations

from dataclasses import dataclass

from forethought.errors import EvaluatorError
from forethought.evaluators.judge import shares_of
from forethought.model import Reader
from forethought.prompts_prm import StepTags, StepTurns
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class CausalPrm:
    """Scores a path by P(good) / (P(good) + P(bad)) where its last step is judged, which is the
    softmax over the two tokens' logits.

    With `StepTags` that is the next token's distribution after a prompt that ends with the tag:
    the logits at the tag's own position (OpenR prm/infer_fns.py). With `StepTurns` it is that after
    the header of the assistant's turn. RLHFlow's code renders that turn with its answer and takes
    the logits at position -3: Llama 3.1's template ends a turn with `<header>, "+", <|eot_id|>`, so
    -1 is the end of turn, -2 the answer, and -3 the header's last token, which predicts the answer.
    """

    reader: Reader
    format: StepTags | StepTurns

    @property
    def name(self) -> str:
        """The format's name and the model's."""
        return f"{self.format.name}:{self.reader.name}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One probability in [0, 1] per path, all in one batch.

        Raises:
            EvaluatorError: the model's vocabulary is not that of the format, the model gives
                neither answer any probability, or a path has no text.
            RunStopped: the caller's run has stopped.
        """
        if not paths:
            return []
        tag, good, bad = self._tokens()
        prompts = [self._prompt(question, path, tag) for path in paths]
        rows = self.reader.probs(prompts, [[good], [bad]])
        return [shares_of(row, self.name)[0] for row in rows]

    def prompt(self, question: str, path: list[Thought]) -> list[int]:
        """The ids after which the model says what it thinks of the path's last step.

        Raises:
            EvaluatorError: as `score`; or the last tag did not become one token.
        """
        return self._prompt(question, path, self._tokens()[0])

    def _prompt(self, question: str, path: list[Thought], tag: int | None) -> list[int]:
        steps = step_texts(path)
        if isinstance(self.format, StepTurns):
            return self.reader.chat(self.format.messages(question, steps))
        text = self.format.text(question, steps)
        prompt = self.reader.start_tokens() + self.reader.encode(text)
        if prompt[-1] != tag:
            raise EvaluatorError(
                f"behind {steps[-1][-20:]!r}, the tag of {self.format.name} is not the token that "
                f"it is alone in the vocabulary of {self.reader.name}: choose another format"
            )
        return prompt

    def _tokens(self) -> tuple[int | None, int, int]:
        """The tokens of the tag, if there is one, and of good and bad."""
        form = self.format
        if isinstance(form, StepTurns):
            good, bad = form.token_ids or (None, None)
            tag = None
        else:
            wanted, good, bad = form.token_ids or (None, None, None)
            tag = single_token(self.reader, form.tag, wanted=wanted)
        return (
            tag,
            single_token(self.reader, form.good, wanted=good),
            single_token(self.reader, form.bad, wanted=bad),
        )


def single_token(
    reader: Reader, text: str, *, wanted: int | None = None, special: bool = False
) -> int:
    """The one token that is `text` in a model's vocabulary.

    Raises:
        EvaluatorError: it is several, or not the one that is wanted.
    """
    tokens = reader.encode(text, special=special)
    if len(tokens) != 1 or wanted not in (None, tokens[0]):
        expected = "one token" if wanted is None else f"the token {wanted}"
        raise EvaluatorError(
            f"{text!r} is {tokens} in the vocabulary of {reader.name}, not {expected}: this is not "
            "the process reward model that the format belongs to; choose another format"
        )
    return tokens[0]


def step_texts(path: list[Thought]) -> list[str]:
    """The path's steps as process reward models read them: stripped, blank ones left out.

    Raises:
        EvaluatorError: none is left.
    """
    steps = [text for thought in path if (text := thought.text.strip())]
    if not steps:
        raise EvaluatorError(f"a path of {len(path)} thoughts has no text to score")
    return steps
