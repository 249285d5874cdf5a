"""Where replies are written: a bounded pool of threads, first come first served.

A reply is a blocking iterator that shares the engines' batches with all others; its events cross
from its thread to the event loop of the request that asked.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from forethought.model import RunStopped, Scope, run_scope
from forethought.replies import Called, Ended, Event, Piece
from forethought.serving.faults import BUSY, STOPPING, TOO_MANY, Refused
from forethought.serving.metrics import Metrics
from forethought.serving.settings import ServerConfig

# given the seconds that are left, the events of one reply
Start = Callable[[float], Iterator[Event]]

# replies end at their deadlines by themselves; one that did not is given up this much later
_PATIENCE_SECONDS = 5.0
_NEW_PACE = 0.1  # weight of the newest reply in the moving average of how long replies take


class Desk:
    """Takes requests in and writes their replies; close it when done."""

    def __init__(self, config: ServerConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(config.max_running, "reply")
        self._open: dict[Future[None], Replies] = {}
        self._is_closed = False
        self._pace = 0.0
        metrics.watch(lambda: self.num_waiting, lambda: self.num_running)

    @property
    def num_running(self) -> int:
        """Replies that are being written."""
        return sum(future.running() for future in list(self._open))

    @property
    def num_waiting(self) -> int:
        """Replies that wait for their turn."""
        return max(0, len(self._open) - self.num_running)

    def open(self, model: str, starts: Sequence[Start]) -> Replies:
        """The replies of one request, all or none. Call it on the event loop.

        Raises:
            Refused: too many wait already, or the server is being stopped.
        """
        config = self._config
        if self._is_closed:
            raise Refused(STOPPING, "the server is being stopped")
        if len(starts) > config.max_choices:
            raise Refused(
                TOO_MANY, f"{len(starts)} replies were asked for, {config.max_choices} are allowed"
            )
        if len(self._open) + len(starts) > config.max_running + config.max_waiting:
            wait = max(1, math.ceil(self._pace * len(self._open) / config.max_running))
            raise Refused(
                BUSY,
                f"{self.num_waiting} replies wait already: try again in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        replies = Replies(len(starts), Scope(deadline=time.monotonic() + config.deadline))
        for index, start in enumerate(starts):
            future = self._pool.submit(self._write, model, start, replies, index)
            self._open[future] = replies
            # its place is free before its client hears of the end
            future.add_done_callback(self._open.pop)
            replies.follow(index, future)
        return replies

    def stop(self) -> None:
        """Take nothing more, and cancel what is open."""
        self._is_closed = True
        for replies in list(self._open.values()):
            replies.close()

    async def close(self) -> None:
        """`stop`, and wait until all threads have ended."""
        self.stop()
        await asyncio.to_thread(self._pool.shutdown)

    def _write(self, model: str, start: Start, replies: Replies, index: int) -> None:
        """One reply, on a thread of the pool."""
        began = time.monotonic()
        left = replies.deadline - began
        if left <= 0:
            raise RunStopped("deadline")
        timing = self._metrics.timing(model, waited=self._config.deadline - left)
        with run_scope(replies.scope), _closed(start(left)) as events:
            for event in events:
                timing.note(event)
                replies.tell(index, event)
                if replies.scope.cancel.is_set():
                    break
        took = time.monotonic() - began
        self._pace += (took - self._pace) * (_NEW_PACE if self._pace else 1.0)


class Replies:
    """The replies of one request as they are written, on the event loop that they were asked on."""

    def __init__(self, count: int, scope: Scope) -> None:
        assert scope.deadline is not None
        self.scope = scope
        self.deadline = scope.deadline
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[int, Event | BaseException | None]] = asyncio.Queue()
        self._futures: list[Future[None]] = []
        self._num_open = count
        self._spoken: set[int] = set()
        self._ended: set[int] = set()

    @property
    def is_over(self) -> bool:
        """Whether all have ended."""
        return self._num_open == 0

    async def get(self, patience: float | None = None) -> tuple[int, Event] | None:
        """The next event and the reply's index; None when all have ended, or nothing came within
        `patience` seconds.

        Raises:
            RunStopped: a reply was cancelled, or had written nothing by its deadline.
            Exception: what a reply failed with.
        """
        while self._num_open:
            try:
                index, event = await asyncio.wait_for(self._queue.get(), self._wait(patience))
            except TimeoutError:
                if self._wait(None) <= 0:
                    raise RunStopped("deadline") from None
                return None
            if isinstance(event, BaseException):
                raise event
            if event is not None:
                self._check(index, event)
                return index, event
            self._num_open -= 1
            if index not in self._ended:
                assert self.scope.cancel.is_set(), "a reply ended without its last event"
                raise RunStopped("cancelled")
        return None

    def tell(self, index: int, event: Event | BaseException | None) -> None:
        """Hand over an event, from any thread; None after the last one."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, (index, event))

    def follow(self, index: int, future: Future[None]) -> None:
        """Take the end of a reply's thread, however it ends."""
        self._futures.append(future)

        def end(done: Future[None]) -> None:
            self.tell(index, None if done.cancelled() else done.exception())

        future.add_done_callback(end)

    def close(self) -> None:
        """Cancel what has not ended; safe to call twice."""
        self.scope.cancel.set()
        for future in self._futures:
            future.cancel()

    def _wait(self, patience: float | None) -> float:
        left = self.deadline + _PATIENCE_SECONDS - time.monotonic()
        return left if patience is None else min(left, patience)

    def _check(self, index: int, event: Event) -> None:
        if isinstance(event, Piece | Called):
            self._spoken.add(index)
        elif isinstance(event, Ended):
            self._ended.add(index)
            if event.finish_reason == "cancelled":
                raise RunStopped("cancelled")
            if event.finish_reason == "deadline" and index not in self._spoken:
                raise RunStopped("deadline")


@contextmanager
def _closed(events: Iterator[Event]) -> Iterator[Iterator[Event]]:
    """The events, closed at the end where they come from a generator."""
    try:
        yield events
    finally:
        if close := getattr(events, "close", None):
            close()
