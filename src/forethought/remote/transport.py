"""Requests to an OpenAI-compatible server: tried again where that may help, never for ever.

Resets, timeouts, broken replies, and the statuses 408, 425, 429 and 5xx are tried again after waits
with jitter, or after what the server's Retry-After asks for. Everything else is refused for good.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from forethought.errors import MissingExtra, PromptTooLong, RemoteError
from forethought.remote.settings import RemoteConfig

Result = TypeVar("Result")
Reply = TypeVar("Reply", bound=BaseModel)

_CONNECT_SECONDS: Final = 10.0
_FIRST_WAIT: Final = 0.5
_PASSING: Final = (408, 425, 429)
_TOO_LONG: Final = re.compile(r"context.?(length|size|window)|too long|maximum.*tokens", re.I)
_SHOWN: Final = 300  # characters of a refusal


class Passing(RemoteError):
    """A failure that another try may not meet; `retry_after` seconds, where the server says so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(RemoteError):
    """The server will not do what was asked, however often; `status` is HTTP's, 0 for none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Transport:
    """A server at `url`, with pooled connections; used from one event loop.

    Raises:
        MissingExtra: httpx or tenacity is not installed.
    """

    def __init__(self, url: str, config: RemoteConfig) -> None:
        self.url = url
        self._config = config
        self._httpx, self._tenacity = _library("httpx"), _library("tenacity")
        key = os.environ.get(config.api_key_env)
        self._client = self._httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=self._httpx.Timeout(config.timeout, connect=_CONNECT_SECONDS),
        )
        self._slots = asyncio.Semaphore(config.concurrency)

    async def get(self, path: str, kind: type[Reply]) -> Reply:
        """The server's reply. Raises RemoteError."""
        return await self.tried(lambda: self._whole("GET", path, None, kind))

    async def post(self, path: str, body: dict[str, Any], kind: type[Reply]) -> Reply:
        """The server's reply. Raises RemoteError, PromptTooLong."""
        return await self.tried(lambda: self._whole("POST", path, body, kind))

    async def tried(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """What `work` returns, tried again where it fails in passing."""
        tenacity = self._tenacity
        async for attempt in tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self._config.attempts),
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(Passing),
            reraise=True,
        ):
            with attempt:
                async with self._slots:
                    return await work()
        raise AssertionError("tenacity neither returned nor raised")

    async def events(
        self, path: str, body: dict[str, Any], kind: type[Reply]
    ) -> AsyncGenerator[Reply]:
        """Server-sent events up to the last; not tried again. Raises RemoteError, PromptTooLong."""
        async with self._answered("POST", path, body) as response:
            async for line in response.aiter_lines():
                data = line.removeprefix("data:").strip()
                if not line.startswith("data:"):
                    continue
                if data == "[DONE]":
                    return
                yield self._parsed(data, kind)
        raise Passing(f"{self.url} broke off in the middle of an answer")

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _whole(
        self, method: str, path: str, body: dict[str, Any] | None, kind: type[Reply]
    ) -> Reply:
        async with self._answered(method, path, body) as response:
            return self._parsed(await response.aread(), kind)

    @asynccontextmanager
    async def _answered(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> AsyncIterator[Any]:
        try:
            async with self._client.stream(method, f"{self.url}/{path}", json=body) as response:
                if response.status_code != 200:
                    raise self._failure(response, await response.aread())
                yield response
        except self._httpx.TransportError as error:
            kind = type(error).__name__
            raise Passing(f"{self.url} cannot be reached: {kind} {error}".rstrip()) from error
        except (self._httpx.InvalidURL, self._httpx.DecodingError) as error:
            raise Refused(f"{self.url}: {error}") from error

    def _failure(self, response: Any, data: bytes) -> Exception:
        status, text = response.status_code, _reason(data)
        message = f"{self.url} answers with status {status}: {text}"
        if status in _PASSING or status >= 500:
            return Passing(message, _seconds(response.headers.get("retry-after")))
        if status in (400, 413, 422) and _TOO_LONG.search(text):
            return PromptTooLong(message)
        if status in (401, 403):
            message += f" (the key is read from {self._config.api_key_env})"
        return Refused(message, status)

    def _parsed(self, data: str | bytes, kind: type[Reply]) -> Reply:
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise Passing(f"{self.url} sent what is no {kind.__name__}: {reason}") from error

    def _wait(self, state: Any) -> float:
        error = state.outcome.exception()
        if error.retry_after is not None:
            return float(min(error.retry_after, self._config.max_wait))
        wait = self._tenacity.wait_random_exponential(
            multiplier=_FIRST_WAIT, max=self._config.max_wait
        )
        return float(wait(state))


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(f"{name} is not installed: pip install 'forethought[remote]'") from error


def _reason(data: bytes) -> str:
    """What an error's body says, in one line."""
    text = data.decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    if isinstance(found, dict):
        error = found.get("error", found)
        found = error.get("message", error) if isinstance(error, dict) else error
    return " ".join(str(found).split())[:_SHOWN] or "nothing else"


def _seconds(header: str | None) -> float | None:
    """Of a Retry-After header: seconds, or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None
