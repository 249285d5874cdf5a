"""The seam between conversations and whatever answers them: a plain model, or a graph of two.

Chat models and the server know this protocol, and nothing of graphs and engines. What an `Ask` says
is already checked plain data; what comes back is a stream of events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from forethought.config import (
    MOST_LOGPROBS,
    SamplingParams,
    require,
    require_between,
    require_deadline,
)
from forethought.model import TokenLogprob as TokenLogprob  # noqa: PLC0414 - pieces carry them

PieceKind = Literal["reasoning", "text"]
ReplyEnd = Literal["stop", "length", "tool_calls", "cancelled", "deadline"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a reply may call; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(self.name), "a tool needs a name")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool; `arguments` is JSON text that fits the tool's schema."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation. `tool_calls` are an assistant's; a turn of role "tool" answers
    the call `tool_call_id`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What a conversation asks for next.

    `params` says how the answer is drawn; its `stop` strings end the answer and never the reasoning
    before it. `tool_choice` is "auto", "none", "required" or a tool's name. `schema` is a JSON
    schema that the whole answer must fit. `top_logprobs` asks for the log-probability of every
    answer token and of that many likeliest ones (0: of the token alone; None: of none). `deadline`
    is in seconds.
    """

    turns: tuple[Turn, ...]
    params: SamplingParams
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    schema: Mapping[str, Any] | None = None
    top_logprobs: int | None = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        require(bool(self.turns), "a conversation needs at least one message")
        names = {tool.name for tool in self.tools}
        known = self.tool_choice in {"auto", "none", "required"} | names
        require(
            known, f"tool_choice must be auto, none, required or a tool, not {self.tool_choice!r}"
        )
        if self.top_logprobs is not None:
            require_between("top_logprobs", self.top_logprobs, (0, MOST_LOGPROBS))
        require_deadline(self.deadline)


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that belongs to the reply from now on: it is never taken back."""

    kind: PieceKind
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Called:
    """A tool call, whole."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Noted:
    """An event of the run behind the reply (see docs/events.md), tentative thoughts among them: to
    be shown beside the reply, never as part of it."""

    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReplyUsage:
    """Tokens of a reply: `input_tokens` of the conversation; `output_tokens` of what was streamed,
    `reasoning_tokens` of them before the answer. Of all that was sampled the `draft_tokens` and
    `target_tokens` by who wrote them, `scored_tokens` computed to score, `cached_tokens` of the
    conversation that were in the KV cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    draft_tokens: int = 0
    target_tokens: int = 0
    scored_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of every reply. `details` are plain data of the run: acceptance rate,
    thresholds, seconds."""

    finish_reason: ReplyEnd
    usage: ReplyUsage
    details: dict[str, Any] = field(default_factory=dict)


Event = Piece | Called | Noted | Ended


@dataclass(frozen=True, slots=True)
class TextAsk:
    """What a raw text asks for: to be written on, without a template.

    `prompt` is text, or ids of the model's own tokens. `params` None writes nothing and only reads
    the prompt, which needs `echo`: the prompt is then the first piece of the reply. `top_logprobs`
    and `deadline` are those of an `Ask`; with `echo` the prompt's tokens have log-probabilities
    too, and a token that nothing precedes has NaN.
    """

    prompt: str | tuple[int, ...]
    params: SamplingParams | None
    echo: bool = False
    top_logprobs: int | None = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        require(bool(self.prompt), "a prompt must not be empty")
        require(self.params is not None or self.echo, "to write nothing needs echo")
        if self.top_logprobs is not None:
            require_between("top_logprobs", self.top_logprobs, (0, MOST_LOGPROBS))
        require_deadline(self.deadline)


@runtime_checkable
class Replier(Protocol):
    """Answers conversations; safe to call from threads, whose replies share the engines' batches.

    `name` is what clients call it.
    """

    @property
    def name(self) -> str: ...

    def reply(self, ask: Ask) -> Iterator[Event]:
        """Events as they happen, an `Ended` at the end. Closing the iterator, or cancelling the
        caller's scope, frees the engines within one decode step.

        Raises:
            ConfigError: the ask cannot be met, e.g. its schema is none that a grammar can hold.
            PromptTooLong: the conversation does not fit.
            EvaluatorError, EngineError: see `forethought.errors`.
        """
        ...


@runtime_checkable
class Completer(Protocol):
    """Writes texts on; safe to call from threads, as a `Replier`, and often one too."""

    @property
    def name(self) -> str: ...

    def complete(self, ask: TextAsk) -> Iterator[Event]:
        """Pieces of kind "text" as they are written, an `Ended` at the end; closed, cancelled and
        raising as `Replier.reply`."""
        ...
