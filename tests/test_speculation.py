"""Token-level speculation: against the target alone, on tables and on real weights."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import variant
from toy_engine import ALPHABET, END, Table, ToyEngine, ToySampler, table

from forethought.config import EngineConfig, SamplingParams
from forethought.engine import Engine, SpeculationStats, SpeculativeModel
from forethought.engine.rejection import Proposal, Propose
from forethought.errors import ConfigError, EngineClosed, PromptTooLong
from forethought.model import Completion, Model, Scope, Usage, run_scope

GREEDY = SamplingParams(temperature=0.0, max_tokens=30)
DRAWN = SamplingParams(temperature=1.0, max_tokens=30, seed=3)
PROMPTS = [[0], [1, 2, 0], [0, 1], [5, 6, 4, 3, 2, 0]]

TARGET, NEAR, FAR = table(1), table(1, sharpness=1.7), table(2)


@pytest.fixture(autouse=True)
def _toy_samplers(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Engines on tables have no llama_context to draw from."""
    if not {"weights", "pair"} & {mark.name for mark in request.node.iter_markers()}:
        monkeypatch.setattr("forethought.engine.request.Sampler", ToySampler)


@contextmanager
def toys(
    target: Table = TARGET, draft: Table = NEAR, *, cells: tuple[int, int] = (2000, 2000)
) -> Iterator[tuple[ToyEngine, ToyEngine]]:
    with ExitStack() as opened:
        yield (
            opened.enter_context(ToyEngine("large", target, cells=cells[0])),
            opened.enter_context(ToyEngine("small", draft, cells=cells[1])),
        )


def essence(completions: list[Completion]) -> list[tuple[str, list[int], str]]:
    return [(c.text, c.tokens, c.finish_reason) for c in completions]


# Exactness


@pytest.mark.parametrize("gamma", [1, 2, 5, 16, None])
@pytest.mark.parametrize("draft", [TARGET, NEAR, FAR])
def test_at_temperature_0_it_writes_what_the_target_writes(draft: Table, gamma: int | None) -> None:
    with toys(draft=draft) as (large, small):
        model = SpeculativeModel(large, small, gamma=gamma)
        for params in (
            GREEDY,
            replace(GREEDY, max_tokens=1),
            replace(GREEDY, stop=("\n",)),
            replace(GREEDY, stop=("\n", "cc"), keep_stop=True),
        ):
            assert essence(model.generate(PROMPTS, params)) == essence(
                large.generate(PROMPTS, params)
            )


@pytest.mark.parametrize("filters", [{}, {"top_k": 3}, {"top_p": 0.7}, {"min_p": 0.2}])
def test_above_temperature_0_texts_are_distributed_as_the_targets(filters: dict[str, Any]) -> None:
    params = SamplingParams(temperature=0.9, max_tokens=3, **filters)
    alike = table(4, sharpness=1.0, end=0.0)
    with toys(alike, table(5, sharpness=1.0, end=0.5)) as (large, small):
        model = SpeculativeModel(large, small, gamma=2)
        prompts = [[0, 1]] * 500
        drawn = Counter(
            tuple(completion.tokens)
            for seed in range(8)
            for completion in model.generate(prompts, replace(params, seed=seed))
        )
        expected = texts_of(alike, [0, 1], params)
    assert set(drawn) <= set(expected)
    likely = {text: p for text, p in expected.items() if p * 4000 >= 8}
    statistic = sum(
        (drawn[text] - 4000 * p) ** 2 / (4000 * p * (1 - p)) for text, p in likely.items()
    )
    # normal approximation of chi-square, four and a half standard deviations
    assert len(likely) >= 5
    assert statistic <= len(likely) + 4.5 * (2 * len(likely)) ** 0.5


def texts_of(
    model: Table, prompt: list[int], params: SamplingParams
) -> dict[tuple[int, ...], float]:
    """The probability of every text of at most `max_tokens` tokens."""
    from forethought.engine.distribution import distribution_of  # noqa: PLC0415

    found: dict[tuple[int, ...], float] = {}
    open_texts: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(params.max_tokens):
        longer: dict[tuple[int, ...], float] = {}
        for text, before in open_texts.items():
            said = distribution_of(model([*prompt, *text]), params)
            for token, p in zip(said.ids.tolist(), said.probs.tolist(), strict=True):
                (found if token == END else longer)[text if token == END else (*text, token)] = (
                    before * p
                )
        open_texts = longer
    return found | open_texts


