"""What callers ask of the engine, and the state of each sequence while it is served."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from forethought.config import SamplingParams
from forethought.engine.context import Context
from forethought.engine.continuation import Continuation
from forethought.engine.guided import GuidedSampler
from forethought.engine.reads import Read, likeliest, token_logprob
from forethought.engine.rejection import Proposal, Propose, Verify
from forethought.engine.sampler import Sampler
from forethought.engine.vocabulary import Vocabulary
from forethought.errors import DecodeError
from forethought.model import NO_USAGE, FinishReason, RunStopped, Scope, StopReason, Usage

Write = SamplingParams | Propose


@dataclass(frozen=True, slots=True)
class Sampled:
    """A token that was sampled and kept, its bytes, and where they were asked for the natural-log
    probabilities of itself and then of the likeliest tokens in its place."""

    token: int
    data: bytes
    likely: list[tuple[int, float]]


@dataclass(slots=True)
class Request:
    """A batch of prompts that is answered as a whole: by completions where `ask` says how to
    sample, by proposals where it says so of a draft, by what is read off their rows otherwise.

    `written` are the continuations that prompts go on from, where they do not begin anew. `results`
    and `usages` have one entry per prompt, in order. `listen`, which must not block, is told of
    every token that is kept.
    """

    prompts: list[list[int]]
    scope: Scope | None
    ask: Write | Read
    written: list[Continuation] = field(default_factory=list)
    future: Future[list[Any]] = field(default_factory=Future)
    results: list[Any] = field(init=False)
    usages: list[Usage] = field(init=False)
    is_abandoned: bool = False
    listen: Callable[[Sampled], None] | None = None
    _num_open: int = field(init=False)

    def __post_init__(self) -> None:
        self.results = [None] * len(self.prompts)
        self.usages = [NO_USAGE] * len(self.prompts)
        self._num_open = len(self.prompts)

    @property
    def writes(self) -> bool:
        """Whether tokens are to be sampled one after another."""
        return isinstance(self.ask, Write)

    def sequences(self) -> list[Sequence]:
        """One for each prompt, to be served."""
        written = self.written or [Continuation(index) for index in range(len(self.prompts))]
        return [
            Sequence(self, index, [*prompt, *text.tokens], written=text)
            for index, (prompt, text) in enumerate(zip(self.prompts, written, strict=True))
        ]

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
    written: Continuation = field(default_factory=Continuation)
    proposals: list[Proposal] = field(default_factory=list)
    rows_read: list[Any] = field(default_factory=list)
    num_sampled: int = 0
    num_prefilled: int = 0
    num_cached: int = 0
    seconds: float = 0.0
    age: int = field(default_factory=_ages.__next__)
    sampler: Sampler | GuidedSampler | None = None
    logprob: float = 0.0
    likely: list[tuple[int, float]] = field(default_factory=list)

    @property
    def sampled(self) -> list[int]:
        """What was sampled and kept, now and before."""
        return self.written.tokens

    @property
    def is_prefilling(self) -> bool:
        """Whether more than the newest token waits to be computed."""
        return self.num_computed < len(self.tokens) - 1 or not self.sampled

    @property
    def first_wanted(self) -> int:
        """The first position whose logits are wanted; all later ones are wanted too."""
        ask = self.request.ask
        count = 1 if isinstance(ask, Write) else ask.num_rows(self.index)
        return len(self.tokens) - count

    @property
    def num_guessed(self) -> int:
        """How many of the last tokens are a draft's proposals, which may turn out wrong."""
        ask = self.request.ask
        if isinstance(ask, Verify):
            return len(ask.proposals[self.index])
        return len(self.sampled) if isinstance(ask, Propose) else 0

    @property
    def params(self) -> SamplingParams:
        """How to sample."""
        ask = self.request.ask
        if isinstance(ask, Propose):
            return ask.params[self.index]
        assert isinstance(ask, SamplingParams)
        return ask

    @property
    def usage(self) -> Usage:
        """What this sequence has cost so far."""
        return Usage(self.num_prefilled, self.num_cached, self.num_sampled, self.seconds)

    def sample(self, context: Context, row: int) -> int | None:
        """Draw the next token; the sampler is made at the first draw. None where none can be drawn:
        the request has failed then, and no other one."""
        ask = self.request.ask
        if isinstance(ask, Propose):
            logits = context.logits(row)
            self.proposals.append(ask.proposal(logits, self.index, len(self.proposals)))
            return self.proposals[-1].token
        if self.sampler is None:
            self.sampler = self._new_sampler(context)
        try:
            token = self.sampler.sample(context.handle, row)
        except DecodeError as error:
            self.request.fail(error)
            self.request.is_abandoned = True
            return None
        if self.params.logprob:
            self.logprob = token_logprob(context.logits(row), token)
        if self.params.top_logprobs is not None:
            self.likely = likeliest(context.logits(row), token, self.params.top_logprobs)
        return token

    def _new_sampler(self, context: Context) -> Sampler | GuidedSampler:
        if self.params.grammar is None:
            return Sampler(self.params, self.written.index)
        assert not self.sampled, "a grammar has to see a text from its beginning"
        return GuidedSampler(self.params, self.written.index, context.vocab)

    def read(self, read: Read, context: Context, row: int) -> bool:
        """Take what a row says; True when it was the last one and the result is complete."""
        self.rows_read.append(read.row(context, row, self.index, self.rows_read))
        is_complete = len(self.rows_read) == read.num_rows(self.index)
        if is_complete and read.draws:
            self.num_sampled = len(read.result(self.rows_read))
        return is_complete

    def accept(self, token: int, vocabulary: Vocabulary) -> FinishReason | None:
        """Append a sampled token; the reason to finish, if it is one."""
        self.num_sampled += 1
        reason = self.written.add(token, self.params, vocabulary, logprob=self.logprob)
        if reason != "eos":
            self.tokens.append(token)
            if self.request.listen:
                self.request.listen(Sampled(token, vocabulary.piece(token), self.likely))
        return reason

    def finish(self, reason: FinishReason, vocabulary: Vocabulary) -> None:
        """Deliver the completion, or the proposals, as they stand."""
        if isinstance(self.request.ask, Propose):
            self.request.deliver(self.index, self.proposals)
        else:
            completion = self.written.completed(reason, self.params, vocabulary, self.usage)
            self.request.deliver(self.index, completion)
        self.close()

    def stop(self, reason: StopReason, vocabulary: Vocabulary) -> None:
        """Give up because the run stopped: a partial completion, or no reading at all."""
        if self.request.writes:
            self.finish(reason, vocabulary)
        else:
            self.request.fail(RunStopped(reason))

    def deliver_read(self) -> None:
        """Deliver what was read."""
        ask = self.request.ask
        assert not isinstance(ask, Write)
        self.request.deliver(self.index, ask.result(self.rows_read))

    def close(self) -> None:
        """Free the sampler; safe to call twice."""
        if self.sampler is not None:
            self.sampler.close()
            self.sampler = None
