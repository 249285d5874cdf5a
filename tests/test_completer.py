"""Raw texts written on by a model: what is said, scored and counted."""

from __future__ import annotations

import math
import threading
import time

import pytest

from forethought.config import SamplingParams
from forethought.engine import Engine, ScriptedModel
from forethought.engine.completer import ModelCompleter
from forethought.errors import ConfigError
from forethought.model import RunStopped, Scope, run_scope
from forethought.replies import Completer, Ended, Event, Piece, Replier, TextAsk

GREEDY = SamplingParams(temperature=0, max_tokens=8)


def events(ask: TextAsk, reply: str = " four.") -> list[Event]:
    return list(ModelCompleter(ScriptedModel(lambda *_: reply)).complete(ask))


def test_it_is_a_completer_and_no_replier() -> None:
    completer = ModelCompleter(ScriptedModel(lambda *_: ""))
    assert isinstance(completer, Completer)
    assert not isinstance(completer, Replier)
    assert completer.name == "scripted"


def test_a_text_is_written_on_and_counted() -> None:
    piece, end = events(TextAsk("2 + 2 =", GREEDY))
    assert piece == Piece("text", " four.")
    assert isinstance(end, Ended)
    assert end.finish_reason == "stop"
    assert (end.usage.input_tokens, end.usage.output_tokens) == (7, 6)


def test_limits_and_stop_strings_hold() -> None:
    piece, end = events(TextAsk("2", SamplingParams(max_tokens=3)))
    assert (piece, isinstance(end, Ended) and end.finish_reason) == (Piece("text", " fo"), "length")
    piece, end = events(TextAsk("2", SamplingParams(stop=("ur",))))
    assert (piece, isinstance(end, Ended) and end.finish_reason) == (Piece("text", " fo"), "stop")


def test_an_echo_has_the_prompts_probabilities_and_nan_for_what_nothing_precedes() -> None:
    echo, piece, _ = events(TextAsk((65, 66), GREEDY, echo=True, top_logprobs=0))
    assert isinstance(echo, Piece)
    assert isinstance(piece, Piece)
    assert echo.text == "AB"
    assert math.isnan(echo.logprobs[0].logprob)
    assert echo.logprobs[1].logprob == pytest.approx(-math.log(128))
    assert "".join(token.token for token in piece.logprobs) == " four."


def test_a_prompt_can_be_read_alone() -> None:
    echo, end = events(TextAsk("ab", None, echo=True, top_logprobs=0))
    assert isinstance(echo, Piece)
    assert [token.token for token in echo.logprobs] == ["a", "b"]
    assert isinstance(end, Ended)
    assert end.usage.output_tokens == 0


def test_what_it_cannot_say_is_refused() -> None:
    with pytest.raises(ConfigError, match="logprobs=0 only, not 3"):
        events(TextAsk("a", GREEDY, top_logprobs=3))
    with pytest.raises(ConfigError, match="needs echo"):
        TextAsk("a", None)
    with pytest.raises(ConfigError, match="must not be empty"):
        TextAsk("", GREEDY)
    with pytest.raises(ConfigError, match="top_logprobs"):
        TextAsk("a", GREEDY, top_logprobs=21)


def test_the_callers_scope_and_the_deadline_end_it() -> None:
    cancelled = threading.Event()
    cancelled.set()
    with run_scope(Scope(cancelled)):
        assert isinstance(end := events(TextAsk("a", GREEDY))[-1], Ended)
    assert end.finish_reason == "cancelled"
    with run_scope(Scope(deadline=time.monotonic() - 1)), pytest.raises(RunStopped):
        events(TextAsk("ab", GREEDY, echo=True, top_logprobs=0, deadline=60))


@pytest.mark.weights
def test_on_weights_a_text_that_is_echoed_has_the_probabilities_it_was_written_with(
    smollm: Engine,
) -> None:
    completer = ModelCompleter(smollm)
    prompt = "The capital of France is"
    piece, end = completer.complete(TextAsk(prompt, GREEDY, top_logprobs=0))
    assert isinstance(piece, Piece)
    assert isinstance(end, Ended)
    assert len(piece.logprobs) == end.usage.output_tokens == 8
    (echo, _) = completer.complete(TextAsk(prompt + piece.text, None, echo=True, top_logprobs=0))
    assert isinstance(echo, Piece)
    assert echo.text == prompt + piece.text
    assert "".join(token.token for token in echo.logprobs) == echo.text
    written = [token.logprob for token in piece.logprobs]
    assert [token.logprob for token in echo.logprobs[-8:]] == pytest.approx(written, abs=1e-3)