def test_a_seed_fixes_each_text_whatever_else_is_in_the_batch() -> None:
    with toys() as (large, small):
        model = SpeculativeModel(large, small, gamma=3)
        together = model.generate(PROMPTS, DRAWN)
        assert essence(model.generate(PROMPTS, DRAWN)) == essence(together)
        assert essence(model.generate(PROMPTS[:2], DRAWN)) == essence(together[:2])
        others = model.generate([PROMPTS[0], [3, 3], [4]], DRAWN)
        assert essence(others[:1]) == essence(together[:1])
        assert essence(model.generate(PROMPTS, replace(DRAWN, seed=4))) != essence(together)
        equal = model.generate([[0]] * 4, DRAWN)
        assert len({completion.text for completion in equal}) > 1


def test_threads_that_share_the_engines_get_what_they_get_alone() -> None:
    with toys() as (large, small):
        model = SpeculativeModel(large, small, gamma=4)
        alone = [essence(model.generate(PROMPTS, replace(DRAWN, seed=n))) for n in range(6)]
        found: dict[int, Any] = {}

        def work(seed: int) -> None:
            found[seed] = essence(model.generate(PROMPTS, replace(DRAWN, seed=seed)))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [found[n] for n in range(6)] == alone


def test_more_sequences_than_an_engine_holds_take_turns() -> None:
    with toys(cells=(120, 120)) as (large, small):
        model = SpeculativeModel(large, small, gamma=4)
        prompts = [[n % 7, *[m % 7 for m in range(n, n + 12)]] for n in range(25)]
        speculated = model.generate(prompts, GREEDY)
        assert essence(speculated) == essence(large.generate(prompts, GREEDY))


def test_a_context_that_fills_up_ends_as_with_the_target_alone() -> None:
    long = replace(GREEDY, max_tokens=200)
    for cells in ((64, 64), (64, 40), (40, 64)):
        with toys(cells=cells) as (large, small):
            model = SpeculativeModel(large, small, gamma=5)
            for prompt in ([0] * 20, [0] * (cells[0] - 1), [0] * (cells[0] - 5)):
                assert essence(model.generate([prompt], long)) == essence(
                    large.generate([prompt], long)
                )


def test_a_stop_string_within_an_accepted_run_cuts_what_follows() -> None:
    with toys(draft=TARGET) as (large, small):
        model = SpeculativeModel(large, small, gamma=8)
        (whole,) = model.generate([[0]], GREEDY)
        stop = whole.text[3:5]
        position = whole.text.index(stop)
        (cut,) = model.generate([[0]], replace(GREEDY, stop=(stop,)))
        (kept,) = model.generate([[0]], replace(GREEDY, stop=(stop,), keep_stop=True))
    assert cut.finish_reason == kept.finish_reason == "stop"
    assert cut.text == whole.text[:position]
    assert kept.text.startswith(whole.text[: position + 2])
    assert whole.text.startswith(kept.text)


