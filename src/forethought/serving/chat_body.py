"""The body of POST /v1/chat/completions, and what it asks a replier for."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from forethought.config import require
from forethought.replies import Ask, Tool, ToolCall, Turn
from forethought.serving.sampling_body import (
    WHOLE,
    Body,
    SamplingBody,
    TokenCount,
    seed_of_choice,
)

_NAME = r"^[a-zA-Z0-9_.-]{1,64}$"


class TextPart(Body):
    """A part of a message; there are no others than text."""

    type: Literal["text"]
    text: str


Content = str | Annotated[list[TextPart], Field(min_length=1)]


class SystemMessage(Body):
    """Instructions."""

    role: Literal["system", "developer"]
    content: Content


class UserMessage(Body):
    """What the user says."""

    role: Literal["user"]
    content: Content


class CalledFunction(Body):
    """Which function was called; `arguments` is JSON text."""

    name: str = Field(min_length=1, max_length=64)
    arguments: str


class MessageToolCall(Body):
    """A call that the assistant made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(Body):
    """What the assistant said, or called."""

    role: Literal["assistant"]
    content: Content | None = None
    tool_calls: list[MessageToolCall] | None = None


class ToolMessage(Body):
    """What a call returned."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class Function(Body):
    """A function that may be called; `parameters` is the JSON schema of its arguments."""

    name: str = Field(pattern=_NAME)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class FunctionTool(Body):
    """A tool; there are no others than functions."""

    type: Literal["function"]
    function: Function


class FunctionName(Body):
    """One of the request's functions."""

    name: str = Field(pattern=_NAME)


class NamedTool(Body):
    """The one tool that must be called."""

    type: Literal["function"]
    function: FunctionName


class TextFormat(Body):
    """Any text."""

    type: Literal["text"]


class JsonFormat(Body):
    """A JSON object."""

    type: Literal["json_object"]


class SchemaOf(Body):
    """A JSON schema; replies always fit it, `strict` or not."""

    name: str = Field(pattern=_NAME)
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class SchemaFormat(Body):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: SchemaOf


Format = Annotated[TextFormat | JsonFormat | SchemaFormat, Field(discriminator="type")]


class ChatBody(SamplingBody):
    """A conversation to be answered."""

    messages: list[Message] = Field(min_length=1, max_length=10_000)
    max_completion_tokens: TokenCount | None = Field(None, description="Most tokens of a reply.")
    max_tokens: TokenCount | None = Field(None, description="The same, by its old name.")
    tools: list[FunctionTool] | None = Field(None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    response_format: Format | None = None
    logprobs: bool | None = Field(None, description="Log-probabilities of the answer's tokens.")
    top_logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = Field(
        None, description="Needs logprobs."
    )
    modalities: list[Literal["text"]] | None = None
    audio: None = Field(None, description="Not offered.")
    functions: None = Field(None, description="Not offered: use tools.")
    function_call: None = Field(None, description="Not offered: use tool_choice.")

    def asks(self, most_tokens: int) -> list[Ask]:
        """What each of the replies is asked for.

        Raises:
            ConfigError: the parts of the request do not go together.
        """
        wanted = self.max_completion_tokens or self.max_tokens or most_tokens
        choice = self.tool_choice or "auto"
        require(self.top_logprobs is None or bool(self.logprobs), "top_logprobs needs logprobs")
        require(choice != "required" or bool(self.tools), "tool_choice required needs tools")
        ask = Ask(
            turns=tuple(_turn(message) for message in self.messages),
            params=self.params(min(wanted, most_tokens)),
            tools=tuple(_tool(tool.function) for tool in self.tools or ()),
            tool_choice=choice if isinstance(choice, str) else choice.function.name,
            schema=_schema(self.response_format),
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
        )
        return [
            replace(ask, params=replace(ask.params, seed=seed_of_choice(ask.params.seed, index)))
            for index in range(self.count)
        ]


def _turn(message: Message) -> Turn:
    content = message.content or ""
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    if isinstance(message, ToolMessage):
        return Turn("tool", text, tool_call_id=message.tool_call_id)
    if isinstance(message, AssistantMessage):
        calls = tuple(
            ToolCall(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or ()
        )
        return Turn("assistant", text, tool_calls=calls)
    return Turn("user" if message.role == "user" else "system", text)


def _tool(function: Function) -> Tool:
    return Tool(function.name, function.description or "", function.parameters or {})


def _schema(wanted: Format | None) -> dict[str, Any] | None:
    if isinstance(wanted, SchemaFormat):
        return wanted.json_schema.schema_ or {}
    return {"type": "object"} if isinstance(wanted, JsonFormat) else None
