"""A model elsewhere as a `Model`: all graphs, nodes and evaluators take it as they take an engine.

It exchanges text with the other model of a pair, never tokens (see `forethought.remote.pieces`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from forethought.config import SamplingParams, require, require_between
from forethought.engine import EngineStats
from forethought.errors import ConfigError, EvaluatorError, PromptTooLong
from forethought.model import (
    NO_USAGE,
    Completion,
    Message,
    Meter,
    Reading,
    RunStopped,
    StopReason,
    Usage,
    record_usage,
)
from forethought.remote import pieces
from forethought.remote.backend import Backend, Draw, NextToken, ReadToken
from forethought.remote.background import Background, together

Result = TypeVar("Result")


class RemoteModel:
    """A model that a `Backend` reaches. Implements `forethought.model.Model`; close it when done.

    Args:
        backend: e.g. `OpenAIServer("https://host/v1", "name")` or `LangChainChat(model)`.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.vocabulary = pieces.VOCABULARY
        self._background = Background(f"remote-{backend.name}")
        self._meter = Meter()

    @property
    def name(self) -> str:
        """The model's name, as its server knows it."""
        return self.backend.name

    @property
    def context_size(self) -> int:
        """The most tokens of a prompt and its continuation; 0 where the run stops before the server
        has told. Raises RemoteError."""
        try:
            return self.ask(self.backend.context_size)
        except RunStopped:
            return 0

    def ask(self, question: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """What the backend answers, e.g. `server.capabilities`. Raises RemoteError, RunStopped."""
        return self._background.run(question)

    def stats(self) -> EngineStats:
        """Counts so far."""
        return EngineStats(self._meter.totals().get(self.name, NO_USAGE))

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Pieces of `text`; there are no control tokens."""
        return pieces.encode(text)

    def start_tokens(self) -> list[int]:
        """None: the server puts its own."""
        return []

    def decode(self, tokens: list[int]) -> str:
        """The text of pieces."""
        return pieces.decode(tokens)

    def chat(self, messages: list[Message]) -> list[int]:
        """The conversation as pieces, its turns told by ids of their own."""
        return pieces.opened(messages)

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        """One completion per prompt; equal prompts are asked for in one request.

        Where the run stops, answers under way are cut off and come back as far as they had come.

        Raises:
            ConfigError: `params` has a grammar.
            RemoteError: the model cannot be reached, or refuses.
            PromptTooLong: a prompt does not fit.
        """
        require(params.grammar is None, f"{self.name} is behind a server: it takes no grammar")
        self._check(prompts)
        draws = [Draw(params, index) for index in range(len(prompts))]
        groups: dict[tuple[int, ...], list[Draw]] = {}
        for prompt, draw in zip(prompts, draws, strict=True):
            groups.setdefault(tuple(prompt), []).append(draw)
        usages = [NO_USAGE] * len(prompts)
        stopped: StopReason = "cancelled"
        started = time.perf_counter()

        async def write(asked: tuple[tuple[int, ...], list[Draw]]) -> None:
            prompt, group = asked
            told = await self.backend.draw(pieces.conversation(list(prompt)), group)
            for draw, usage in zip(group, _shared(told, group, prompt), strict=True):
                usages[draw.index] = usage

        try:
            self._background.run(lambda: together(write, groups.items()))
        except RunStopped as error:
            stopped = error.reason
            for draw in draws:
                if usages[draw.index] == NO_USAGE:
                    usages[draw.index] = Usage(generated_tokens=draw.num_tokens)
        finally:
            self._count(usages, started)
        share = (time.perf_counter() - started) / max(1, len(draws))
        return [
            draw.completion(stopped, usages[draw.index] + Usage(seconds=share)) for draw in draws
        ]

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        """The probability that the next token begins as one of each choice's pieces do; what is not
        among the likeliest tokens that the server tells counts as 0.

        Raises:
            RunStopped: the caller's run was cancelled or ran out of time.
            ConfigError: the server does not tell.
            RemoteError, PromptTooLong: as `generate`.
        """
        require(bool(choices) and all(choices), "probs needs at least one token id per choice")
        self._check(prompts)
        started = time.perf_counter()
        talks = [pieces.conversation(prompt) for prompt in prompts]
        rows = self._background.run(lambda: together(self.backend.alternatives, talks))
        self._count([usage or NO_USAGE for _, usage in rows], started)
        return [[_share(tokens, choice) for choice in choices] for tokens, _ in rows]

    def hidden(
        self, prompts: list[list[int]], *, layer: int | None = None
    ) -> list[NDArray[np.float32]]:
        """Refused. Raises ConfigError."""
        _refuse_states(self.name)

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        """How the model meets the last `counts[i]` pieces of prompt i. A piece's `logprob` is that
        of all tokens of the server that begin in it; `entropy` and `certainty`, of which no server
        tells enough, are NaN.

        Raises:
            ConfigError: a count is not in 1..(length of its prompt - 1), or the server does not
                tell.
            EvaluatorError: what the server tells is of another text.
            RunStopped, RemoteError, PromptTooLong: as `probs`.
        """
        self._check(prompts)
        for prompt, count in zip(prompts, counts, strict=True):
            require_between("count", count, (1, len(prompt) - 1))
        started = time.perf_counter()
        talks = [pieces.conversation(prompt) for prompt in prompts]
        rows = self._background.run(lambda: together(self.backend.read, talks))
        self._count([usage or NO_USAGE for _, usage in rows], started)
        return [
            _readings(tokens, prompt[-count:], self.name)
            for (tokens, _), prompt, count in zip(rows, prompts, counts, strict=True)
        ]

    def close(self) -> None:
        """Cancel what is under way and close the connections; safe to call twice."""
        self._background.close(self.backend.close)

    def __enter__(self) -> RemoteModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, prompts: list[list[int]]) -> None:
        if not all(prompts):
            raise PromptTooLong(f"an empty prompt for {self.name}: give some text to go on from")

    def _count(self, usages: list[Usage], started: float) -> None:
        seconds = time.perf_counter() - started
        usage = sum(usages, NO_USAGE) + Usage(seconds=seconds)
        self._meter.add(self.name, usage)
        record_usage(self.name, usage)


def _refuse_states(name: str) -> NoReturn:
    raise ConfigError(
        f"{name} is reached through a server, which hands out no hidden states: use an evaluator "
        "that reads none, or one that reads with the draft"
    )


def _shared(told: Usage | None, group: list[Draw], prompt: tuple[int, ...]) -> list[Usage]:
    """What each answer to one prompt cost: the first bears the prompt, and all alike what was
    sampled. Where nothing was told, pieces and tokens that came in are counted."""
    if told is None:
        counts = [draw.num_tokens for draw in group]
        told = Usage(prompt_tokens=len(prompt))
    else:
        each, rest = divmod(told.generated_tokens, len(group))
        counts = [each + rest, *[each] * (len(group) - 1)]
    first = Usage(told.prompt_tokens, told.cached_tokens, counts[0])
    return [first, *(Usage(generated_tokens=count) for count in counts[1:])]


def _share(tokens: list[NextToken], choice: list[int]) -> float:
    told = (token for token in tokens if any(pieces.is_told_by(one, token.text) for one in choice))
    return min(1.0, math.fsum(math.exp(token.logprob) for token in told))


def _readings(tokens: list[ReadToken], end: list[int], name: str) -> list[Reading]:
    """Readings of the pieces `end` from the server's tokens, which end with the same text."""
    texts = [pieces.decode([piece]) for piece in end]
    length = sum(map(len, texts))
    whole = "".join(token.text for token in tokens)
    if not whole.endswith("".join(texts)):
        raise EvaluatorError(f"{name} read another text than {''.join(texts)!r}: it cannot judge")
    sums, place = [0.0] * len(texts), length - len(whole)
    ends = [sum(map(len, texts[: number + 1])) for number in range(len(texts))]
    for token in tokens:
        if place >= 0 and token.text:
            number = next(n for n, reach in enumerate(ends) if place < reach)
            sums[number] += token.logprob or 0.0
        place += len(token.text)
    return [Reading(logprob, math.nan, math.nan) for logprob in sums]
