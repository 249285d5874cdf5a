"""Token-level speculation: against the target alone, on tables and on real weights."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import variant
from numpy.typing import NDArray
from toy_engine import ALPHABET, END, Table, ToyEngine, ToySampler, table

from forethought.cli.opening import Opened, speculating_target
from forethought.config import EngineConfig, SamplingParams
from forethought.engine import Engine, SpeculationStats, SpeculativeModel
from forethought.engine.continuation import Continuation
from forethought.engine.distribution import distribution_of
from forethought.engine.rejection import Proposal, Propose
from forethought.errors import ConfigError, EngineClosed, PromptTooLong
from forethought.evaluators.registry import Parts
from forethought.model import Completion, Model, Scope, Usage, run_scope
from forethought.prompts import MATH

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
            opened.enter_context(closing(ToyEngine("large", target, cells=cells[0]))),
            opened.enter_context(closing(ToyEngine("small", draft, cells=cells[1]))),
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


def test_a_continuation_goes_on_with_its_own_draws_wherever_it_stands() -> None:
    with toys() as (large, _):
        first, second = large.generate([[0], [0]], DRAWN)
        assert first.tokens != second.tokens
        (alone,) = large.go_on([[0]], DRAWN, [Continuation(index=1)])
        assert alone.tokens == second.tokens
        (begun,) = large.go_on([[0]], GREEDY, [Continuation(0, [1, 2], b"b\n")])
        (whole,) = large.generate([[0, 1, 2]], replace(GREEDY, max_tokens=28))
    assert begun.tokens == [1, 2, *whole.tokens]
    assert begun.text == "b\n" + whole.text


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
    def ends(tokens: list[int]) -> NDArray[np.float32]:
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
    def newline(tokens: list[int]) -> NDArray[np.float32]:
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


ENDLESS = table(1, end=-50.0)


def slow(*engines: ToyEngine) -> None:
    for engine in engines:
        engine.context.seconds = 0.004


@pytest.mark.parametrize("gamma", [4, None])
def test_a_cancelled_call_returns_what_there_is(gamma: int | None) -> None:
    scope = Scope()
    with toys(ENDLESS) as (large, small):
        slow(large, small)
        model = SpeculativeModel(large, small, gamma=gamma)
        threading.Timer(0.2, scope.cancel.set).start()
        with run_scope(scope):
            completions = model.generate([[0], [1]], replace(DRAWN, max_tokens=1900))
            again = model.generate([[0]], DRAWN)
        assert [completion.finish_reason for completion in completions] == ["cancelled"] * 2
        assert all(c.tokens and c.text == large.decode(c.tokens) for c in completions)
        assert [(c.tokens, c.finish_reason) for c in again] == [([], "cancelled")]
        assert model.generate([[0]], GREEDY)[0].tokens


def test_a_deadline_ends_a_call() -> None:
    with toys(ENDLESS) as (large, small):
        slow(large, small)
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


def test_the_option_gamma_makes_a_target_that_speculates() -> None:
    with toys() as (large, small):
        opened = Opened({"draft": small, "target": large}, Parts(small, large, MATH))
        assert speculating_target(opened, "0") is large
        for gamma, proposed in (("2", 2), ("auto", 4)):
            model = speculating_target(opened, gamma)
            assert isinstance(model, SpeculativeModel)
            model.generate([[0]], replace(GREEDY, max_tokens=proposed + 1))
            assert model.speculation.num_proposed >= proposed
        assert {one.name for one in (model, large)} == {"large"}


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


# Adaptive gamma


@pytest.fixture
def _toys_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the toys' decodes take time, so that a busy machine decides nothing."""
    now = 0.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("toy_engine.time", SimpleNamespace(sleep=pass_time))
    monkeypatch.setattr("forethought.engine.rounds.time", SimpleNamespace(perf_counter=lambda: now))


@pytest.mark.usefixtures("_toys_time")
def test_adaptive_speculation_that_cannot_win_ends_in_plain_decoding() -> None:
    with toys(TARGET, FAR) as (large, small):
        slow(large, small)
        model = SpeculativeModel(large, small)
        for _ in range(3):
            model.generate(PROMPTS, replace(DRAWN, max_tokens=40))
        proposed = model.speculation.num_proposed
        model.generate(PROMPTS, replace(DRAWN, max_tokens=40))
    assert model.speculation.num_proposed == proposed
    assert model.speculation.num_plain > 100


@pytest.mark.usefixtures("_toys_time")
def test_adaptive_speculation_that_wins_goes_on() -> None:
    with toys(ENDLESS, ENDLESS) as (large, small):
        slow(large)
        model = SpeculativeModel(large, small)
        for _ in range(3):
            model.generate([[0]], replace(GREEDY, max_tokens=40))
        before = model.speculation
        model.generate([[0]], replace(GREEDY, max_tokens=40))
        counts = model.speculation
    assert counts.num_plain == before.num_plain
    assert counts.num_accepted > before.num_accepted + 20


# Real weights


# the order of a cache's cells moves the rounding, more so where they are of half precision
EXACT = EngineConfig(context_size=2048, kv_type="f32")


