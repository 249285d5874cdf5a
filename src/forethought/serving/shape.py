"""What both endpoints' responses are made of: replies gathered whole, and their usage."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from forethought.replies import Called, Ended, Event, Piece, ReplyEnd, TokenLogprob, ToolCall
from forethought.serving.answers import CachedTokens, FinishReason, ReasoningTokens, UsageBody

_LEAST_LOGPROB = -9999.0  # OpenAI's, for what is as good as impossible; JSON has no infinity

_REASONS: dict[ReplyEnd, FinishReason] = {"stop": "stop", "tool_calls": "tool_calls"}


@dataclass(slots=True)
class Gathered:
    """One reply's events so far."""

    reasoning: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    end: Ended | None = None

    def add(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, Piece):
            (self.text if event.kind == "text" else self.reasoning).append(event.text)
            self.logprobs += event.logprobs
        elif isinstance(event, Called):
            self.calls.append(event.call)
        elif isinstance(event, Ended):
            self.end = event

    @property
    def finish_reason(self) -> FinishReason:
        """Why it ended, which it has."""
        assert self.end is not None
        return finish_reason(self.end.finish_reason)


class Shape(Protocol):
    """How an endpoint says what repliers reply."""

    def chunks(self, index: int, event: Event) -> Iterator[BaseModel]:
        """What a stream says of one event of the reply `index`."""
        ...

    def last(self, usage: UsageBody) -> BaseModel:
        """The chunk that ends a stream with its usage."""
        ...

    def whole(self, replies: Sequence[Gathered], usage: UsageBody) -> BaseModel:
        """A response that is no stream."""
        ...


def head(prefix: str, model: str) -> dict[str, Any]:
    """What all chunks of a response have in common."""
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}


def finish_reason(end: ReplyEnd) -> FinishReason:
    """OpenAI's word for it: a reply that ran out of time was too long."""
    return _REASONS.get(end, "length")


def usage_of(ends: Iterable[Ended], per_prompt: int) -> UsageBody:
    """The usage of replies of which `per_prompt` have one prompt each: it is counted once."""
    usages = [end.usage for end in ends]
    prompt = sum(usage.input_tokens for usage in usages[::per_prompt])
    output = sum(usage.output_tokens for usage in usages)
    return UsageBody(
        prompt_tokens=prompt,
        completion_tokens=output,
        total_tokens=prompt + output,
        prompt_tokens_details=CachedTokens(
            cached_tokens=sum(usage.cached_tokens for usage in usages[::per_prompt])
        ),
        completion_tokens_details=ReasoningTokens(
            reasoning_tokens=sum(usage.reasoning_tokens for usage in usages)
        ),
        draft_tokens=sum(usage.draft_tokens for usage in usages),
        target_tokens=sum(usage.target_tokens for usage in usages),
        scored_tokens=sum(usage.scored_tokens for usage in usages),
    )


def number(logprob: float) -> float | None:
    """A log-probability as JSON can say it; None where there is none."""
    return None if math.isnan(logprob) else max(_LEAST_LOGPROB, logprob)
