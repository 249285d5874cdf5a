"""A replier without models: it thinks, answers, calls and fills in schemas by fixed rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from forethought.replies import (
    Ask,
    Called,
    Ended,
    Event,
    Noted,
    Piece,
    ReplyEnd,
    ReplyUsage,
    TokenLogprob,
    ToolCall,
)

THOUGHT = ("Let me ", "see. ")
ANSWER = ("Good ", "day, ", "as ", "you ", "say.")


@dataclass
class ScriptedReplier:
    """`asks` are what it was asked; `closed` counts replies that were closed before their end.

    Whether it thinks is told by `thinks`; a rejected draft is noted in any case.
    """

    name: str = "scripted"
    thinks: bool = True
    asks: list[Ask] = field(default_factory=list)
    closed: int = 0

    def reply(self, ask: Ask) -> Iterator[Event]:
        self.asks.append(ask)
        is_done = False
        try:
            yield from self._events(ask)
            is_done = True
        finally:
            self.closed += not is_done

    def _events(self, ask: Ask) -> Iterator[Event]:
        yield Noted({"event": "rejected", "text": "a rejected draft"})
        reasoning = THOUGHT if self.thinks else ()
        for text in reasoning:
            yield Piece("reasoning", text)
        parts, end = self._answer(ask)
        yield from parts
        usage = ReplyUsage(
            input_tokens=sum(len(turn.content.split()) + 1 for turn in ask.turns),
            output_tokens=len(reasoning) + len(parts),
            reasoning_tokens=len(reasoning),
            draft_tokens=3,
            target_tokens=4,
            scored_tokens=5,
            cached_tokens=1,
        )
        yield Ended(end, usage, {"acceptance_rate": 0.5, "thresholds": {"1": 0.7}})

    def _answer(self, ask: Ask) -> tuple[list[Event], ReplyEnd]:
        said = next(turn.content for turn in reversed(ask.turns) if turn.role == "user")
        must = ask.tool_choice not in ("auto", "none")
        if ask.tools and (must or (ask.tool_choice == "auto" and ask.turns[-1].role == "user")):
            tool = next((t for t in ask.tools if t.name == ask.tool_choice), ask.tools[0])
            call = ToolCall("call_1", tool.name, json.dumps(instance(tool.parameters, said)))
            return [Called(call)], "tool_calls"
        if ask.schema is not None:
            text = json.dumps(instance(ask.schema, said))
            middle = len(text) // 2
            return [Piece("text", text[:middle]), Piece("text", text[middle:])], "stop"
        top = ask.top_logprobs
        told = () if top is None else (TokenLogprob("x", b"x", -0.5),)
        return [Piece("text", text, told) for text in ANSWER], "stop"


def instance(schema: Mapping[str, Any], text: str) -> Any:
    """Some value that fits; strings are `text`."""
    if "enum" in schema:
        return schema["enum"][0]
    for alternatives in ("anyOf", "oneOf"):
        if alternatives in schema:
            return instance(schema[alternatives][0], text)
    match schema.get("type", "object"):
        case "object":
            parts = schema.get("properties", {}).items()
            return {name: instance(part, text) for name, part in parts}
        case "array":
            return [instance(schema.get("items", {}), text)]
        case "string":
            return text
        case "boolean":
            return True
        case "null":
            return None
    return 3
