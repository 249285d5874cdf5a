"""An engine whose model is a table: the engine's own threads, batches and prefix cache around it.

Tokens are letters of a small alphabet, the last of which ends a text. What a model says after some
tokens is a function of all of them, read back from its cells, so that a wrong cache shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fake_context import FakeContext
from numpy.typing import NDArray

from forethought.config import EngineConfig, SamplingParams
from forethought.engine import Engine
from forethought.engine.context import Row
from forethought.engine.distribution import distribution_of
from forethought.engine.plan import MemoryPlan
from forethought.engine.worker import Worker

ALPHABET = "ab\n c.é!$"
END = len(ALPHABET) - 1

Table = Callable[[list[int]], NDArray[np.float32]]


def table(seed: int, *, sharpness: float = 2.0, depth: int = 2, end: float = -3.0) -> Table:
    """Logits of a model that looks at the last `depth` tokens; an end of text is rare."""
    shape = (*[len(ALPHABET)] * depth, len(ALPHABET))
    logits = np.random.default_rng(seed).normal(0, sharpness, shape).astype(np.float32)
    logits[..., END] = end

    def look(tokens: list[int]) -> NDArray[np.float32]:
        key = tuple([0] * depth + tokens)[-depth:]
        row: NDArray[np.float32] = logits[key]
        return row

    return look


@dataclass
class ToyContext(FakeContext):
    """A cache of cells with a table behind it."""

    table: Table = field(default_factory=lambda: table(0))
    has_states: bool = False
    num_layers: int = 1
    width: int = 1
    seconds: float = 0.0  # that a decode takes
    said: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def handle(self) -> ToyContext:
        return self

    @property
    def max_outputs(self) -> int:
        return self.num_sequences

    def decode(self, rows: list[Row], layers: frozenset[int] = frozenset()) -> bool:
        if not super().decode(rows):
            return False
        time.sleep(self.seconds)
        wanted = {index: row for index, row in enumerate(rows) if row.wants_logits}
        assert len(wanted) <= self.max_outputs
        self.said = {
            index: self.table(self.text(row.sequences[0])[: row.position + 1])
            for index, row in wanted.items()
        }
        return True

    def logits(self, row: int) -> NDArray[np.float32]:
        return self.said[row]

    def close(self) -> None:
        """Nothing is held."""


class ToyVocabulary:
    """A token is a letter, but for the two bytes of the one that is no ASCII."""

    size = len(ALPHABET)

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def piece(self, token: int) -> bytes:
        return b"" if token == END else ALPHABET[token].encode()

    def to_bytes(self, tokens: list[int]) -> bytes:
        return b"".join(map(self.piece, tokens))

    def whole_characters(self, tokens: list[int]) -> list[int]:
        return tokens

    def is_end(self, token: int) -> bool:
        return token == END

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        return [ALPHABET.index(letter) for letter in text]

    def decode(self, tokens: list[int]) -> str:
        return self.to_bytes(tokens).decode()

    def start_tokens(self) -> list[int]:
        return []


class ToySampler:
    """Draws as llama.cpp's chain does, without a llama_context to draw from."""

    def __init__(self, params: SamplingParams, index: int) -> None:
        self._params = params
        self._chance = np.random.default_rng([7, params.seed, index])

    def sample(self, context: Any, row: int) -> int:
        return distribution_of(context.logits(row), self._params).draw(self._chance.random())

    def close(self) -> None:
        """Nothing is held."""


class ToyEngine(Engine):
    """An engine on a table; `context` shows its cells. It draws by `ToySampler` only."""

    def __init__(
        self,
        name: str,
        model: Table,
        *,
        cells: int = 2000,
        config: EngineConfig | None = None,
        fingerprint: str = "letters",
    ) -> None:
        self.config: Any = config or EngineConfig(max_sequences=8, batch_tokens=64)
        self.path = Path(f"{name}.gguf")
        self._adapter = None
        self.plan = MemoryPlan(cells, 0, 0, 0, offloaded=False)
        sequences, rows = 2 * self.config.max_sequences, self.config.batch_tokens
        self.context = ToyContext(cells, sequences, num_rows=rows, table=model)
        context: Any = self.context
        self._context = context
        vocabulary: Any = ToyVocabulary(fingerprint)
        self._vocabulary = vocabulary
        self._worker = Worker(self.name, context, vocabulary, self.config)