@pytest.fixture(scope="module")
def engines(smollm_path: Path) -> Iterator[tuple[Engine, Engine, Engine]]:
    """SmolLM2 as Q8_0 twice, and as Q4_0."""
    config = replace(EXACT, max_sequences=64, threads=1)
    paths = [variant("smollm2-135m", quant) for quant in ("q8_0", "q8_0", "q4_0")]
    with ExitStack() as opened:
        first, second, third = (opened.enter_context(Engine(path, config=config)) for path in paths)
        yield first, second, third


QUESTIONS = [
    "Tom has 3 apples and buys 4 more. How many has he?",
    "Name three colours of the rainbow.",
    "Why is the sky blue?",
]


def chats(engine: Engine) -> list[list[int]]:
    return [engine.chat([{"role": "user", "content": question}]) for question in QUESTIONS]


@pytest.mark.weights
def test_equal_weights_write_the_targets_text_and_accept_nearly_all(
    engines: tuple[Engine, Engine, Engine],
) -> None:
    target, same, _ = engines
    params = SamplingParams(temperature=0.0, max_tokens=32)
    alone = target.generate(chats(target), params)
    model = SpeculativeModel(target, same, gamma=4)
    assert essence(model.generate(chats(target), params)) == essence(alone)
    counts = model.speculation
    assert counts.num_accepted > 0.95 * counts.num_judged > 0


@pytest.mark.weights
def test_a_coarser_copy_proposes_and_the_target_still_writes_what_is_likeliest(
    engines: tuple[Engine, Engine, Engine],
) -> None:
    target, _, coarser = engines
    model = SpeculativeModel(target, coarser, gamma=4)
    prompts = chats(target)
    completions = model.generate(prompts, SamplingParams(temperature=0.0, max_tokens=24))
    everything = [[token] for token in range(target._vocabulary.size)]
    for prompt, completion in zip(prompts, completions, strict=True):
        starts = [prompt + completion.tokens[:n] for n in range(len(completion.tokens))]
        rows = target.probs(starts, everything)
        for row, token in zip(rows, completion.tokens, strict=True):
            assert row[token] > 0.7 * max(row)  # near ties may turn
    assert 0.4 < (model.speculation.acceptance_rate or 0.0) < 1


@pytest.mark.weights
def test_real_text_stops_within_an_accepted_run(engines: tuple[Engine, Engine, Engine]) -> None:
    target, same, _ = engines
    (prompt,) = chats(target)[:1]
    params = SamplingParams(temperature=0.0, max_tokens=32)
    (whole,) = target.generate([prompt], params)
    stop = whole.text[20:23]
    for keeps in (False, True):
        stopping = replace(params, stop=(stop,), keep_stop=keeps)
        model = SpeculativeModel(target, same, gamma=16)
        (cut,) = model.generate([prompt], stopping)
        assert essence([cut]) == essence(target.generate([prompt], stopping))
        assert cut.finish_reason == "stop"
        assert len(cut.tokens) <= model.speculation.num_accepted


@pytest.mark.weights
def test_two_real_tokens_are_distributed_as_plain_sampling_distributes_them(
    engines: tuple[Engine, Engine, Engine],
) -> None:
    target, _, coarser = engines
    prompt = target.chat([{"role": "user", "content": QUESTIONS[1]}])
    params = SamplingParams(temperature=1.3, top_k=12, top_p=0.95, max_tokens=2)
    model = SpeculativeModel(target, coarser, gamma=1)
    draws = {True: Counter[tuple[int, ...]](), False: Counter[tuple[int, ...]]()}
    for seed in range(8):
        drawing = replace(params, seed=seed)
        draws[True].update(tuple(c.tokens) for c in model.generate([prompt] * 250, drawing))
        draws[False].update(tuple(c.tokens) for c in target.generate([prompt] * 250, drawing))
    both = draws[True] + draws[False]
    cells = [text for text, count in both.items() if count >= 20]
    assert len(cells) >= 8
    # two samples of equal size: each cell's squared difference over its sum
    statistic = sum((draws[True][t] - draws[False][t]) ** 2 / both[t] for t in cells)
    assert statistic <= len(cells) + 4 * (2 * len(cells)) ** 0.5
    assert model.speculation.num_accepted < model.speculation.num_judged


@pytest.mark.weights
def test_a_real_call_is_cancelled_within_a_round(engines: tuple[Engine, Engine, Engine]) -> None:
    target, same, _ = engines
    model, scope = SpeculativeModel(target, same, gamma=4), Scope()
    threading.Timer(0.5, scope.cancel.set).start()
    started = time.monotonic()
    with run_scope(scope):
        params = SamplingParams(temperature=1.0, max_tokens=1500)
        completions = model.generate(chats(target) * 2, params)
    assert time.monotonic() - started < 10
    assert "cancelled" in {c.finish_reason for c in completions}
    assert model.generate(chats(target)[:1], replace(GREEDY, max_tokens=8))[0].tokens


@pytest.mark.pair
def test_the_pairs_greedy_text_is_the_targets() -> None:
    paths = [variant(f"qwen2.5-coder-{size}", "q4_0") for size in ("1.5b", "0.5b")]
    with Engine(paths[0], config=EXACT) as target, Engine(paths[1], config=EXACT) as draft:
        prompts = chats(target)[:2]
        params = SamplingParams(temperature=0.0, max_tokens=48)
        alone = target.generate(prompts, params)
        model = SpeculativeModel(target, draft, gamma=4)
        assert essence(model.generate(prompts, params)) == essence(alone)
    assert model.speculation.num_accepted > 10
