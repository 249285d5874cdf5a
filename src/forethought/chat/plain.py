"""Replies of one model: its reasoning apart, its calls and JSON under a grammar."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from forethought.chat.calls import OPENING, CallParser, before_bare_call, calls_grammar
from forethought.chat.conversation import prompt_of
from forethought.chat.texts import deltas, end_of, written_on
from forethought.config import Reasoning, SamplingParams
from forethought.engine.json_grammar import Rules
from forethought.model import (
    NO_USAGE,
    Completion,
    Delta,
    Meter,
    Model,
    Scope,
    current_scope,
)
from forethought.prompts_chat import CALL_OPEN
from forethought.replies import (
    Ask,
    Called,
    Ended,
    Event,
    Piece,
    PieceKind,
    ReplyEnd,
    ReplyUsage,
    TextAsk,
)
from forethought.thinking_tags import CLOSE, has_think_tags


class PlainReplier:
    """Implements `forethought.replies.Replier`, and `Completer`, over one model, which is not
    closed.

    A model that can be listened to, such as `Engine`, is streamed as it writes; of any other each
    part comes as a whole.

    Args:
        model: writes all of every reply.
        name: what clients call it; default the model's.
        reasoning: whether it thinks between tags; "auto" tells by its vocabulary.
    """

    def __init__(
        self, model: Model, *, name: str | None = None, reasoning: Reasoning = "auto"
    ) -> None:
        self._model = model
        self._name = name or model.name
        self._reasoning: Reasoning = reasoning

    @property
    def name(self) -> str:
        """What clients call it."""
        return self._name

    def reply(self, ask: Ask) -> Iterator[Event]:
        """See `Replier.reply`; the scope is that of who takes the first event."""
        thinks = has_think_tags(self._model, self._reasoning)
        with _within(ask.deadline) as scope:
            yield from _Reply(self._model, ask, scope, thinks=thinks).events()

    def complete(self, ask: TextAsk) -> Iterator[Event]:
        """See `Completer.complete`; the scope is that of who takes the first event.

        Raises:
            ConfigError: log-probabilities were asked for, and the model does not tell them.
            PromptTooLong, EngineError, RunStopped: as `Speaker.stream` and `Speaker.logprobs`.
        """
        with _within(ask.deadline) as scope:
            yield from written_on(self._model, ask, scope)


@contextmanager
def _within(seconds: float | None) -> Iterator[Scope]:
    """A scope in the caller's, with a meter of its own, that is read into the caller's at last."""
    outer = current_scope() or Scope()
    scope = outer.within(seconds, meter=Meter())
    try:
        yield scope
    finally:
        for name, usage in scope.meter.totals().items():
            outer.meter.add(name, usage)


class _Reply:
    """One reply under way. `_prompt` is the conversation with what was written so far."""

    def __init__(self, model: Model, ask: Ask, scope: Scope, *, thinks: bool) -> None:
        self._model, self._ask, self._scope, self._thinks = model, ask, scope, thinks
        self._tools = () if ask.tool_choice == "none" else ask.tools
        self._prompt = prompt_of(model, ask, is_reasoning=thinks)
        self._num_input = len(self._prompt)
        self._num_cached: int | None = None
        self._num_written = self._num_reasoning = 0
        self._started = time.perf_counter()

    def events(self) -> Iterator[Event]:
        """Pieces, calls, and the end."""
        end: ReplyEnd | None = None
        if self._thinks:
            end = yield from self._think()
        if end is None and self._tools and self._ask.tool_choice != "auto":
            end = yield from self._call()
        if end is None:
            end = yield from self._answer()
        yield Ended(end, self._usage(), {"seconds": time.perf_counter() - self._started})

    def _think(self) -> Generator[Event, None, ReplyEnd | None]:
        """The think block; its end where nothing can follow it."""
        params = replace(self._ask.params, stop=(CLOSE,), keep_stop=False)
        completion = yield from self._written(params, "reasoning")
        assert completion is not None
        self._num_reasoning = self._num_written
        if completion.finish_reason not in ("stop", "eos"):
            return _end_of(completion)
        self._go_on(completion.text, f"{CLOSE}\n\n")
        return None

    def _answer(self) -> Generator[Event, None, ReplyEnd]:
        """Text, or calls where the model begins one on its own."""
        params = replace(
            self._ask.params, top_logprobs=self._ask.top_logprobs, grammar=self._grammar()
        )
        if not self._tools:
            completion = yield from self._written(params, "text")
            return _end_of(completion)
        params = replace(params, stop=(*params.stop, OPENING))
        completion = yield from self._written(params, "text", may_call=params.grammar is None)
        if completion and not self._has_opened(completion):
            return _end_of(completion)
        self._go_on(completion.text if completion else "", CALL_OPEN)
        end = yield from self._call(is_open=True)
        return end

    def _call(self, *, is_open: bool = False) -> Generator[Event, None, ReplyEnd]:
        """One or more calls, valid by construction."""
        if not is_open:
            self._go_on("", CALL_OPEN)
        named = [tool for tool in self._tools if tool.name == self._ask.tool_choice]
        grammar = calls_grammar(named, most=1) if named else calls_grammar(self._tools)
        params = replace(self._ask.params, stop=(), grammar=grammar)
        parser, num_calls, completion = CallParser(), 0, None
        with closing(self._deltas(params)) as parts:
            for delta in parts:
                completion = delta.completion
                for call in parser.add(delta.text):
                    num_calls += 1
                    yield Called(call)
        self._count(completion)
        return "tool_calls" if num_calls else _end_of(completion)

    def _written(
        self, params: SamplingParams, kind: PieceKind, *, may_call: bool = False
    ) -> Generator[Event, None, Completion | None]:
        """Pieces as they are written; no completion where a bare call was begun."""
        completion = None
        with closing(self._deltas(params)) as parts:
            for delta in before_bare_call(parts) if may_call else parts:
                completion = delta.completion
                if delta.text:
                    yield Piece(kind, delta.text, delta.logprobs)
        self._count(completion)
        return completion

    def _deltas(self, params: SamplingParams) -> Generator[Delta]:
        left = self._ask.params.max_tokens - self._num_written
        params = replace(params, max_tokens=max(1, left))
        return deltas(self._model, self._prompt, params, self._scope)

    def _grammar(self) -> str | None:
        """Of the answer, or of a call's opening in its place."""
        if self._ask.schema is None:
            return self._ask.params.grammar
        rules = Rules()
        answer = rules.schema(self._ask.schema)
        return rules.grammar(f'{answer} | "{OPENING}"' if self._tools else answer)

    def _has_opened(self, completion: Completion) -> bool:
        if completion.finish_reason != "stop" or not self._ask.params.stop:
            return completion.finish_reason == "stop"
        behind = self._model.decode(completion.tokens)[len(completion.text) :]
        return behind.startswith(OPENING)

    def _go_on(self, text: str, control: str) -> None:
        encode = self._model.encode
        self._prompt = [*self._prompt, *encode(text), *encode(control, special=True)]

    def _count(self, completion: Completion | None) -> None:
        if self._num_cached is None:
            totals = self._scope.meter.totals()
            cached = totals.get(self._model.name, NO_USAGE).cached_tokens
            self._num_cached = min(cached, self._num_input)
        self._num_written += len(completion.tokens) if completion else 0

    def _usage(self) -> ReplyUsage:
        totals = self._scope.meter.totals()
        own = totals.pop(self._model.name, NO_USAGE)
        return ReplyUsage(
            input_tokens=self._num_input,
            output_tokens=self._num_written,
            reasoning_tokens=self._num_reasoning,
            draft_tokens=sum(usage.generated_tokens for usage in totals.values()),
            target_tokens=own.generated_tokens,
            cached_tokens=self._num_cached or 0,
        )


def _end_of(completion: Completion | None) -> ReplyEnd:
    assert completion is not None
    return end_of(completion)
