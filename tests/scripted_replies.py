"""A replier and completer without weights: what it says, how fast, and how it fails are told it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from forethought.config import SamplingParams
from forethought.model import Scope, current_scope
from forethought.replies import (
    Ask,
    Called,
    Ended,
    Event,
    Noted,
    Piece,
    ReplyEnd,
    ReplyUsage,
    TextAsk,
    TokenLogprob,
    ToolCall,
)

WORDS = ("Two", " and", " two", " are", " four", ".")
JSON_WORDS = ('{"answer"', ": ", "4", "}")


@dataclass
class ScriptedReplier:
    """Says `words`, one a token, after its `reasoning`, with a `pause` in seconds before each.

    It calls the tool that it must call, or the first one where the user says "call"; writes JSON
    where a schema is set; stops at stop strings and limits; and ends with its scope. `fails` is
    raised after `fails_after` words. `is_endless` repeats the words.
    """

    name: str = "scripted"
    words: tuple[str, ...] = WORDS
    reasoning: tuple[str, ...] = ()
    pause: float = 0.0
    fails: Exception | None = None
    fails_after: int = 0
    is_endless: bool = False
    asks: list[Ask] = field(default_factory=list)
    texts: list[TextAsk] = field(default_factory=list)
    num_open: int = 0
    most_open: int = 0

    def reply(self, ask: Ask) -> Iterator[Event]:
        """The script, as a conversation's next turn."""
        if call := _call(ask):
            return self._events(ask, ask.params, (), call)
        return self._events(ask, ask.params, JSON_WORDS if ask.schema is not None else self.words)

    def complete(self, ask: TextAsk) -> Iterator[Event]:
        """The script, after a prompt whose words are its tokens."""
        return self._events(ask, ask.params, self.words if ask.params else ())

    def _events(
        self,
        ask: Ask | TextAsk,
        params: SamplingParams | None,
        words: tuple[str, ...],
        call: ToolCall | None = None,
    ) -> Iterator[Event]:
        if isinstance(ask, Ask):
            self.asks.append(ask)
        else:
            self.texts.append(ask)
        self.num_open += 1
        self.most_open = max(self.most_open, self.num_open)
        try:
            yield from self._said(ask, params, words, call)
        finally:
            self.num_open -= 1

    def _said(
        self,
        ask: Ask | TextAsk,
        params: SamplingParams | None,
        words: tuple[str, ...],
        call: ToolCall | None,
    ) -> Iterator[Event]:
        until = math.inf if ask.deadline is None else time.monotonic() + ask.deadline
        scope = current_scope() or Scope()
        thoughts = self.reasoning if isinstance(ask, Ask) else ()
        for thought in thoughts:
            yield Noted({"event": "decided"})
            yield Piece("reasoning", thought)
        num_prompt = 0
        if isinstance(ask, TextAsk):
            prompt = _split(ask.prompt)
            num_prompt = len(prompt)
            if ask.echo:
                logprobs = _scored(prompt, ask.top_logprobs)
                if logprobs:
                    first = TokenLogprob(prompt[0], prompt[0].encode(), math.nan)
                    logprobs = (first, *logprobs[1:])
                yield Piece("text", "".join(prompt), logprobs)
        said: list[str] = []
        end: ReplyEnd = "tool_calls" if call else "stop"
        while words:
            word = words[len(said) % len(words)]
            if self.pause:
                scope.cancel.wait(min(self.pause, max(0.0, until - time.monotonic())))
            if self.fails and len(said) >= self.fails_after:
                raise self.fails
            if scope.cancel.is_set() or time.monotonic() >= until:
                end = "cancelled" if scope.cancel.is_set() else "deadline"
                break
            if params and any(stop in "".join(said) + word for stop in params.stop):
                break
            if len(said) == len(words) and not self.is_endless:
                break
            said.append(word)
            yield Piece("text", word, _scored([word], ask.top_logprobs))
            if params and len(said) >= params.max_tokens:
                end = "length"
                break
        if call:
            yield Called(call)
        if isinstance(ask, Ask):
            num_prompt = sum(len(_split(turn.content or " ")) for turn in ask.turns)
        usage = ReplyUsage(
            input_tokens=num_prompt,
            output_tokens=len(said) + len(thoughts),
            reasoning_tokens=len(thoughts),
            draft_tokens=2 * len(thoughts),
            target_tokens=len(said),
            scored_tokens=len(thoughts),
            cached_tokens=num_prompt // 2,
        )
        yield Ended(end, usage, {"acceptance_rate": 0.5} if thoughts else {})


@dataclass
class ReplierOnly:
    """A replier that completes no raw text."""

    name: str = "talker"

    def reply(self, ask: Ask) -> Iterator[Event]:
        """One word."""
        yield Piece("text", "Hi")
        yield Ended("stop", ReplyUsage(1, 1))


def _call(ask: Ask) -> ToolCall | None:
    if not ask.tools or ask.tool_choice == "none":
        return None
    if ask.tool_choice == "auto":
        last = ask.turns[-1]
        if last.role != "user" or "call" not in last.content:
            return None
    is_named = ask.tool_choice not in ("auto", "required")
    name = ask.tool_choice if is_named else ask.tools[0].name
    return ToolCall("call_1", name, json.dumps({"city": "Oslo"}))


def _split(prompt: str | tuple[int, ...]) -> list[str]:
    if isinstance(prompt, tuple):
        return [f"<{token}>" for token in prompt]
    head, *rest = prompt.split(" ")
    return [head, *(" " + word for word in rest)]


def _scored(words: list[str], top: int | None) -> tuple[TokenLogprob, ...]:
    if top is None:
        return ()
    return tuple(
        TokenLogprob(
            word,
            word.encode(),
            -0.5,
            tuple(
                TokenLogprob(text, text.encode(), -0.5 - rank)
                for rank, text in enumerate([word, *"abcdefghijklmnopqrst"][:top])
            ),
        )
        for word in words
    )
