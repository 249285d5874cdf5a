"""Texts written on by a model as it is, without a template."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace

from forethought.config import SamplingParams, require
from forethought.model import Completion, Model, Scope, current_scope, run_scope
from forethought.replies import Ended, Event, Piece, ReplyEnd, ReplyUsage, TextAsk, TokenLogprob


class ModelCompleter:
    """A `Completer` over one model; each text comes as one piece, after its prompt's.

    It knows the log-probabilities of tokens and not those of others in their place.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    def complete(self, ask: TextAsk) -> Iterator[Event]:
        """See `forethought.replies.Completer`.

        Raises:
            ConfigError: other tokens' log-probabilities were asked for.
            PromptTooLong, EngineError, RunStopped: as `Model.generate` and `Model.readings`.
        """
        require(not ask.top_logprobs, f"{self.name} gives logprobs=0 only, not {ask.top_logprobs}")
        scope = _scope_of(ask)
        prompt, start = self._tokens(ask.prompt)
        shown = prompt[len(start) :]
        wants_scores = ask.top_logprobs is not None
        if ask.echo:
            text = ask.prompt if isinstance(ask.prompt, str) else self._model.decode(shown)
            with run_scope(scope):
                scores = self._scored(prompt, len(shown)) if wants_scores else ()
            yield Piece("text", text, scores)
        if ask.params is None:
            yield Ended("length", ReplyUsage(input_tokens=len(prompt)))
            return
        with run_scope(scope):
            written = self._written(prompt, ask.params)
            count = len(written.tokens) if wants_scores else 0
            scores = self._scored([*prompt, *written.tokens], count)
        yield Piece("text", written.text, scores)
        yield Ended(_end(written), _usage(prompt, written))

    def _tokens(self, prompt: str | tuple[int, ...]) -> tuple[list[int], list[int]]:
        """The prompt's ids, and those of them that stand for no text of its own."""
        if not isinstance(prompt, str):
            return list(prompt), []
        start = self._model.start_tokens()
        return start + self._model.encode(prompt), start

    def _written(self, prompt: list[int], params: SamplingParams) -> Completion:
        (written,) = self._model.generate([prompt], params)
        return written

    def _scored(self, tokens: list[int], count: int) -> tuple[TokenLogprob, ...]:
        """The last `count` tokens; one that nothing precedes has NaN."""
        num_read = min(count, len(tokens) - 1)
        (readings,) = self._model.readings([tokens], [num_read]) if num_read else ([],)
        numbers = [math.nan] * (count - num_read) + [reading.logprob for reading in readings]
        texts = [self._model.decode([token]) for token in tokens[len(tokens) - count :]]
        return tuple(
            TokenLogprob(text, text.encode(), number)
            for text, number in zip(texts, numbers, strict=True)
        )


def _scope_of(ask: TextAsk) -> Scope:
    """The caller's scope with the deadline of what it asks."""
    scope = current_scope() or Scope()
    if ask.deadline is None:
        return scope
    deadline = time.monotonic() + ask.deadline
    return replace(scope, deadline=min(deadline, scope.deadline or math.inf))


def _end(written: Completion) -> ReplyEnd:
    return "stop" if written.finish_reason == "eos" else written.finish_reason


def _usage(prompt: list[int], written: Completion) -> ReplyUsage:
    return ReplyUsage(
        input_tokens=len(prompt),
        output_tokens=len(written.tokens),
        target_tokens=written.usage.generated_tokens,
        cached_tokens=written.usage.cached_tokens,
    )
