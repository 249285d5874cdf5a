"""Replies as POST /v1/chat/completions says them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from forethought.replies import Called, Ended, Event, Piece, TokenLogprob, ToolCall
from forethought.serving.answers import (
    Call,
    CallDelta,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatLogprobs,
    ChunkChoice,
    Delta,
    FinishReason,
    FunctionCall,
    LikelyToken,
    ReplyMessage,
    TokenScore,
    UsageBody,
)
from forethought.serving.chat_body import ChatBody
from forethought.serving.shape import Gathered, finish_reason, head, number


class ChatShape:
    """The response to one request."""

    def __init__(self, body: ChatBody) -> None:
        self._head = head("chatcmpl", body.model)
        self._has_logprobs = bool(body.logprobs)
        self._has_usage = body.wants_usage
        self._begun: set[int] = set()
        self._num_calls: Counter[int] = Counter()

    def chunks(self, index: int, event: Event) -> Iterator[ChatChunk]:
        """What joins the reply; the first chunk of each says who speaks."""
        if index not in self._begun:
            self._begun.add(index)
            yield self._chunk(index, Delta(role="assistant", content=""))
        if isinstance(event, Piece) and event.kind == "text":
            yield self._chunk(index, Delta(content=event.text), self._logprobs(event.logprobs))
        elif isinstance(event, Piece):
            yield self._chunk(index, Delta(reasoning_content=event.text))
        elif isinstance(event, Called):
            call = CallDelta(index=self._num_calls[index], **_call(event.call).model_dump())
            self._num_calls[index] += 1
            yield self._chunk(index, Delta(tool_calls=[call]))
        elif isinstance(event, Ended):
            yield self._chunk(index, Delta(), end=finish_reason(event.finish_reason))

    def last(self, usage: UsageBody) -> ChatChunk:
        """No choices, and the usage."""
        return ChatChunk(**self._head, object="chat.completion.chunk", choices=[], usage=usage)

    def whole(self, replies: Sequence[Gathered], usage: UsageBody) -> ChatCompletion:
        """All replies."""
        choices = [self._choice(index, reply) for index, reply in enumerate(replies)]
        return ChatCompletion(**self._head, object="chat.completion", choices=choices, usage=usage)

    def _chunk(
        self,
        index: int,
        delta: Delta,
        logprobs: ChatLogprobs | None = None,
        end: FinishReason | None = None,
    ) -> ChatChunk:
        choice = ChunkChoice(index=index, delta=delta, logprobs=logprobs, finish_reason=end)
        chunk = ChatChunk(**self._head, object="chat.completion.chunk", choices=[choice])
        # all chunks but the last one say so where it is to come
        return chunk.model_copy(update={"usage": None}) if self._has_usage else chunk

    def _choice(self, index: int, reply: Gathered) -> ChatChoice:
        text = "".join(reply.text)
        message = ReplyMessage(
            role="assistant", content=text or (None if reply.calls else ""), refusal=None
        )
        if reply.reasoning:
            message.reasoning_content = "".join(reply.reasoning)
        if reply.calls:
            message.tool_calls = [_call(call) for call in reply.calls]
        logprobs = self._logprobs(reply.logprobs)
        return ChatChoice(
            index=index, message=message, logprobs=logprobs, finish_reason=reply.finish_reason
        )

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> ChatLogprobs | None:
        if not self._has_logprobs:
            return None
        return ChatLogprobs(content=[_score(token) for token in tokens], refusal=None)


def _call(call: ToolCall) -> Call:
    function = FunctionCall(name=call.name, arguments=call.arguments)
    return Call(id=call.id, type="function", function=function)


def _score(token: TokenLogprob) -> TokenScore:
    top = [_likely(one) for one in token.top]
    return TokenScore(**_likely(token).model_dump(), top_logprobs=top)


def _likely(token: TokenLogprob) -> LikelyToken:
    logprob = number(token.logprob)
    assert logprob is not None, f"a token of an answer without a probability: {token}"
    return LikelyToken(token=token.token, logprob=logprob, bytes=list(token.bytes))
