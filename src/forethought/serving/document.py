"""What the OpenAPI document says beyond what the endpoints' types do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from forethought.serving.answers import ChatChunk, ChatCompletion, TextCompletion
from forethought.serving.faults import ErrorBody
from forethought.serving.web import FastAPI, get_openapi

_BODIES = ("ChatBody", "TextBody")
_OPEN_TO_ALL = "/health"
_PLACE = "#/components/schemas/{model}"

# "default" also takes the place of FastAPI's own 422, which is a 400 here
_ENDS: dict[int | str, str] = {
    400: "The request is not as it must be.",
    401: "The API key is missing or wrong.",
    404: "There is no such model.",
    413: "The body is too large.",
    429: "Too many replies wait already: try again after Retry-After seconds.",
    503: "The server is being stopped, or lacks memory.",
    504: "Nothing was written within the time that a request may take.",
    "default": "Any other error.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text} for status, text in _ENDS.items()
}


def _streamed(whole: type[BaseModel], chunk: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """A response that is one body, or a stream of events."""
    names = (chunk.__name__, ErrorBody.__name__)
    chunks = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"anyOf": [{"$ref": _PLACE.format(model=name)} for name in names]},
    }
    done = {"const": "[DONE]", "description": "The last one of a stream without an error."}
    data = {"anyOf": [chunks, done]}
    event = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    content = {"text/event-stream": {"itemSchema": event}}
    return {200: {"model": whole, "content": content, "description": "The replies."}}


CHAT_RESPONSES = _streamed(ChatCompletion, ChatChunk)
TEXT_RESPONSES = _streamed(TextCompletion, TextCompletion)


def document(app: FastAPI, models: Sequence[str], *, has_key: bool) -> dict[str, Any]:
    """The OpenAPI document of a server of these models."""
    found: dict[str, Any] = get_openapi(title=app.title, version=app.version, routes=app.routes)
    parts: dict[str, Any] = found["components"]
    _, chunk = models_json_schema([(ChatChunk, "serialization")], ref_template=_PLACE)
    parts["schemas"] = {**chunk["$defs"], **parts["schemas"]}
    for name in _BODIES:
        parts["schemas"][name]["properties"]["model"]["enum"] = list(models)
    if has_key:
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
        found["paths"][_OPEN_TO_ALL]["get"]["security"] = []
    return found
