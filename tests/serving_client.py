"""Servers on ports that were free: in a thread of the test, or in a process of their own."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from forethought.replies import Completer, Replier
from forethought.serving import ServerConfig
from forethought.serving.app import Server

TESTS = Path(__file__).parent


@contextmanager
def serving(*repliers: Replier | Completer, **settings: Any) -> Iterator[str]:
    """The server's address, while it runs."""
    server = Server(repliers, ServerConfig(port=0, **settings))
    listener = uvicorn.Server(uvicorn.Config(server, port=0, log_level="warning"))
    thread = threading.Thread(target=listener.run, daemon=True)
    thread.start()
    wait_for(lambda: listener.started)
    port = listener.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        listener.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def process(pause: float = 0.0, grace: float = 5.0) -> Iterator[tuple[str, Any]]:
    """A server's address and process; ended at the end if the test did not."""
    arguments = [sys.executable, str(TESTS / "serve_scripted.py"), str(pause), str(grace)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            lines: list[str] = []
            while not (found := re.search(r"running on (http://\S+)", "".join(lines))):
                line = server.stderr.readline()
                assert line, lines
                lines.append(line)
            # nobody else reads what it goes on to say
            threading.Thread(target=server.stderr.read, daemon=True).start()
            yield found[1], server
        finally:
            server.kill()


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    """Until the condition holds; a failed test where it never does."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def chat(url: str, **fields: Any) -> httpx.Response:
    """The response to one question."""
    message = {"role": "user", "content": "What is two and two?"}
    body = {"model": "scripted", "messages": [message], **fields}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
