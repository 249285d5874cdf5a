"""Runs a server until it is told to stop, and lets its replies end first."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from forethought.serving.app import Server
from forethought.serving.web import uvicorn

_MARGIN_SECONDS = 5  # cancelled replies end within a decode step


def serve(server: Server) -> None:
    """Listen and answer until SIGTERM or SIGINT; returns when all replies have ended.

    Replies then have `config.grace` seconds to end by themselves before they are cancelled.
    """
    config = server.config
    settings = uvicorn.Config(
        server,
        host=config.host,
        port=config.port,
        log_level="info",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(config.grace) + _MARGIN_SECONDS,
    )
    with _survived((signal.SIGTERM, signal.SIGINT)):
        _Listener(settings, server).run()


class _Listener(uvicorn.Server):
    """Uvicorn, which cancels the replies that are not done after the time of grace."""

    def __init__(self, settings: uvicorn.Config, server: Server) -> None:
        super().__init__(settings)
        self._answering = server

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and wait for the replies."""
        grace = self._answering.config.grace
        timer = asyncio.get_running_loop().call_later(grace, self._answering.stop)
        await super().shutdown(sockets)
        timer.cancel()
        await self._answering.close()  # a second Ctrl-C skips what the application does at its end


@contextmanager
def _survived(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Uvicorn sends itself the signals that it has obeyed once more: they are to do nothing."""
    before = {number: signal.signal(number, lambda *_: None) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
