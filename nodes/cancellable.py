"""A node for both worlds: where its asyncio task is cancelled, so are its model calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.runtime import Runtime, get_runtime

from forethought.model import Scope, current_scope, run_scope

Act = Callable[[Any, Runtime[Any]], dict[str, Any]]


class Cancellable(Runnable[Any, dict[str, Any]]):
    """Runs `act` in the caller's thread, or under asyncio in another one, so that the loop goes on.

    A thread cannot be cancelled. What can is the run's scope: its model calls end within one decode
    step, and what they have written by then is thrown away.
    """

    def __init__(self, act: Act) -> None:
        self._act = act

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> dict[str, Any]:
        return changed(input, self._act(input, get_runtime()))

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **_: Any
    ) -> dict[str, Any]:
        runtime: Runtime[Any] = get_runtime()
        with run_scope(current_scope() or Scope()) as scope:
            try:
                return changed(input, await asyncio.to_thread(self._act, input, runtime))
            except asyncio.CancelledError:
                scope.cancel.set()
                raise


def changed(state: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """The update without flags and counts that stay as they are: every value that a node hands on
    is one more record of a checkpoint. Lists and numbers that may be added up are handed on."""
    return {
        name: value
        for name, value in update.items()
        if not (isinstance(value, bool | int | None) and name in state and state[name] == value)
    }
