"""The thread that owns a context: take requests, plan rows, decode, hand out what the rows say.

Requests of all callers meet in the same batch; callers wait on futures.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from forethought.config import EngineConfig
from forethought.engine.cache import PrefixCache
from forethought.engine.context import Context, Row
from forethought.engine.request import Request, Sequence, Write
from forethought.engine.scheduler import Scheduler
from forethought.engine.vocabulary import Vocabulary
from forethought.errors import DecodeError, EngineClosed
from forethought.model import NO_USAGE, Usage

_NUM_SAMPLING_THREADS = 2


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counts since the engine started: `usage` is that of all prompts served."""

    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class _Forget:
    """Asks that cached prefixes be let go, but for that of `keep`; `done` tells that they are."""

    keep: list[int]
    done: Future[None]

    def serve(self, scheduler: Scheduler) -> None:
        try:
            scheduler.forget(self.keep)
        except BaseException as error:
            self.fail(error)
            raise
        self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        self.done.set_exception(error)


class Worker:
    """Serves requests on its own thread until it is closed; then closes the context."""

    def __init__(
        self, name: str, context: Context, vocabulary: Vocabulary, config: EngineConfig
    ) -> None:
        self.name = name
        self.stats = EngineStats()
        self._vocabulary = vocabulary
        self._context = context
        self._scheduler = Scheduler(
            PrefixCache(context, keep=config.cache_tokens),
            max_sequences=config.max_sequences,
            max_rows=context.num_rows,
            max_outputs=context.max_outputs,
        )
        self._inbox: queue.SimpleQueue[Request | _Forget | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._is_closed = False
        self._samplers = ThreadPoolExecutor(_NUM_SAMPLING_THREADS, f"sample-{name}")
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Queue a request. Raises EngineClosed."""
        with self.kept_open():
            self._inbox.put(request)

    def forget(self, keep: list[int]) -> None:
        """Let cached prefixes go, but for that of `keep`. Raises EngineClosed."""
        asked = _Forget(keep, Future())
        with self.kept_open():
            self._inbox.put(asked)
        asked.done.result()

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """The model's memory is not freed while the block runs; refused once it may be."""
        with self._closing:
            if self._is_closed:
                raise EngineClosed(f"the engine of {self.name} is closed")
            yield

    def close(self) -> None:
        """Finish the step in hand, fail what waits, free all memory; safe to call twice."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._inbox.put(None)
        # whoever lets go of an engine may be collected on any thread, this one among them
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            while self._take_requests():
                self._drop_stopped()
                if self._scheduler.is_busy:
                    self._step()
            self._fail_all(EngineClosed(f"the engine of {self.name} was closed"))
        except BaseException as error:
            with self._closing:  # a request put in after the inbox was emptied would wait for ever
                self._is_closed = True
            self._fail_all(error)
            raise
        finally:
            self._samplers.shutdown()
            self._context.close()

    def _take_requests(self) -> bool:
        """Move new requests to the scheduler; wait for one when idle. False when closing."""
        while not self._scheduler.is_busy or not self._inbox.empty():
            request = self._inbox.get()
            if request is None:
                return False
            if isinstance(request, _Forget):
                request.serve(self._scheduler)
            else:
                self._scheduler.waiting.extend(request.sequences())
        return True

    def _drop_stopped(self) -> None:
        for sequence in [*self._scheduler.active.values(), *self._scheduler.waiting]:
            if reason := sequence.request.stop_reason():
                self._settle(sequence)
                sequence.stop(reason, self._vocabulary)

    def _step(self) -> None:
        started = time.perf_counter()
        rows = self._scheduler.plan()
        try:
            while rows and not self._context.decode(rows, self._scheduler.layers()):
                rows = self._scheduler.plan() if self._scheduler.preempt() else []
            if not rows:
                self._end_full()
                return
            self._scheduler.advance(rows, time.perf_counter() - started)
            self._hand_out(rows)
        except DecodeError as error:
            for sequence in self._scheduler.drop_active():
                sequence.close()
                sequence.request.fail(error)

    def _end_full(self) -> None:
        """The only active sequence has filled the cache: it ends here."""
        (sequence,) = self._scheduler.active.values()
        self._settle(sequence)
        sequence.finish("length", self._vocabulary)

    def _settle(self, sequence: Sequence) -> None:
        """Take a sequence out and count what it has cost, before its caller is told."""
        self._scheduler.retire(sequence)
        sequence.request.usages[sequence.index] = sequence.usage
        self.stats = EngineStats(self.stats.usage + sequence.usage)

    def _hand_out(self, rows: list[Row]) -> None:
        """Draw tokens, and read what the rows say, where their logits are wanted."""
        started = time.perf_counter()
        due = self._scheduler.due(rows)
        drawing = [(s, row) for s, row in due if s.request.writes]
        # draws of one step are independent, and llama.cpp lets go of the GIL
        tokens = self._samplers.map(lambda d: d[0].sample(self._context, d[1]), drawing)
        draws = list(zip(drawing, tokens, strict=True))
        read = [
            sequence
            for sequence, row in due
            if not isinstance(sequence.request.ask, Write)
            and sequence.read(sequence.request.ask, self._context, row)
        ]
        share = (time.perf_counter() - started) / max(1, len(due))
        for sequence, _ in due:
            sequence.seconds += share
        for (sequence, _), token in draws:
            if token is None:
                self._settle(sequence)
                sequence.close()
            elif reason := sequence.accept(token, self._vocabulary):
                self._settle(sequence)
                sequence.finish(reason, self._vocabulary)
        for sequence in read:
            self._settle(sequence)
            sequence.deliver_read()

    def _fail_all(self, error: BaseException) -> None:
        for sequence in [*self._scheduler.drop_active(), *self._scheduler.waiting]:
            sequence.close()
            sequence.request.fail(error)
        while not self._inbox.empty():
            request = self._inbox.get()
            if request is not None:
                request.fail(error)
