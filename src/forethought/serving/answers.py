"""Response bodies, as OpenAI's API has them; fields of our own are marked so."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

FinishReason = Literal["stop", "length", "tool_calls"]
Endpoint = Literal["/v1/chat/completions", "/v1/completions"]


class CachedTokens(BaseModel):
    """Tokens of the prompt that had been computed before."""

    cached_tokens: int


class ReasoningTokens(BaseModel):
    """Tokens of the reply that were written before the answer."""

    reasoning_tokens: int


class UsageBody(BaseModel):
    """Tokens of a response. Our own: of all that was sampled behind the reply, how much by draft
    and target, and what was computed to score it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ReasoningTokens
    draft_tokens: int
    target_tokens: int
    scored_tokens: int


class LikelyToken(BaseModel):
    """A token in another's place."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenScore(LikelyToken):
    """A token of the answer."""

    top_logprobs: list[LikelyToken]


class ChatLogprobs(BaseModel):
    """Tokens of the answer."""

    content: list[TokenScore] | None
    refusal: None = None


class FunctionCall(BaseModel):
    """Which function is called; `arguments` is JSON text."""

    name: str
    arguments: str


class Call(BaseModel):
    """A call of a tool."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class CallDelta(Call):
    """A call in a stream, whole; `index` counts a reply's calls."""

    index: int


class ReplyMessage(BaseModel):
    """A reply. `reasoning_content` is what was thought before the answer."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None


class ChatChoice(BaseModel):
    """One of a response's replies."""

    index: int
    message: ReplyMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(BaseModel):
    """The response of POST /v1/chat/completions."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: UsageBody


class Delta(BaseModel):
    """What joins a reply."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CallDelta] | None = None


class ChunkChoice(BaseModel):
    """What joins one of the replies."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class ChatChunk(BaseModel):
    """An event of a stream of POST /v1/chat/completions."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: UsageBody | None = None


class TextLogprobs(BaseModel):
    """Tokens by position; `text_offset` is in characters. A prompt's first token has no numbers."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class TextChoice(BaseModel):
    """One text, or in a stream what joins it."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None


class TextCompletion(BaseModel):
    """The response of POST /v1/completions, and an event of its stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: UsageBody | None = None


class ModelBody(BaseModel):
    """A model's name. Our own: the `endpoints` that it serves."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    endpoints: list[Endpoint]


class ModelList(BaseModel):
    """The response of GET /v1/models."""

    object: Literal["list"]
    data: list[ModelBody]


class Health(BaseModel):
    """The response of GET /health; `waiting` and `running` count replies."""

    status: Literal["ok"]
    waiting: int
    running: int
