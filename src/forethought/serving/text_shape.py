"""Texts as POST /v1/completions says them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from forethought.replies import Ended, Event, Piece, TokenLogprob
from forethought.serving.answers import TextChoice, TextCompletion, TextLogprobs, UsageBody
from forethought.serving.shape import Gathered, finish_reason, head, number
from forethought.serving.text_body import TextBody


class TextShape:
    """The response to one request."""

    def __init__(self, body: TextBody) -> None:
        self._head = {**head("cmpl", body.model), "object": "text_completion"}
        self._num_top = body.logprobs
        self._has_usage = body.wants_usage
        self._offsets: Counter[int] = Counter()

    def chunks(self, index: int, event: Event) -> Iterator[TextCompletion]:
        """What joins the text."""
        if isinstance(event, Piece):
            logprobs = self._logprobs(event.logprobs, self._offsets[index])
            self._offsets[index] += sum(len(token.token) for token in event.logprobs)
            yield self._chunk(
                TextChoice(index=index, text=event.text, logprobs=logprobs, finish_reason=None)
            )
        elif isinstance(event, Ended):
            end = finish_reason(event.finish_reason)
            yield self._chunk(TextChoice(index=index, text="", logprobs=None, finish_reason=end))

    def last(self, usage: UsageBody) -> TextCompletion:
        """No choices, and the usage."""
        return TextCompletion(**self._head, choices=[], usage=usage)

    def whole(self, replies: Sequence[Gathered], usage: UsageBody) -> TextCompletion:
        """All texts."""
        choices = [
            TextChoice(
                index=index,
                text="".join(reply.text),
                logprobs=self._logprobs(reply.logprobs, 0),
                finish_reason=reply.finish_reason,
            )
            for index, reply in enumerate(replies)
        ]
        return TextCompletion(**self._head, choices=choices, usage=usage)

    def _chunk(self, choice: TextChoice) -> TextCompletion:
        chunk = TextCompletion(**self._head, choices=[choice])
        return chunk.model_copy(update={"usage": None}) if self._has_usage else chunk

    def _logprobs(self, tokens: Sequence[TokenLogprob], offset: int) -> TextLogprobs | None:
        if self._num_top is None:
            return None
        offsets = []
        for token in tokens:
            offsets.append(offset)
            offset += len(token.token)
        return TextLogprobs(
            tokens=[token.token for token in tokens],
            token_logprobs=[number(token.logprob) for token in tokens],
            top_logprobs=[_top(token) for token in tokens] if self._num_top else None,
            text_offset=offsets,
        )


def _top(token: TokenLogprob) -> dict[str, float] | None:
    """Likeliest tokens and the token itself, which need not be one of them."""
    logprobs = {one.token: number(one.logprob) for one in (*token.top, token)}
    return {text: logprob for text, logprob in logprobs.items() if logprob is not None} or None
