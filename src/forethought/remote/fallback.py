"""A remote model with a local one in its place for as long as it cannot be reached."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from forethought.config import SamplingParams
from forethought.engine import EngineStats
from forethought.errors import RemoteError
from forethought.model import Completion, Message, Model, Reading
from forethought.remote import pieces
from forethought.remote.model import RemoteModel

Result = TypeVar("Result")

logger = logging.getLogger("forethought.remote")
_PATIENCE: Final = 60.0  # seconds until a lost model is tried again


class FallbackModel:
    """Implements `forethought.model.Model`: `remote`, and where it is lost, `local` writes and
    judges instead. What `local` did is in the run's ledger under its own name; that the other was
    lost is logged by `forethought.remote` as a warning.

    Scores of two models are not of one scale: a threshold that one's have set tests the other's
    strictly or mildly for a while.
    """

    def __init__(self, remote: RemoteModel, local: Model) -> None:
        self.remote = remote
        self.local = local
        self.name = remote.name
        self.vocabulary = remote.vocabulary
        self._lock = threading.Lock()
        self._lost_until = 0.0

    @property
    def context_size(self) -> int:
        """The remote model's, or the local one's while that is lost."""
        return self._first(lambda: self.remote.context_size, lambda: self.local.context_size)

    def stats(self) -> EngineStats:
        """What the remote model has served."""
        return self.remote.stats()

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """As the remote model."""
        return self.remote.encode(text, special=special)

    def start_tokens(self) -> list[int]:
        """As the remote model."""
        return self.remote.start_tokens()

    def decode(self, tokens: list[int]) -> str:
        """As the remote model."""
        return self.remote.decode(tokens)

    def chat(self, messages: list[Message]) -> list[int]:
        """As the remote model."""
        return self.remote.chat(messages)

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        """One completion per prompt, by either model. Raises as the local one."""

        def locally() -> list[Completion]:
            written = self.local.generate([self._translated(prompt) for prompt in prompts], params)
            return [
                Completion(
                    one.text, self.encode(one.text), one.finish_reason, one.usage, one.logprob
                )
                for one in written
            ]

        return self._first(lambda: self.remote.generate(prompts, params), locally)

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        """Probabilities of the next token, by either model. Raises as the local one."""

        def locally() -> list[list[float]]:
            own = [[self.local.encode(self.decode([one]))[0] for one in row] for row in choices]
            return self.local.probs([self._translated(prompt) for prompt in prompts], own)

        return self._first(lambda: self.remote.probs(prompts, choices), locally)

    def hidden(
        self, prompts: list[list[int]], *, layer: int | None = None
    ) -> list[NDArray[np.float32]]:
        """Refused, as by the remote model."""
        return self.remote.hidden(prompts, layer=layer)

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        """By the remote model alone: the local one has no readings of its pieces."""
        return self.remote.readings(prompts, counts)

    def close(self) -> None:
        """Close the remote model."""
        self.remote.close()

    def _first(self, remotely: Callable[[], Result], locally: Callable[[], Result]) -> Result:
        with self._lock:
            is_lost = time.monotonic() < self._lost_until
        if not is_lost:
            try:
                return remotely()
            except RemoteError as error:
                logger.warning(
                    "%s is lost, %s takes its place: %s", self.name, self.local.name, error
                )
                with self._lock:
                    self._lost_until = time.monotonic() + _PATIENCE
        return locally()

    def _translated(self, prompt: list[int]) -> list[int]:
        talk = pieces.conversation(prompt)
        return self.local.chat(list(talk.messages)) + self.local.encode(talk.prefix)
