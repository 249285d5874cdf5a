"""What a prompt is read for: the probabilities of some tokens, a hidden state, or how each token of
its end was met. One small class each; the engine knows them by these members only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forethought.engine.context import Context
from forethought.model import Reading


class Read(Protocol):
    """`layer` is the hidden layer that decodes must hand out: None for none, 0 for the final norm,
    else a block from 1. `draws` says that the result is a list of tokens which were drawn."""

    @property
    def layer(self) -> int | None: ...
    @property
    def draws(self) -> bool: ...

    def num_rows(self, index: int) -> int:
        """Of how many of prompt `index`'s last tokens the rows are read."""
        ...

    def row(self, context: Context, row: int, index: int, before: list[Any]) -> Any:
        """What batch row `row` of prompt `index` says; `before` is what those before it said."""
        ...

    def result(self, rows: list[Any]) -> Any:
        """A prompt's result from its rows."""
        ...


@dataclass(frozen=True, slots=True)
class ReadProbs:
    """The probability that the next token is one of each choice's ids."""

    choices: list[list[int]]
    layer: None = None
    draws: bool = False

    def num_rows(self, index: int) -> int:
        """The last row only."""
        return 1

    def row(self, context: Context, row: int, index: int, before: list[Any]) -> list[float]:
        """One probability per choice."""
        weights = np.exp(log_softmax(context.logits(row)))
        return [float(weights[ids].sum()) for ids in self.choices]

    def result(self, rows: list[list[float]]) -> list[float]:
        """The last row's."""
        return rows[-1]


@dataclass(frozen=True, slots=True)
class ReadHidden:
    """The state of the last token at `layer`."""

    layer: int
    draws: bool = False

    def num_rows(self, index: int) -> int:
        """The last row only."""
        return 1

    def row(self, context: Context, row: int, index: int, before: list[Any]) -> NDArray[np.float32]:
        """The state as a vector."""
        return context.state(row, self.layer)

    def result(self, rows: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The last row's."""
        return rows[-1]


@dataclass(frozen=True, slots=True)
class ReadTokens:
    """How each prompt's `ends`, tokens that follow the prompt's rows one by one, are met."""

    ends: list[list[int]]
    layer: None = None
    draws: bool = False

    def num_rows(self, index: int) -> int:
        """One row before each token of the end."""
        return len(self.ends[index])

    def row(self, context: Context, row: int, index: int, before: list[Any]) -> Reading:
        """How the token after this row is met."""
        logs = log_softmax(context.logits(row))
        entropy = -float(np.dot(np.exp(logs), logs))
        # KL(uniform || p) = -log V - mean log p
        certainty = -float(np.log(len(logs)) + logs.mean())
        return Reading(float(logs[self.ends[index][len(before)]]), entropy, max(0.0, certainty))

    def result(self, rows: list[Reading]) -> list[Reading]:
        """All of them, in order."""
        return rows


@dataclass(frozen=True, slots=True)
class ReadLikeliest:
    """How probable each token of `end` is, which follow the prompt's rows one by one, and which
    `count` tokens are likeliest in its place."""

    end: list[int]
    count: int
    layer: None = None
    draws: bool = False

    def num_rows(self, index: int) -> int:
        """One row before each token of the end."""
        return len(self.end)

    def row(
        self, context: Context, row: int, index: int, before: list[Any]
    ) -> list[tuple[int, float]]:
        """See `likeliest`."""
        return likeliest(context.logits(row), self.end[len(before)], self.count)

    def result(self, rows: list[Any]) -> list[Any]:
        """All of them, in order."""
        return rows


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Natural-log probabilities of all tokens, shape [vocabulary]."""
    shifted = logits.astype(np.float64) - float(logits.max())
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return logs


def token_logprob(logits: NDArray[np.float32], token: int) -> float:
    """Natural-log probability of one token; in single precision, for every token drawn."""
    top = float(logits.max())
    return float(logits[token]) - top - math.log(float(np.exp(logits - top).sum()))


def likeliest(logits: NDArray[np.float32], token: int, count: int) -> list[tuple[int, float]]:
    """Natural-log probabilities of `token` and then of the `count` likeliest ones, in order."""
    logs = log_softmax(logits)
    count = min(count, len(logs))
    top = np.argpartition(-logs, count - 1)[:count] if count else np.zeros(0, np.int64)
    ids = [token, *(int(one) for one in top[np.argsort(-logs[top], kind="stable")])]
    return [(one, float(logs[one])) for one in ids]
