"""The server as an ASGI application: its endpoints, and what it says when something goes wrong."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version

from forethought.config import require
from forethought.errors import ForethoughtError
from forethought.model import RunStopped
from forethought.replies import Ask, Completer, Event, Replier, TextAsk
from forethought.serving.answers import Endpoint, Health, ModelBody, ModelList
from forethought.serving.chat_body import ChatBody
from forethought.serving.chat_shape import ChatShape
from forethought.serving.desk import Desk
from forethought.serving.document import CHAT_RESPONSES, ERRORS, TEXT_RESPONSES, document
from forethought.serving.faults import BAD_REQUEST, NOT_FOUND, Fault, Refused, told
from forethought.serving.guard import Guard
from forethought.serving.metrics import Metrics
from forethought.serving.respond import Exchange
from forethought.serving.settings import ServerConfig
from forethought.serving.text_body import TextBody
from forethought.serving.text_shape import TextShape
from forethought.serving.web import (
    ASGIApp,
    FastAPI,
    HTTPException,
    PlainTextResponse,
    Receive,
    Request,
    RequestValidationError,
    Response,
    Scope,
    Send,
)

_SHOWN_MISTAKES = 3


class Server:
    """An ASGI application that answers with `repliers`, each under its own name.

    Those that are `Replier`s serve /v1/chat/completions, those that are `Completer`s
    /v1/completions.

    Raises:
        ConfigError: there is none, or two have one name.
    """

    def __init__(
        self, repliers: Sequence[Replier | Completer], config: ServerConfig | None = None
    ) -> None:
        self.config = config or ServerConfig()
        self.served = {replier.name: replier for replier in repliers}
        require(bool(repliers), "a server needs at least one model")
        names = [replier.name for replier in repliers]
        require(len(self.served) == len(names), f"two models have one name: {', '.join(names)}")
        self._created = int(time.time())
        self._metrics = Metrics()
        self._desk = Desk(self.config, self._metrics)
        self._app = Guard(self._routed(), self.config, self._metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await self._app(scope, receive, send)

    def stop(self) -> None:
        """Cancel all replies, and write no more. Call it on the event loop."""
        self._desk.stop()

    async def close(self) -> None:
        """`stop`, and wait until they have ended."""
        await self._desk.close()

    async def models(self) -> ModelList:
        """All models."""
        return ModelList(object="list", data=[self._about(name) for name in self.served])

    async def model(self, model: str) -> ModelBody:
        """One of them."""
        self._find(model)
        return self._about(model)

    async def chat(self, body: ChatBody, request: Request) -> Response:
        """Answer a conversation."""
        replier = self._find(body.model)
        if not isinstance(replier, Replier):
            raise _elsewhere(body.model)
        asks = body.asks(self.config.max_tokens)
        replies = self._desk.open(body.model, [partial(_reply, replier, ask) for ask in asks])
        return await Exchange(request, body, replies, len(asks), ChatShape(body)).response()

    async def complete(self, body: TextBody, request: Request) -> Response:
        """Write texts on."""
        completer = self._find(body.model)
        if not isinstance(completer, Completer):
            raise _elsewhere(body.model)
        asks = body.asks(self.config.max_tokens)
        replies = self._desk.open(body.model, [partial(_text, completer, ask) for ask in asks])
        return await Exchange(request, body, replies, len(asks), TextShape(body)).response()

    async def health(self) -> Health:
        """Whether it runs; needs no key."""
        desk = self._desk
        return Health(status="ok", waiting=desk.num_waiting, running=desk.num_running)

    async def metrics(self) -> Response:
        """Counts for Prometheus."""
        return Response(self._metrics.text(), media_type=Metrics.content_type)

    def _routed(self) -> ASGIApp:
        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            yield
            await self.close()

        app = FastAPI(
            title="Forethought",
            version=version("forethought"),
            lifespan=lifespan,
            responses=ERRORS,
            docs_url=None,
            redoc_url=None,
        )
        get, post = app.get, app.post
        get("/health")(self.health)
        get("/metrics", response_class=PlainTextResponse)(self.metrics)
        get("/v1/models")(self.models)
        get("/v1/models/{model:path}")(self.model)
        post("/v1/chat/completions", responses=CHAT_RESPONSES)(self.chat)
        post("/v1/completions", responses=TEXT_RESPONSES)(self.complete)
        for kind in (Refused, ForethoughtError, RunStopped, Exception):
            app.add_exception_handler(kind, _fail)
        app.add_exception_handler(HTTPException, _fail_http)
        app.add_exception_handler(RequestValidationError, _fail_body)
        has_key = self.config.api_key is not None
        app.openapi = partial(document, app, list(self.served), has_key=has_key)  # type: ignore[method-assign]
        return app

    def _about(self, name: str) -> ModelBody:
        served = self.served[name]
        endpoints: list[Endpoint] = []
        if isinstance(served, Replier):
            endpoints.append("/v1/chat/completions")
        if isinstance(served, Completer):
            endpoints.append("/v1/completions")
        return ModelBody(
            id=name,
            object="model",
            created=self._created,
            owned_by="forethought",
            endpoints=endpoints,
        )

    def _find(self, name: str) -> Replier | Completer:
        if name not in self.served:
            raise Refused(
                NOT_FOUND, f"there is no model {name!r}: see GET /v1/models", param="model"
            )
        return self.served[name]


def _elsewhere(name: str) -> Refused:
    return Refused(BAD_REQUEST, f"{name!r} is served by the other endpoint only", param="model")


def _reply(replier: Replier, ask: Ask, seconds: float) -> Iterator[Event]:
    return replier.reply(replace(ask, deadline=seconds))


def _text(completer: Completer, ask: TextAsk, seconds: float) -> Iterator[Event]:
    return completer.complete(replace(ask, deadline=seconds))


async def _fail(_: Request, error: Exception) -> Response:
    answer = told(error)
    return Response(
        answer.body.model_dump_json(),
        status_code=answer.status,
        headers=answer.headers,
        media_type="application/json",
    )


async def _fail_http(request: Request, error: Exception) -> Response:
    """No such path or method, or a body that is too large or no JSON."""
    assert isinstance(error, HTTPException)
    headers: Mapping[str, str] = error.headers or {}
    return await _fail(request, Refused(Fault(error.status_code), error.detail, headers=headers))


async def _fail_body(request: Request, error: Exception) -> Response:
    """A body that is not as the OpenAPI document says."""
    assert isinstance(error, RequestValidationError)
    mistakes = [(".".join(map(str, one["loc"][1:])), one["msg"]) for one in error.errors()]
    text = "; ".join(f"{place}: {what}" for place, what in mistakes[:_SHOWN_MISTAKES])
    return await _fail(request, Refused(BAD_REQUEST, text, param=mistakes[0][0] or None))
