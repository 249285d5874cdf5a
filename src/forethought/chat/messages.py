"""LangChain's messages as turns, and a reply's events as LangChain's message chunks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk

from forethought.config import require
from forethought.replies import (
    Called,
    Ended,
    Event,
    Noted,
    Piece,
    ReplyUsage,
    TokenLogprob,
    ToolCall,
    Turn,
)

Role = Literal["system", "user", "assistant", "tool"]
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
_CLASSES: tuple[tuple[type[BaseMessage], Role], ...] = (
    (SystemMessage, "system"),
    (HumanMessage, "user"),
    (AIMessage, "assistant"),
    (ToolMessage, "tool"),
)
# what stands in other fields, and what was thought before is not told again
_PASSED_OVER = {"reasoning", "thinking", "tool_use", "tool_call", "tool_call_chunk"}


def turns_of(messages: Iterable[BaseMessage]) -> tuple[Turn, ...]:
    """The conversation as turns.

    Raises:
        ConfigError: a message holds something else than text, or is of an unknown role.
    """
    return tuple(_turn(message) for message in messages)


def chunks_of(name: str, events: Iterable[Event]) -> Iterator[AIMessageChunk | Noted]:
    """Chunks of the message that a reply of `name` makes; notes pass. Reasoning comes as standard
    content blocks, and then so does the text behind it."""
    kind, index, has_blocks = "", -1, False
    for event in events:
        match event:
            case Piece():
                index += event.kind != kind
                kind = event.kind
                has_blocks = has_blocks or kind == "reasoning"
                block = {"type": kind, kind: event.text, "index": index}
                yield AIMessageChunk(
                    content=[block] if has_blocks else event.text,
                    response_metadata=_logprobs(event.logprobs),
                )
            case Called(call):
                kind, index = "", index + 1  # calls are blocks too, in LangChain's v1
                chunk = tool_call_chunk(
                    name=call.name, args=call.arguments, id=call.id, index=index
                )
                yield AIMessageChunk(content="", tool_call_chunks=[chunk])
            case Ended():
                ended = {"model_name": name, "finish_reason": event.finish_reason}
                yield AIMessageChunk(
                    content="",
                    usage_metadata=_usage(event.usage),
                    response_metadata={**event.details, **ended},
                    chunk_position="last",
                )
            case Noted():
                yield event


def _turn(message: BaseMessage) -> Turn:
    role: Role | None = next((role for kind, role in _CLASSES if isinstance(message, kind)), None)
    if isinstance(message, ChatMessage):
        role = _ROLES.get(message.role)
    if role is None:
        require(False, f"a conversation has no place for {type(message).__name__}")
        raise AssertionError
    blocks = message.content if isinstance(message.content, list) else []
    kinds = {block["type"] for block in blocks if isinstance(block, dict)}
    others = sorted(kinds - _PASSED_OVER - {"text"})
    require(not others, f"only text can be read, not {', '.join(others)}")
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    answered = message.tool_call_id if isinstance(message, ToolMessage) else None
    made = tuple(
        ToolCall(c["id"] or "", c["name"], json.dumps(c["args"], ensure_ascii=False)) for c in calls
    )
    return Turn(role, str(message.text), made, answered)


def _logprobs(logprobs: tuple[TokenLogprob, ...]) -> dict[str, Any]:
    """In the form that OpenAI's models have in LangChain; nothing where none were asked for."""
    rows = [
        {**_plain(one), "top_logprobs": [_plain(other) for other in one.top]} for one in logprobs
    ]
    return {"logprobs": {"content": rows}} if rows else {}


def _plain(one: TokenLogprob) -> dict[str, Any]:
    return {"token": one.token, "bytes": list(one.bytes), "logprob": one.logprob}


def _usage(usage: ReplyUsage) -> UsageMetadata:
    details: Any = {
        "reasoning": usage.reasoning_tokens,
        "draft": usage.draft_tokens,
        "target": usage.target_tokens,
        "scored": usage.scored_tokens,
    }
    return UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        input_token_details={"cache_read": usage.cached_tokens},
        output_token_details=details,
    )
