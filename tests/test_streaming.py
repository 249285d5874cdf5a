"""Completions as they are written: nothing is taken back, nothing of a stop string leaks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.config import SamplingParams
from forethought.engine import Engine, ScriptedModel
from forethought.engine.continuation import Continuation
from forethought.engine.request import Sampled
from forethought.engine.streaming import Outlet
from forethought.errors import ConfigError, PromptTooLong
from forethought.model import NO_USAGE, Delta, Scope, Speaker, run_scope

PIECES = [b"a", b"b", b"ab", b"\n", b"\n\n", "é".encode()[:1], "é".encode()[1:], b"a\xf0", b""]
EMPTY = len(PIECES) - 1


class Pieces:
    """A vocabulary of few bytes, some of them parts of characters."""

    def piece(self, token: int) -> bytes:
        return PIECES[token]

    def to_bytes(self, tokens: list[int]) -> bytes:
        return b"".join(map(self.piece, tokens))

    def is_end(self, token: int) -> bool:
        return False

    def whole_characters(self, tokens: list[int]) -> list[int]:
        from forethought.engine.vocabulary import Vocabulary  # noqa: PLC0415

        return Vocabulary.whole_characters(self, tokens)  # type: ignore[arg-type]


@given(
    tokens=st.lists(st.integers(0, EMPTY), min_size=1, max_size=12),
    stop=st.lists(st.sampled_from(["ab", "ba", "\n\n", "aé", "bab"]), max_size=2),
    keep=st.booleans(),
)
def test_deltas_add_up_to_the_completion(tokens: list[int], stop: list[str], keep: bool) -> None:
    params = SamplingParams(max_tokens=12, stop=tuple(stop), keep_stop=keep, top_logprobs=0)
    vocabulary, written = Pieces(), Continuation()
    outlet = Outlet(params, vocabulary.piece)
    deltas: list[Delta] = []
    reason = None
    for token in tokens:
        reason = written.add(token, params, vocabulary, logprob=0.0)  # type: ignore[arg-type]
        delta = outlet.add(Sampled(token, vocabulary.piece(token), [(token, -1.0)]))
        deltas += [delta] if delta else []
        if reason:
            break
    done = written.completed(reason or "cancelled", params, vocabulary, NO_USAGE)  # type: ignore[arg-type]
    deltas.append(outlet.end(done))
    assert "".join(delta.text for delta in deltas) == done.text
    assert deltas[-1].completion is done
    assert all(delta.completion is None for delta in deltas[:-1])
    told = [one for delta in deltas for one in delta.logprobs]
    whole = b"".join(one.bytes for one in told)
    assert vocabulary.to_bytes(written.tokens).startswith(whole)


def test_a_script_can_be_listened_to() -> None:
    model = ScriptedModel(lambda prompt, seed, index: "one stop two")
    assert isinstance(model, Speaker)
    params = SamplingParams(stop=("stop",), top_logprobs=1)
    deltas = list(model.stream([1], params))
    assert [delta.text for delta in deltas] == [*"one ", ""]
    assert deltas[-1].completion == model.generate([[1]], params)[0]
    assert [len(delta.logprobs[0].top) for delta in deltas[:-1]] == [1] * 4


@pytest.mark.weights
def test_a_stream_is_what_generate_returns(smollm_path: Path) -> None:
    for seed in range(3):
        params = SamplingParams(temperature=0.9, max_tokens=30, seed=seed, stop=("ow", "e."))
        # engines of their own: logits depend on the order of cells that were freed and filled again
        with Engine(smollm_path) as engine:
            prompt = engine.chat([{"role": "user", "content": "Name three colours."}])
            deltas = list(engine.stream(prompt, params))
        with Engine(smollm_path) as engine:
            (done,) = engine.generate([prompt], params)
        assert "".join(delta.text for delta in deltas) == done.text
        assert deltas[-1].completion is not None
        assert deltas[-1].completion.tokens == done.tokens
        assert len(deltas) > 2


@pytest.mark.weights
def test_log_probabilities_come_with_the_text_and_in_order(smollm: Engine) -> None:
    prompt = smollm.chat([{"role": "user", "content": "Name three colours."}])
    params = SamplingParams(temperature=0.9, max_tokens=9, seed=1, top_logprobs=3, logprob=True)
    deltas = list(smollm.stream(prompt, params))
    done = deltas[-1].completion
    told = [one for delta in deltas for one in delta.logprobs]
    assert done is not None
    assert b"".join(one.bytes for one in told).decode() == done.text
    for one in told:
        ranked = [top.logprob for top in one.top]
        assert ranked == sorted(ranked, reverse=True)
        assert len(ranked) == 3
        assert one.logprob <= ranked[0]
    assert done.finish_reason == "length"
    mean = sum(one.logprob for one in told) / len(told)
    assert done.logprob == pytest.approx(mean, abs=1e-4)


@pytest.mark.weights
def test_a_prompt_is_told_token_by_token(smollm: Engine) -> None:
    prompt = smollm.encode("The capital of France is Paris.")
    told = smollm.logprobs(prompt, top=2)
    (read,) = smollm.readings([prompt], [len(prompt) - 1])
    assert [one.token for one in told] == [smollm.decode([token]) for token in prompt[1:]]
    for one, reading in zip(told, read, strict=True):
        assert one.logprob == pytest.approx(reading.logprob, abs=1e-6)
        assert len(one.top) == 2
    paris = told[-2]
    assert paris.token == " Paris"
    assert paris.top[0].token == " Paris"


@pytest.mark.weights
def test_closing_a_stream_frees_its_sequence_and_counts_what_it_cost(smollm: Engine) -> None:
    prompt = smollm.chat([{"role": "user", "content": "Tell me a very long story."}])
    with run_scope(Scope()) as scope:
        stream = smollm.stream(prompt, SamplingParams(temperature=0.9, max_tokens=2000))
    assert next(stream).text
    stream.close()
    assert not smollm._worker._scheduler.is_busy
    usage = scope.meter.totals()[smollm.name]
    assert 0 < usage.generated_tokens < 200


@pytest.mark.weights
def test_a_stream_ends_with_its_scope_and_refuses_what_does_not_fit(smollm: Engine) -> None:
    prompt = smollm.chat([{"role": "user", "content": "Tell me a very long story."}])
    scope = Scope()
    with run_scope(scope):
        stream = smollm.stream(prompt, SamplingParams(temperature=0.9, max_tokens=2000))
    next(stream)
    scope.cancel.set()
    *_, last = stream
    assert last.completion is not None
    assert last.completion.finish_reason == "cancelled"
    with pytest.raises(PromptTooLong):
        smollm.stream([1] * 5000, SamplingParams())
    with pytest.raises(ConfigError, match="at least 2"):
        smollm.logprobs([1])
