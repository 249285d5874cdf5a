"""A completion while it is written: tokens in, text out that is never taken back."""

from __future__ import annotations

import codecs
import queue
from collections.abc import Callable, Generator
from concurrent.futures import wait
from dataclasses import dataclass, field

from forethought.config import SamplingParams
from forethought.engine.request import Request, Sampled
from forethought.engine.worker import Worker
from forethought.model import NO_USAGE, Completion, Delta, TokenLogprob

_STEP = 5.0  # seconds, more than any decode step takes
Spell = Callable[[int], bytes]


@dataclass(slots=True)
class Outlet:
    """Holds tokens back until their text is certain: whole characters, and no beginning of a stop
    string that is to be cut off. `spell` gives any token's bytes."""

    params: SamplingParams
    spell: Spell
    _held: str = ""
    _given: str = ""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=codecs.getincrementaldecoder("utf-8"), init=False
    )
    _waiting: list[tuple[int, TokenLogprob]] = field(default_factory=list)
    _length: int = 0

    def __post_init__(self) -> None:
        self._decoder.errors = "replace"

    def add(self, sampled: Sampled) -> Delta | None:
        """What is certain now; None where nothing new is."""
        self._held += self._decoder.decode(sampled.data)
        self._length += len(sampled.data)
        if sampled.likely:
            self._waiting.append((self._length, spelt(sampled.likely, self.spell)))
        if self._decoder.getstate()[0]:  # the token that ends the character may yet be missing
            return None
        certain = len(self._held) - self._num_doubtful()
        text, self._held = self._held[:certain], self._held[certain:]
        self._given += text
        return Delta(text, self._certain_logprobs()) if text else None

    def end(self, completion: Completion) -> Delta:
        """The last delta: whatever of the completion was held back."""
        text = completion.text[len(self._given) :]
        self._given = completion.text
        return Delta(text, self._certain_logprobs(), completion)

    def _num_doubtful(self) -> int:
        """Characters at the end that are a stop string with what follows it, or may begin one."""
        if self.params.keep_stop:
            return 0
        return max((doubtful(self._held, stop) for stop in self.params.stop), default=0)

    def _certain_logprobs(self) -> tuple[TokenLogprob, ...]:
        """Those of the tokens that end within what was given."""
        reach = len(self._given.encode())
        certain = [one for end, one in self._waiting if end <= reach]
        del self._waiting[: len(certain)]
        return tuple(certain)


def doubtful(text: str, stop: str) -> int:
    """How many characters at the end of `text` do not stand before a stop string for certain."""
    if stop in text:
        return len(text) - text.index(stop)
    most = min(len(stop) - 1, len(text))
    return next((count for count in range(most, 0, -1) if text.endswith(stop[:count])), 0)


def listened(request: Request, worker: Worker, spell: Spell) -> Generator[Delta]:
    """Submits a request for one completion and yields it as it is written; whoever closes this
    abandons the request. Metered on the request's scope."""
    assert isinstance(request.ask, SamplingParams)
    inbox: queue.SimpleQueue[Sampled | None] = queue.SimpleQueue()
    request.listen = inbox.put
    request.future.add_done_callback(lambda _: inbox.put(None))
    outlet = Outlet(request.ask, spell)
    worker.submit(request)
    try:
        while (sampled := inbox.get()) is not None:
            if delta := outlet.add(sampled):
                yield delta
        (completion,) = request.future.result()
        yield outlet.end(completion)
    finally:
        request.is_abandoned = True
        # until its step is done nobody knows what it cost; not for ever, for a generator that was
        # forgotten may be collected on the very thread that would have to do the step
        wait([request.future], timeout=_STEP)
        if request.scope:
            request.scope.meter.add(worker.name, sum(request.usages, NO_USAGE))


def spelt(likely: list[tuple[int, float]], spell: Spell) -> TokenLogprob:
    """A token and the likeliest ones in its place, spelt out."""
    token, *top = (_named(spell(one), logprob) for one, logprob in likely)
    return TokenLogprob(token.token, token.bytes, token.logprob, tuple(top))


def _named(data: bytes, logprob: float) -> TokenLogprob:
    return TokenLogprob(data.decode("utf-8", "replace"), data, logprob)
