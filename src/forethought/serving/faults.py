"""What goes wrong, as a client is told: one table from errors to HTTP statuses and error objects.

The objects are OpenAI's: `{"error": {"message", "type", "param", "code"}}`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import BaseModel

from forethought import errors
from forethought.model import RunStopped

logger = logging.getLogger(__name__)


class ErrorObject(BaseModel):
    """What went wrong: `type` is the kind, `code` the error itself, `param` the field at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every response that is no success."""

    error: ErrorObject


@dataclass(frozen=True, slots=True)
class Fault:
    """What clients are told of one kind of error; a `message` takes the place of its own."""

    status: int
    code: str | None = None
    message: str | None = None

    @property
    def type(self) -> str:
        """OpenAI's name of the kind."""
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"


class Refused(Exception):
    """The server itself says no; `headers` go with the response."""

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.param = param
        self.headers = dict(headers)


NOT_FOUND = Fault(404, "model_not_found")
BAD_REQUEST = Fault(400)
BAD_KEY = Fault(401, "invalid_api_key")
BAD_HOST = Fault(403, "host_not_allowed")
TOO_MANY = Fault(400, "too_many_choices")
BUSY = Fault(429, "queue_full")
STOPPING = Fault(503, "stopping", "the reply was cancelled: the server is being stopped")
TOO_SLOW = Fault(504, "deadline", "the time that a request may take was up")
UNKNOWN = Fault(500, "internal_error", "the server failed in a way it does not know; see its log")

FAULTS: Mapping[type[BaseException], Fault] = MappingProxyType(
    {
        errors.ConfigError: Fault(400, "invalid_value"),
        errors.SearchError: Fault(400, "invalid_value"),
        errors.PromptTooLong: Fault(400, "context_length_exceeded"),
        errors.UnknownModel: NOT_FOUND,
        errors.NotEnoughMemory: Fault(503, "not_enough_memory"),
        errors.EngineClosed: Fault(503, "stopping"),
        errors.EngineError: Fault(500, "engine_error"),
        errors.EvaluatorError: Fault(500, "evaluator_error"),
        errors.ModelFileError: Fault(500, "model_file_error"),
        errors.StoreError: Fault(500, "store_error"),
        errors.MissingExtra: Fault(501, "missing_extra"),
        errors.ForethoughtError: Fault(500, "internal_error"),
        Exception: UNKNOWN,
    }
)


@dataclass(frozen=True, slots=True)
class Told:
    """An error as a client gets it."""

    status: int
    body: ErrorBody
    headers: dict[str, str] = field(default_factory=dict)


def told(error: BaseException) -> Told:
    """What a client is told of `error`; what it is not told goes to the log."""
    if isinstance(error, Refused):
        return _told(error.fault, str(error), error.param, error.headers)
    if isinstance(error, RunStopped):
        fault = STOPPING if error.reason == "cancelled" else TOO_SLOW
    else:
        fault = next(FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS)
    if fault is UNKNOWN:
        logger.error("a reply failed", exc_info=error)
    return _told(fault, fault.message or str(error))


def _told(
    fault: Fault, message: str, param: str | None = None, headers: dict[str, str] | None = None
) -> Told:
    # a message may quote what a client sent, which need not be valid Unicode
    text = message.encode("utf-8", "replace").decode("utf-8")
    body = ErrorBody(error=ErrorObject(message=text, type=fault.type, param=param, code=fault.code))
    return Told(fault.status, body, headers or {})
