"""How sure a model is of a thought, read off the prefill of its tokens. No question is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal, get_args

from forethought.config import require_one_of
from forethought.errors import EvaluatorError
from forethought.evaluators.evaluator import path_tokens
from forethought.model import Reader, Reading
from forethought.prompts import Task
from forethought.thoughts import Thought

Sureness = Literal["logprob", "certainty", "entropy"]

# nats: Qwen2.5-Coder 0.5B and 1.5B met sentences with means of 7 (word salad) to 13, which the map
# spreads over 0.53 to 0.73
_CERTAINTY_SCALE: Final = 10.0
_ROUNDING: Final = 1e-3  # what single precision leaves of sums over a vocabulary


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Scores a path by how `reader` meets the tokens of its last thought. With m the mean over
    these tokens, `how` is

    - `logprob`: exp(m(log p)), the geometric mean of the tokens' probabilities;
    - `certainty`: self-certainty (Kang, Zhao, Song 2025, "Scalable Best-of-N Selection for Large
      Language Models via Self-Certainty") c = m(KL(uniform || p)) in nats, which is
      unbounded, mapped to [0, 1) by 1 - exp(-c / 10): the order is kept;
    - `entropy`: exp(-m(H(p))), one over the number of equally likely tokens that is as unsure.

    `certainty` and `entropy` look at the distributions alone, not at which token was written.

    Raises:
        ConfigError: `how` is none of these.
    """

    reader: Reader
    task: Task
    how: Sureness = "logprob"

    def __post_init__(self) -> None:
        require_one_of("how", self.how, get_args(Sureness))

    @property
    def name(self) -> str:
        """`likelihood`, the reading model's name, and `how`."""
        return f"likelihood:{self.reader.name}:{self.how}"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in [0, 1] per path, all in one batch.

        Raises:
            EvaluatorError: a thought has no tokens, or the model's reading of one is no number.
            RunStopped: the caller's run has stopped.
        """
        if not paths:
            return []
        counts = [len(path_tokens(self.reader, path[-1:])) for path in paths]
        if not all(counts):
            raise EvaluatorError("a thought without tokens has no likelihood: leave it out")
        opening = self.task.opening(self.reader, question)
        prompts = [opening + path_tokens(self.reader, path) for path in paths]
        return [self._sureness(readings) for readings in self.reader.readings(prompts, counts)]

    def _sureness(self, readings: list[Reading]) -> float:
        mean = max(0.0, fmean(self._nats(reading) for reading in readings))
        return -math.expm1(-mean / _CERTAINTY_SCALE) if self.how == "certainty" else math.exp(-mean)

    def _nats(self, reading: Reading) -> float:
        """What the mean is of, the logarithm's sign turned: at least 0, but for rounding."""
        nats = -reading.logprob if self.how == "logprob" else getattr(reading, self.how)
        is_finite = math.isfinite(nats) or self.how == "logprob"  # a token may be impossible
        if not (nats >= -_ROUNDING and is_finite):
            raise EvaluatorError(
                f"{self.reader.name} gives {nats} nats for a token's {self.how}, which no "
                "distribution has: its weights or their number format are broken"
            )
        return float(nats)
