"""An event loop on a thread of its own, for callers that wait without hanging.

Requests under way are cancelled as soon as the caller's run stops, or the caller is interrupted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, wait
from typing import Any, Final, TypeVar

from forethought.errors import EngineClosed
from forethought.model import RunStopped, current_scope

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL_SECONDS: Final = 0.02


class Background:
    """Runs coroutines for callers on other threads. Close it when done."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """What `work` returns, or raises.

        Raises:
            RunStopped: the caller's run was cancelled or ran out of time; the work was cancelled.
            EngineClosed: this was closed.
        """
        scope = current_scope()
        if scope and (reason := scope.stop_reason()):
            raise RunStopped(reason)
        loop = self._opened()
        future = asyncio.run_coroutine_threadsafe(work(), loop)
        try:
            while not wait([future], _POLL_SECONDS).done:
                if scope and (reason := scope.stop_reason()):
                    raise RunStopped(reason)
            return future.result()
        except CancelledError as error:
            raise EngineClosed(f"{self._name} was closed") from error
        finally:
            future.cancel()

    def close(self, last: Callable[[], Awaitable[None]]) -> None:
        """Cancel what is under way, await `last`, and end the thread; safe to call twice."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_ended(last), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _opened(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._is_closed:
                raise EngineClosed(f"{self._name} is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop


async def together(
    work: Callable[[Item], Coroutine[Any, Any, Result]], items: Iterable[Item]
) -> list[Result]:
    """What `work` returns for each item, in order; the first failure cancels the rest, and is
    raised."""
    tasks = [asyncio.create_task(work(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _ended(last: Callable[[], Awaitable[None]]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await last()
