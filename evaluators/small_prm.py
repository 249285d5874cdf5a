"""The small process reward model: the draft's own weights with a LoRA adapter that answers `+` or
`-` after each step.

The question and the answer's form are Math-Shepherd's (Wang et al. 2024), without its tag: the
answer is read where a step ends, so a step costs its own tokens and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from forethought.config import EngineConfig
from forethought.engine import Engine
from forethought.evaluators.evaluator import closed_tokens
from forethought.evaluators.judge import shares_of
from forethought.evaluators.trained import check_adapter
from forethought.model import Reader
from forethought.prompts_prm import SMALL_PRM, PlainSteps
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class SmallPrm:
    """Scores a path by P(good) / (P(good) + P(bad)) of the token after its last step."""

    reader: Reader
    format: PlainSteps = SMALL_PRM

    @property
    def name(self) -> str:
        """`small-prm` and the adapted model's name."""
        return f"small-prm:{self.reader.name}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One probability in [0, 1] per path, all in one batch.

        Raises:
            EvaluatorError: the model gives neither answer any probability.
            RunStopped: the caller's run has stopped.
        """
        if not paths:
            return []
        form, reader = self.format, self.reader
        opening = opening_tokens(reader, question, form)
        prompts = [opening + closed_tokens(reader, path, form.delimiter) for path in paths]
        rows = reader.probs(prompts, [[token] for token in answer_tokens(reader, form)])
        return [shares_of(row, self.name)[0] for row in rows]


class Encoder(Protocol):
    """What makes token ids of text: a `Reader`, or a vocabulary alone."""

    def encode(self, text: str) -> list[int]: ...

    def start_tokens(self) -> list[int]: ...


def opening_tokens(encoder: Encoder, question: str, form: PlainSteps) -> list[int]:
    """What stands before the steps."""
    return encoder.start_tokens() + encoder.encode(question.strip() + form.delimiter)


def answer_tokens(encoder: Encoder, form: PlainSteps) -> tuple[int, int]:
    """The first tokens of the good and the bad answer."""
    return encoder.encode(form.good)[0], encoder.encode(form.bad)[0]


@contextmanager
def open_small_prm(
    adapter: Path, base: Engine, *, config: EngineConfig | None = None
) -> Iterator[SmallPrm]:
    """The small PRM of a GGUF adapter that `forethought train prm` wrote, on a second context over
    the weights of `base`; closed afterwards.

    Raises:
        UnknownModel, ModelFileError, ModelLoadError: there is no such file, it is no PRM, or it is
            another model's.
        NotEnoughMemory: the second context would not fit.
    """
    check_adapter(adapter, "prm")
    with base.adapted(adapter, config=config) as engine:
        yield SmallPrm(engine)
