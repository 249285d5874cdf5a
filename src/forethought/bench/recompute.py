"""How often a prompt token is computed that had been computed before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forethought.config import SamplingParams
from forethought.engine import Engine
from forethought.engine.radix import RadixTree
from forethought.model import Completion, Message, Reading, Scope, Usage, current_scope, run_scope


@dataclass(slots=True)
class Recorder:
    """A `Model` that passes every call on, and remembers every prefix that was ever computed.

    `num_computed` counts the prompt tokens that the engine computed, `num_new` those that no
    earlier call had computed; the difference was computed twice.
    """

    engine: Engine
    num_computed: int = 0
    num_new: int = 0
    _seen: RadixTree = field(default_factory=RadixTree)
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    @property
    def vocabulary(self) -> str:
        """The engine's."""
        return self.engine.vocabulary

    @property
    def context_size(self) -> int:
        """The engine's."""
        return self.engine.context_size

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The engine's."""
        return self.engine.encode(text, special=special)

    def start_tokens(self) -> list[int]:
        """The engine's."""
        return self.engine.start_tokens()

    def decode(self, tokens: list[int]) -> str:
        """The engine's."""
        return self.engine.decode(tokens)

    def chat(self, messages: list[Message]) -> list[int]:
        """The engine's."""
        return self.engine.chat(messages)

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        """The engine's, prompts and what was sampled remembered."""
        self._remember(prompts)
        completions = self.engine.generate(prompts, params)
        self.num_computed += sum(c.usage.prompt_tokens for c in completions)
        for prompt, completion in zip(prompts, completions, strict=True):
            # the last sampled token has not been computed yet; an end of text is not among `tokens`
            end = None if completion.finish_reason == "eos" else -1
            self._seen.insert(next(self._ids), prompt + completion.tokens[:end])
        return completions

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        """The engine's, prompts remembered."""
        with self._reading(prompts):
            return self.engine.probs(prompts, choices)

    def hidden(
        self, prompts: list[list[int]], *, layer: int | None = None
    ) -> list[NDArray[np.float32]]:
        """The engine's, prompts remembered."""
        with self._reading(prompts):
            return self.engine.hidden(prompts, layer=layer)

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        """The engine's, prompts remembered."""
        with self._reading(prompts):
            return self.engine.readings(prompts, counts)

    @contextmanager
    def _reading(self, prompts: list[list[int]]) -> Iterator[None]:
        self._remember(prompts)
        outer = current_scope() or Scope()
        with run_scope(Scope(outer.cancel, outer.deadline)) as scope:
            yield
        usage = scope.meter.totals().get(self.name, Usage())
        outer.meter.add(self.name, usage)
        self.num_computed += usage.prompt_tokens

    def _remember(self, prompts: list[list[int]]) -> None:
        for prompt in prompts:
            known, _ = self._seen.match(prompt)
            self.num_new += len(prompt) - known
            self._seen.insert(next(self._ids), prompt)
