"""LangChain chat models without a provider, for tests of what judges with one."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr

Respond = Callable[[str, dict[str, Any]], AIMessage]


class FakeChat(BaseChatModel):
    """Answers by `respond`, which gets the last message's text and the call's keyword arguments.

    `seen` are these arguments, call by call; `most_at_once` is how many calls ran side by side.
    """

    respond: Respond
    model_name: str = "fake"
    seen: list[dict[str, Any]] = Field(default_factory=list)
    prompts: list[list[BaseMessage]] = Field(default_factory=list)
    most_at_once: int = 0
    _running: int = PrivateAttr(0)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        with self._lock:
            self.seen.append(kwargs)
            self.prompts.append(messages)
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        try:
            message = self.respond(str(messages[-1].content), kwargs)
        finally:
            with self._lock:
                self._running -= 1
        return ChatResult(generations=[ChatGeneration(message=message)])


def number_of(text: str) -> int:
    """A number below 1000 that looks drawn at random and stays with its text."""
    return zlib.crc32(text.encode()) % 1000


def with_logprobs(*alternatives: tuple[str, float], **fields: Any) -> AIMessage:
    """A reply as ChatOpenAI gives it: one token, its alternatives with natural-log probability."""
    top = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in alternatives]
    token = {**top[0], "top_logprobs": top} if top else {"token": "", "top_logprobs": []}
    logprobs = {"content": [token], "refusal": None}
    return AIMessage("Yes", response_metadata={"logprobs": logprobs}, **fields)


def with_grade(**arguments: Any) -> AIMessage:
    """A reply that calls the tool `Grade` with these arguments."""
    return AIMessage("", tool_calls=[{"name": "Grade", "args": arguments, "id": "1"}])
