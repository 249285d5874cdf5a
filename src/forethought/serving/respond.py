"""Replies become HTTP responses: whole ones, and streams of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import BaseModel

from forethought.replies import Ended, Event
from forethought.serving.desk import Replies
from forethought.serving.faults import told
from forethought.serving.sampling_body import SamplingBody
from forethought.serving.shape import Gathered, Shape, usage_of
from forethought.serving.web import Receive, Request, Response, Scope, Send, StreamingResponse

# how long a stream may be silent before a comment says that it is alive
_SILENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with its replies, and how its endpoint says them."""

    request: Request
    body: SamplingBody
    replies: Replies
    num_replies: int
    shape: Shape

    async def response(self) -> Response:
        """The response; what fails before anything was said is raised."""
        async with self._while_there():
            if self.body.stream:
                first = await self.replies.get(_SILENCE_SECONDS)
                return _Stream(self._stream(first), self.replies)
            answer = await self._whole()
        return Response(answer.model_dump_json(exclude_unset=True), media_type="application/json")

    @asynccontextmanager
    async def _while_there(self) -> AsyncIterator[None]:
        """Cancels the replies where the client hangs up, or the block fails."""
        watcher = asyncio.create_task(self._watch())
        try:
            yield
        except BaseException:
            self.replies.close()
            raise
        finally:
            watcher.cancel()

    async def _watch(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        self.replies.close()

    async def _whole(self) -> BaseModel:
        gathered = [Gathered() for _ in range(self.num_replies)]
        while got := await self.replies.get():
            index, event = got
            gathered[index].add(event)
        ends = [reply.end for reply in gathered if reply.end]
        return self.shape.whole(gathered, usage_of(ends, self.body.count))

    async def _stream(self, first: tuple[int, Event] | None) -> AsyncIterator[str]:
        ends: dict[int, Ended] = {}
        got = first
        try:
            while got or not self.replies.is_over:
                if got is None:
                    yield ": still at work\n\n"
                else:
                    index, event = got
                    if isinstance(event, Ended):
                        ends[index] = event
                    for chunk in self.shape.chunks(index, event):
                        yield _event(chunk)
                got = await self.replies.get(_SILENCE_SECONDS)
            if self.body.wants_usage:
                in_order = [ends[index] for index in sorted(ends)]
                yield _event(self.shape.last(usage_of(in_order, self.body.count)))
            yield "data: [DONE]\n\n"
        except Exception as error:  # noqa: BLE001 - the status is sent: the stream must tell it
            yield _event(told(error).body)


class _Stream(StreamingResponse):
    """Server-sent events, whose replies are cancelled where the client hangs up."""

    def __init__(self, events: AsyncIterator[str], replies: Replies) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._replies = replies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._replies.close()


def _event(data: BaseModel) -> str:
    return f"data: {data.model_dump_json(exclude_unset=True)}\n\n"