def test_an_end_of_text_is_proposed_and_accepted() -> None:
    def ends(tokens: list[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
        logits = np.zeros(len(ALPHABET), np.float32)
        logits[END if len(tokens) == 4 else 1] = 9.0
        return logits

    with toys(ends, ends) as (large, small):
        model = SpeculativeModel(large, small, gamma=8)
        (completion,) = model.generate([[0]], GREEDY)
    assert (completion.tokens, completion.finish_reason) == ([1, 1, 1], "eos")
    assert model.speculation == SpeculationStats(1, 4, 4, 4, 0)


# Cost


def test_a_round_computes_new_tokens_only() -> None:
    gamma, prompt = 3, list(range(7)) * 3
    with toys(draft=NEAR) as (large, small):
        model = SpeculativeModel(large, small, gamma=gamma)
        with run_scope(Scope()) as scope:
            (completion,) = model.generate([prompt], DRAWN)
        spent = scope.meter.totals()
        counts = model.speculation
    assert counts.num_rounds >= 5
    # the prompt once, and then what was proposed and one token more, which the target drew before
    verified_rows = counts.num_proposed + counts.num_rounds
    assert spent["large"].prompt_tokens == len(prompt) - 1 + verified_rows
    # of a round's tokens, the draft has not seen the target's own and its own last one
    assert spent["small"].prompt_tokens <= len(prompt) + 2 * (counts.num_rounds - 1)
    assert spent["small"].generated_tokens == counts.num_proposed
    assert spent["large"].generated_tokens == counts.num_accepted + counts.num_rounds
    assert completion.usage.generated_tokens == sum(u.generated_tokens for u in spent.values())
    total = sum(spent.values(), Usage())
    assert replace(completion.usage, seconds=0.0) == replace(total, seconds=0.0)
    assert completion.usage.seconds == pytest.approx(total.seconds)


def test_equal_prompts_are_computed_once_and_siblings_stay_apart() -> None:
    prompt = list(range(7)) * 4
    with toys(draft=FAR) as (large, small):
        model = SpeculativeModel(large, small, gamma=4)
        completions = model.generate([prompt] * 4, DRAWN)
        counts = model.speculation
        spent = large.stats().usage
    assert len({tuple(c.tokens) for c in completions}) == 4
    # those who agree share their rows still
    assert spent.prompt_tokens <= len(prompt) - 1 + counts.num_proposed + counts.num_rounds


def test_rejected_tails_do_not_stay_in_the_caches() -> None:
    with toys(draft=FAR) as (large, small):
        model = SpeculativeModel(large, small, gamma=6)
        (completion,) = model.generate([[0, 1, 2]], replace(DRAWN, max_tokens=60))
        assert model.speculation.num_rounds > 20
        for engine in (large, small):
            kept = 3 + len(completion.tokens)
            assert len(engine.context.cells) <= kept + 6 + 1


def test_what_else_is_in_the_caches_outlives_a_long_speculation() -> None:
    with toys(draft=FAR) as (large, small):
        model = SpeculativeModel(large, small, gamma=3)
        other = [6, 5, 4, 3, 2, 1, 0]
        large.generate([other], replace(GREEDY, max_tokens=1))
        model.generate([[0, 1, 2]] * 2, replace(DRAWN, max_tokens=80))
        (again,) = large.generate([other], replace(GREEDY, max_tokens=1))
    assert again.usage.cached_tokens == len(other) - 1


def test_proposals_to_a_stop_string_are_the_last_of_a_round() -> None:
    def newline(tokens: list[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
        logits = np.zeros(len(ALPHABET), np.float32)
        logits[ALPHABET.index("\n") if len(tokens) == 3 else 0] = 9.0
        return logits

    with toys(newline, newline) as (large, small):
        model = SpeculativeModel(large, small, gamma=9)
        model.generate([[1]], replace(GREEDY, stop=("\n",)))
    assert model.speculation.num_proposed == 3


def test_no_more_is_proposed_than_may_be_written() -> None:
    with toys(draft=TARGET) as (large, small):
        model = SpeculativeModel(large, small, gamma=16)
        (completion,) = model.generate([[0]], replace(GREEDY, max_tokens=5))
        assert (len(completion.tokens), model.speculation.num_proposed) == (5, 4)


def test_numbers_say_how_proposals_fared() -> None:
    assert SpeculationStats().acceptance_rate is None
    with toys(draft=TARGET) as (large, small):
        model = SpeculativeModel(large, small, gamma=4)
        model.generate([[0]], replace(GREEDY, max_tokens=10))
    assert model.speculation == SpeculationStats(2, 8, 8, 8, 0)
    assert model.speculation.acceptance_rate == 1.0
    with toys(draft=FAR) as (large, small):
        model = SpeculativeModel(large, small, gamma=4)
        model.generate(PROMPTS, DRAWN)
    counts = model.speculation
    assert counts.num_accepted < counts.num_judged < counts.num_proposed


# Stopping, refusing


class Slow:
    """A table that takes its time, and tells when it is first asked."""

    def __init__(self, model: Table) -> None:
        self.asked, self._model = threading.Event(), model

    def __call__(self, tokens: list[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
        self.asked.set()
        time.sleep(0.002)
        logits = self._model(tokens).copy()
        logits[END] = -50.0
        return logits


@pytest.mark.parametrize("is_draft", [True, False])
def test_a_cancelled_call_returns_what_there_is(is_draft: bool) -> None:
    slow, scope = Slow(TARGET), Scope()
    with toys(*((TARGET, slow) if is_draft else (slow, TARGET))) as (large, small):
        model = SpeculativeModel(large, small, gamma=4)
        timer = threading.Timer(0.2, scope.cancel.set)
        timer.start()
        with run_scope(scope):
            completions = model.generate([[0], [1]], replace(DRAWN, max_tokens=1900))
            reasons = {completion.finish_reason for completion in completions}
            assert reasons <= {"cancelled", "eos"}
            assert "cancelled" in reasons
            assert all(c.text == large.decode(c.tokens) for c in completions)
            again = model.generate([[0]], DRAWN)
        assert [(c.tokens, c.finish_reason) for c in again] == [([], "cancelled")]
        assert model.generate([[0]], GREEDY)[0].tokens


def test_a_deadline_ends_a_call() -> None:
    with toys(Slow(TARGET), Slow(NEAR)) as (large, small):
        model = SpeculativeModel(large, small, gamma=4)
        with run_scope(Scope(deadline=time.monotonic() + 0.2)):
            (completion,) = model.generate([[0]], replace(DRAWN, max_tokens=1900))
    assert completion.finish_reason == "deadline"
    assert completion.tokens


def test_a_pair_that_cannot_exchange_tokens_is_refused_by_name() -> None:
    with toys() as (large, _), ToyEngine("other", NEAR, fingerprint="signs") as other:
        with pytest.raises(ConfigError, match=r"other cannot propose tokens to large.*whole thou"):
            SpeculativeModel(large, other)
        for gamma in (0, 17):
            with pytest.raises(ConfigError, match=f"gamma must lie in 1..16, not {gamma}"):
                SpeculativeModel(large, large, gamma=gamma)


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_written() -> None:
    with toys(cells=(64, 64)) as (large, small):
        model = SpeculativeModel(large, small, gamma=2)
        for prompt in ([], [0] * 64):
            with pytest.raises(PromptTooLong, match="large"):
                model.generate([[0], prompt], GREEDY)
        assert small.stats().usage == Usage()
        assert model.generate([], GREEDY) == []


def test_closed_engines_say_so() -> None:
    with toys() as (large, small):
        model = SpeculativeModel(large, small, gamma=2)
        small.close()
        with pytest.raises(EngineClosed):
            model.generate([[0]], GREEDY)


def test_everything_that_reads_is_the_targets() -> None:
    with toys() as (large, small):
        speculative = SpeculativeModel(large, small)
        model: Model = speculative
        assert (model.name, model.vocabulary) == ("large", "letters")
        assert model.context_size == large.context_size
        assert model.decode(model.encode("ab c")) == "ab c"
        assert model.start_tokens() == []
        prompt = model.encode("abab")
        choices = [[0], [1, 2]]
        assert model.probs([prompt], choices) == large.probs([prompt], choices)
        assert model.readings([prompt], [2]) == large.readings([prompt], [2])
        with pytest.raises(ConfigError, match="large"):
            model.hidden([prompt])
        assert speculative.stats() == large.stats()
        assert small.stats().usage == Usage()


def test_proposals_survive_being_put_back_to_wait() -> None:
    config = EngineConfig(max_sequences=4, batch_tokens=16)
    with ToyEngine("small", table(9, end=-50.0), cells=40, config=config) as small:
        prompts = [[n] * 6 for n in range(4)]
        chances = [np.random.default_rng(n).random(12) for n in range(4)]
        params = [replace(DRAWN, max_tokens=12)] * 4

        def propose(indices: list[int]) -> list[list[int]]:
            ask = Propose([params[i] for i in indices], [chances[i] for i in indices])
            found: list[list[Proposal]] = small.propose([prompts[i] for i in indices], ask)[0]
            assert all(one.source.of(np.array([one.token]))[0] > 0 for row in found for one in row)
            return [[one.token for one in row] for row in found]

        assert propose([0, 1, 2, 3]) == [propose([n])[0] for n in range(4)]
