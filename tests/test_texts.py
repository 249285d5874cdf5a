"""Raw texts written on by a model: what is said, scored and counted."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from forethought.chat import PlainReplier
from forethought.config import SamplingParams
from forethought.engine import Engine, ScriptedModel
from forethought.errors import ConfigError
from forethought.model import Model, RunStopped, Scope, TokenLogprob, run_scope
from forethought.replies import Completer, Ended, Event, Piece, Replier, TextAsk

GREEDY = SamplingParams(temperature=0, max_tokens=8)
EVEN = pytest.approx(-math.log(128))


def completer(reply: str = " four.") -> PlainReplier:
    return PlainReplier(ScriptedModel(lambda *_: reply))


def events(ask: TextAsk) -> list[Event]:
    return list(completer().complete(ask))


def said(found: list[Event]) -> tuple[str, list[TokenLogprob], Ended]:
    """The text of all pieces, their log-probabilities, and the end."""
    *pieces, end = found
    assert isinstance(end, Ended)
    assert all(isinstance(piece, Piece) and piece.kind == "text" for piece in pieces)
    written = [piece for piece in pieces if isinstance(piece, Piece)]
    told = [one for piece in written for one in piece.logprobs]
    return "".join(piece.text for piece in written), told, end


def test_what_answers_conversations_completes_texts_too() -> None:
    assert isinstance(completer(), Completer)
    assert isinstance(completer(), Replier)
    assert completer().name == "scripted"


def test_a_text_is_written_on_as_it_comes_and_counted() -> None:
    found = events(TextAsk("2 + 2 =", GREEDY))
    assert found[0] == Piece("text", " ")
    text, told, end = said(found)
    assert (text, told, end.finish_reason) == (" four.", [], "stop")
    assert (end.usage.input_tokens, end.usage.output_tokens, end.usage.target_tokens) == (7, 6, 6)


def test_limits_and_stop_strings_hold() -> None:
    text, _, end = said(events(TextAsk("2", SamplingParams(max_tokens=3))))
    assert (text, end.finish_reason) == (" fo", "length")
    text, _, end = said(events(TextAsk("2", SamplingParams(stop=("ur",)))))
    assert (text, end.finish_reason) == (" fo", "stop")


def test_an_echo_has_the_prompts_probabilities_and_nan_for_what_nothing_precedes() -> None:
    echo, *rest = events(TextAsk((65, 66), GREEDY, echo=True, top_logprobs=2))
    assert isinstance(echo, Piece)
    assert echo.text == "AB"
    assert math.isnan(echo.logprobs[0].logprob)
    assert echo.logprobs[1].logprob == EVEN
    assert len(echo.logprobs[1].top) == 2
    text, told, _ = said(rest)
    assert "".join(token.token for token in told) == text == " four."


def test_a_prompt_can_be_read_alone() -> None:
    for prompt in ("a", "ab"):
        text, told, end = said(events(TextAsk(prompt, None, echo=True, top_logprobs=0)))
        assert text == "".join(token.token for token in told) == prompt
        assert (end.usage.output_tokens, end.finish_reason) == (0, "length")


class Unheard:
    """Passes on all of a model but its streams."""

    def __init__(self, model: ScriptedModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        if name in ("stream", "logprobs"):
            raise AttributeError(name)
        return getattr(self._model, name)


def test_a_model_that_cannot_be_listened_to_writes_in_one_piece_without_probabilities() -> None:
    replier = PlainReplier(cast("Model", Unheard(ScriptedModel(lambda *_: " four."))))
    assert next(iter(replier.complete(TextAsk("2 + 2 =", GREEDY)))) == Piece("text", " four.")
    for ask in (TextAsk("a", GREEDY, top_logprobs=0), TextAsk("a", None, True, 0)):
        with pytest.raises(ConfigError, match="scripted does not tell log-probabilities"):
            list(replier.complete(ask))


def test_what_says_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs echo"):
        TextAsk("a", None)
    with pytest.raises(ConfigError, match="must not be empty"):
        TextAsk("", GREEDY)
    with pytest.raises(ConfigError, match="top_logprobs"):
        TextAsk("a", GREEDY, top_logprobs=21)


def test_the_callers_scope_and_the_deadline_end_it() -> None:
    cancelled = threading.Event()
    cancelled.set()
    with run_scope(Scope(cancelled)) as scope:
        assert said(events(TextAsk("a", GREEDY)))[-1].finish_reason == "cancelled"
    assert scope.meter.totals()["scripted"].prompt_tokens == 1
    with run_scope(Scope(deadline=time.monotonic() - 1)), pytest.raises(RunStopped):
        events(TextAsk("ab", GREEDY, echo=True, top_logprobs=0, deadline=60))


@pytest.mark.weights
def test_on_weights_a_text_that_is_echoed_has_the_probabilities_it_was_written_with(
    smollm_path: Path,
) -> None:
    prompt = "The capital of France is"
    with Engine(smollm_path) as engine:
        asked = TextAsk(prompt, GREEDY, top_logprobs=3)
        found = list(PlainReplier(engine).complete(asked))
    assert len(found) > 3, "it comes piece by piece"
    text, told, end = said(found)
    assert len(told) == end.usage.output_tokens == 8
    assert all(len(one.top) == 3 for one in told)
    with Engine(smollm_path) as engine:
        asked = TextAsk(prompt + text, None, echo=True, top_logprobs=0)
        again, read, _ = said(list(PlainReplier(engine).complete(asked)))
    assert again == prompt + text == "".join(token.token for token in read)
    written = [token.logprob for token in told]
    assert [token.logprob for token in read[-8:]] == pytest.approx(written, abs=1e-3)
