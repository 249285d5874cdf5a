"""Who may ask, and how much at once: keys, names of this machine, and the size of bodies."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from forethought.serving.faults import BAD_HOST, BAD_KEY, Refused, told
from forethought.serving.metrics import Metrics
from forethought.serving.settings import ServerConfig, is_loopback
from forethought.serving.web import ASGIApp, HTTPException, Message, Receive, Scope, Send

_OPEN_TO_ALL = "/health"


class Guard:
    """An ASGI application around another one; it counts the responses of both."""

    def __init__(self, app: ASGIApp, config: ServerConfig, metrics: Metrics) -> None:
        self._app = app
        self._key = config.api_key
        self._max_bytes = config.max_body_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                # paths that no route has would fill the memory with their counts
                route = scope.get("route")
                self._metrics.responded(getattr(route, "path", "other"), message["status"])
            await send(message)

        num_bytes = 0

        async def read() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes:
                raise HTTPException(413, f"the body has more than {self._max_bytes} bytes")
            return message

        try:
            self._check(scope)
        except Refused as refused:
            await _refuse(refused, count)
            return
        await self._app(scope, read, count)

    def _check(self, scope: Scope) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if scope["path"] == _OPEN_TO_ALL:
            return
        if self._key is None:
            # a page in a browser on this machine can make its own name mean 127.0.0.1
            host = headers.get(b"host", b"").decode("latin-1")
            if not is_loopback(_hostname(host)):
                raise Refused(BAD_HOST, f"without an API key the host must be local, not {host!r}")
            return
        given = headers.get(b"authorization", b"")
        if not hmac.compare_digest(given, f"Bearer {self._key}".encode()):
            raise Refused(
                BAD_KEY,
                "the API key is missing or wrong: send 'Authorization: Bearer KEY'",
                headers={"WWW-Authenticate": "Bearer"},
            )


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # brackets that do not match
        return None


async def _refuse(refused: Refused, send: Send) -> None:
    """Send the refusal as a whole response."""
    answer = told(refused)
    body = answer.body.model_dump_json().encode()
    headers = {"Content-Type": "application/json", **answer.headers, "Content-Length": len(body)}
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (name.lower().encode(), str(value).encode()) for name, value in headers.items()
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
