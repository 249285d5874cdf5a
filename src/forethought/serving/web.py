"""The web libraries that the server stands on, and what to install where they are missing."""

from __future__ import annotations

from forethought.errors import MissingExtra

try:
    import prometheus_client as prometheus
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.openapi.utils import get_openapi
    from fastapi.responses import PlainTextResponse, StreamingResponse
    from starlette.exceptions import HTTPException
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as error:
    raise MissingExtra(
        f"the server needs {error.name}: pip install 'forethought[server]'"
    ) from error

__all__ = [
    "ASGIApp",
    "FastAPI",
    "HTTPException",
    "Message",
    "PlainTextResponse",
    "Receive",
    "Request",
    "RequestValidationError",
    "Response",
    "Scope",
    "Send",
    "StreamingResponse",
    "get_openapi",
    "prometheus",
    "uvicorn",
]
