"""A LangChain chat model over whatever replies: sampling, streaming, tools, structured output."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import closing
from contextvars import Context
from importlib.metadata import version
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import (
    agenerate_from_stream,
    generate_from_stream,
)
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import run_in_executor
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, model_validator

from forethought.chat.messages import chunks_of, turns_of
from forethought.chat.structured import Method, schema_of, structured
from forethought.config import SamplingParams, require
from forethought.model import Scope, current_scope, enter_scope
from forethought.replies import Ask, Event, Noted, Replier, Tool

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "max_tokens", "seed")
# what other models are told, and these need not be: calls and schemas always hold
_WITHOUT_EFFECT = {"strict", "parallel_tool_calls", "stream"}
_KNOWN = {*_SAMPLING, "timeout", "logprobs", "top_logprobs", "response_format", "tools"}
_KNOWN |= {"tool_choice", "model", *_WITHOUT_EFFECT}


class ReplierChat(BaseChatModel):
    """What all chat models of this package share; safe to call from threads.

    Settings of `SamplingParams` that are None take its defaults, and `seed` None draws anew with
    every call. `timeout` is in seconds: what there is by then is the reply. All of them, and
    `stop`, can be given to a call as well.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = None
    timeout: float | None = Field(default=None, gt=0)
    logprobs: bool = False
    top_logprobs: int | None = None
    streaming: bool = False

    @model_validator(mode="after")
    def _tell_forethought_version(self) -> ReplierChat:
        self._add_version("forethought", version("forethought"))
        return self

    def _replier(self, model: str | None) -> Replier:
        """What replies; `model` is a call's own."""
        raise NotImplementedError

    def _label(self) -> str:
        """What traces call it, before anything is loaded."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what was opened; safe to call twice. A later call opens it again."""

    @property
    def _llm_type(self) -> str:
        return "forethought"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self._label(), **{name: getattr(self, name) for name in _SAMPLING}}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "forethought"
        params["ls_model_name"] = kwargs.get("model") or self._label()
        if self.stop and not stop:
            params["ls_stop"] = self.stop
        return params

    def _ask(
        self, messages: list[BaseMessage], stop: list[str] | None, told: dict[str, Any]
    ) -> Ask:
        unknown = ", ".join(sorted(set(told) - _KNOWN))
        require(not unknown, f"a call takes no {unknown}")

        def setting(name: str) -> Any:
            return told[name] if told.get(name) is not None else getattr(self, name)

        sampling = {name: setting(name) for name in _SAMPLING}
        if sampling["seed"] is None:
            sampling["seed"] = secrets.randbits(31)
        given = {name: value for name, value in sampling.items() if value is not None}
        stops = self.stop if stop is None else stop
        top = setting("top_logprobs")
        return Ask(
            turns=turns_of(messages),
            params=SamplingParams(**given, stop=tuple(stops or ())),
            tools=tuple(_tool(one["function"]) for one in told.get("tools") or ()),
            tool_choice=_choice(told.get("tool_choice")),
            schema=schema_of(told.get("response_format")),
            top_logprobs=top if top is not None else 0 if setting("logprobs") else None,
            deadline=setting("timeout"),
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, None, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, None, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        ask = self._ask(messages, stop, kwargs)
        return self._chunks(ask, kwargs.get("model"), (current_scope() or Scope()).within())

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        scope = (current_scope() or Scope()).within()
        chunks = self._chunks(self._ask(messages, stop, kwargs), kwargs.get("model"), scope)
        try:
            while chunk := await run_in_executor(None, next, chunks, None):
                yield chunk
        finally:  # a task that is cancelled leaves its thread in the engine, for one step more
            scope.cancel.set()

    def _chunks(self, ask: Ask, model: str | None, scope: Scope) -> Generator[ChatGenerationChunk]:
        replier, tell = self._replier(model), _graph_writer()
        with closing(_isolated(replier, ask, scope)) as events:
            for chunk in chunks_of(replier.name, events):
                if isinstance(chunk, Noted):
                    tell(chunk.data)
                else:
                    yield ChatGenerationChunk(message=chunk)

    def bind_tools(
        self,
        tools: Sequence[Any],
        *,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Tools of any form that LangChain knows. `tool_choice`: "auto" (or None), "none", "any"
        (or "required"), or a tool's name. Arguments always fit a tool's schema."""
        known = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=known, tool_choice=_choice(tool_choice), **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Method = "json_schema",
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Replies as instances of `schema`, or as dicts where it is no Pydantic class. `method`
        "json_schema" writes the JSON under a grammar, "function_calling" the arguments of a call,
        "json_mode" any JSON object, of which the prompt has to say more."""
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw)
        return structured(self, schema, method=method, include_raw=include_raw)


def _isolated(replier: Replier, ask: Ask, scope: Scope) -> Generator[Event]:
    """A reply's events, drawn in a context of its own: a graph that replies would take the store,
    the checkpointer and the callbacks of the node it is called from."""
    context = Context()
    context.run(enter_scope, scope)
    events = cast("Generator[Event]", context.run(replier.reply, ask))
    try:
        while event := context.run(next, events, None):
            yield event
    finally:
        context.run(events.close)


def _graph_writer() -> Callable[[Any], None]:
    """Where the graph that calls this streams custom events, if one does."""
    from langgraph.config import get_stream_writer  # noqa: PLC0415 - slow to import

    try:
        return get_stream_writer()
    except (RuntimeError, KeyError):  # outside any run, or in one that is no graph's
        return lambda _: None


def _tool(function: dict[str, Any]) -> Tool:
    return Tool(
        function["name"], function.get("description") or "", function.get("parameters") or {}
    )


def _choice(told: Any) -> str:
    """A tool choice in any of LangChain's forms."""
    if isinstance(told, dict):
        return str(told["function"]["name"])
    if told is None or told is False:
        return "auto"
    return "required" if told in (True, "any") else str(told)
