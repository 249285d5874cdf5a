"""What callers ask of the engine, and the state of each sequence while it is served."""

from __future__ import annotations

import itertools
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from forethought.config import SamplingParams
from forethought.engine.context import Context
from forethought.engine.reads import Read, token_logprob
from forethought.engine.sampler import Sampler
from forethought.engine.vocabulary import Vocabulary
from forethought.model import (
    NO_USAGE,
    Completion,
    FinishReason,
    RunStopped,
    Scope,
    StopReason,
    Usage,
)


@dataclass(slots=True)
class Request:
    """A batch of prompts that is answered as a whole: by completions where `ask` says how to
    sample, by what is read off their rows otherwise. `results` has one entry per prompt, in order.
    """

    prompts: list[list[int]]
    scope: Scope | None
    ask: SamplingParams | Read
    future: Future[list[Any]] = field(default_factory=Future)
    results: list[Any] = field(init=False)
    is_abandoned: bool = False
    usage: Usage = NO_USAGE
    _num_open: int = field(init=False)

    def __post_init__(self) -> None:
        self.results = [None] * len(self.prompts)
        self._num_open = len(self.prompts)

    def stop_reason(self) -> StopReason | None:
        """Why the run that asks must stop now, or None."""
        if self.is_abandoned:
            return "cancelled"
        return self.scope.stop_reason() if self.scope else None

    def deliver(self, index: int, result: object) -> None:
        """Take one prompt's result; the last one wakes the caller."""
        self.results[index] = result
        self._num_open -= 1
        if self._num_open == 0 and not self.future.done():
            self.future.set_result(self.results)

    def fail(self, error: BaseException) -> None:
        """Wake the caller with an error; later results are dropped."""
        if not self.future.done():
            self.future.set_exception(error)


_ages = itertools.count()


@dataclass(slots=True, eq=False)
class Sequence:
    """One prompt of a request while it waits or decodes. `tokens` are the prompt and what was
    sampled; the first `num_computed` of them are in the KV cache, in sequence `id`."""

    request: Request
    index: int
    tokens: list[int]
    id: int = -1
    num_computed: int = 0
    sampled: list[int] = field(default_factory=list)
    data: bytes = b""
    rows_read: list[Any] = field(default_factory=list)
    num_sampled: int = 0
    num_prefilled: int = 0
    num_cached: int = 0
    seconds: float = 0.0
    age: int = field(default_factory=_ages.__next__)
    sampler: Sampler | None = None
    logprob: float = 0.0

    @property
    def is_prefilling(self) -> bool:
        """Whether more than the newest token waits to be computed."""
        return self.num_computed < len(self.tokens) - 1 or not self.sampled

    @property
    def first_wanted(self) -> int:
        """The first position whose logits are wanted; all later ones are wanted too."""
        ask = self.request.ask
        count = 1 if isinstance(ask, SamplingParams) else ask.num_rows(self.index)
        return len(self.tokens) - count

    @property
    def params(self) -> SamplingParams:
        """How to sample."""
        assert isinstance(self.request.ask, SamplingParams)
        return self.request.ask

    @property
    def usage(self) -> Usage:
        """What this sequence has cost so far."""
        return Usage(self.num_prefilled, self.num_cached, self.num_sampled, self.seconds)

    def sample(self, context: Context, row: int) -> int:
        """Draw the next token; the sampler is made at the first draw."""
        if self.sampler is None:
            self.sampler = Sampler(self.params, self.index)
        token = self.sampler.sample(context.handle, row)
        if self.params.logprob:
            self.logprob += token_logprob(context.logits(row), token)
        return token

    def read(self, read: Read, context: Context, row: int) -> bool:
        """Take what a row says; True when it was the last one and the result is complete."""
        place = (self.index, len(self.rows_read))
        self.rows_read.append(read.row(context, row, place))
        return len(self.rows_read) == read.num_rows(self.index)

    def accept(self, token: int, vocabulary: Vocabulary) -> FinishReason | None:
        """Append a sampled token; the reason to finish, if it is one."""
        params = self.params
        self.num_sampled += 1
        if vocabulary.is_end(token):
            return "eos"
        num_known = len(self.data)
        self.tokens.append(token)
        self.sampled.append(token)
        self.data += vocabulary.piece(token)
        if stop_position(self.data, params, num_known) is not None:
            return "stop"
        return "length" if len(self.sampled) >= params.max_tokens else None

    def finish(self, reason: FinishReason, vocabulary: Vocabulary) -> None:
        """Deliver the completion as it stands."""
        params = self.params
        tokens, data = self.sampled, self.data
        if reason not in ("stop", "eos"):
            tokens = vocabulary.whole_characters(tokens)
            data = vocabulary.to_bytes(tokens)
        cut = stop_position(data, params, 0) if reason == "stop" and not params.keep_stop else None
        text = data[:cut].decode("utf-8", "replace")
        logprob = self.logprob / max(1, self.num_sampled) if params.logprob else None
        self.request.deliver(self.index, Completion(text, tokens, reason, self.usage, logprob))
        self.close()

    def stop(self, reason: StopReason, vocabulary: Vocabulary) -> None:
        """Give up because the run stopped: a partial completion, or no reading at all."""
        if isinstance(self.request.ask, SamplingParams):
            self.finish(reason, vocabulary)
        else:
            self.request.fail(RunStopped(reason))

    def deliver_read(self) -> None:
        """Deliver what was read."""
        ask = self.request.ask
        assert not isinstance(ask, SamplingParams)
        self.request.deliver(self.index, ask.result(self.rows_read))

    def close(self) -> None:
        """Free the sampler; safe to call twice."""
        if self.sampler is not None:
            self.sampler.close()
            self.sampler = None


def stop_position(data: bytes, params: SamplingParams, num_known: int) -> int | None:
    """Where the first stop string begins in `data`; `num_known` bytes were searched before.

    With `keep_stop`, stop strings within the leading white space do not count.
    """
    if not params.stop:
        return None
    start = len(data) - len(data.lstrip()) if params.keep_stop else 0
    stops = [stop.encode() for stop in params.stop]
    reach = max(map(len, stops)) - 1
    found = [data.find(stop, max(start, num_known - reach)) for stop in stops]
    return min((position for position in found if position >= 0), default=None)
