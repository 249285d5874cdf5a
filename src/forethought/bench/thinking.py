"""Thoughts that are only numbers: how good they are, how they are scored, how long they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from forethought.config import require_at_least, require_between
from forethought.thoughts import Source

_LEAST_PARAMETERS = 0.2  # of a beta distribution, together: all at its ends
_SHAPE = 4.0  # of the gamma distribution of lengths: their standard deviation is half their mean


@dataclass(frozen=True, slots=True)
class Batch:
    """Thoughts written at once: `qualities`, the `scores` that the evaluator gives them, both in
    [0, 1], and `lengths` in tokens."""

    qualities: list[float]
    scores: list[float]
    lengths: list[int]

    def at(self, places: Sequence[int]) -> Batch:
        """Those at `places`."""
        return Batch(
            [self.qualities[place] for place in places],
            [self.scores[place] for place in places],
            [self.lengths[place] for place in places],
        )


class Thinkers(Protocol):
    """The models, as far as a simulation knows them."""

    @property
    def num_depths(self) -> int: ...

    def write(self, source: Source, depth: int, count: int) -> Batch:
        """`count` thoughts of a model for one parent; depth counts from 1."""
        ...


@dataclass(frozen=True, slots=True)
class Thinking:
    """What the models write, by assumption; docs/simulation.md says where the defaults come from.

    A solution has `num_thoughts` thoughts of `num_tokens` tokens on average (gamma distributed,
    standard deviation half the mean), behind a question of `question_tokens`. The quality of a
    thought of the target is beta distributed with mean `quality` at depth 1, less by `decline` at
    each further depth but never below `least`, and the standard deviation `spread` (less where no
    numbers in [0, 1] can spread so far); the draft's mean is less by `gap`. The evaluator sees
    quality with a normal error of deviation `noise`, within [0, 1], rounded to multiples of
    `resolution` where that is not 0.

    Raises:
        ConfigError: a value is out of range.
    """

    num_thoughts: int = 10
    num_tokens: float = 60.0
    question_tokens: float = 100.0
    quality: float = 0.9
    decline: float = 0.008
    least: float = 0.5
    gap: float = 0.07
    spread: float = 0.15
    noise: float = 0.0
    resolution: float = 0.0

    def __post_init__(self) -> None:
        require_at_least("num_thoughts", self.num_thoughts, 1)
        require_at_least("num_tokens", self.num_tokens, 1)
        require_at_least("question_tokens", self.question_tokens, 0)
        for name in ("quality", "decline", "least", "spread", "resolution"):
            require_between(name, getattr(self, name), (0.0, 1.0))
        require_between("gap", self.gap, (-1.0, 1.0))
        require_at_least("noise", self.noise, 0)

    def mean(self, source: Source, depth: int) -> float:
        """Expected quality at a depth, from 1; kept off the ends of [0, 1] by 0.01."""
        mean = max(min(self.least, self.quality), self.quality - self.decline * (depth - 1))
        return float(np.clip(mean - (self.gap if source == "draft" else 0.0), 0.01, 0.99))


@dataclass(frozen=True, slots=True)
class Drawn:
    """Thinkers whose thoughts are drawn from `thinking`."""

    thinking: Thinking
    chance: np.random.Generator

    @property
    def num_depths(self) -> int:
        """Thoughts of a solution."""
        return self.thinking.num_thoughts

    def write(self, source: Source, depth: int, count: int) -> Batch:
        """Independent draws."""
        thinking, mean = self.thinking, self.thinking.mean(source, depth)
        if thinking.spread:
            parameters = max(mean * (1 - mean) / thinking.spread**2 - 1, _LEAST_PARAMETERS)
            qualities = self.chance.beta(mean * parameters, (1 - mean) * parameters, count)
        else:
            qualities = np.full(count, mean)
        scores = np.clip(qualities + self.chance.normal(0, thinking.noise, count), 0, 1)
        if thinking.resolution:
            scores = np.round(scores / thinking.resolution) * thinking.resolution
        lengths = np.ceil(self.chance.gamma(_SHAPE, thinking.num_tokens / _SHAPE, count))
        return Batch(qualities.tolist(), scores.tolist(), lengths.astype(int).tolist())
