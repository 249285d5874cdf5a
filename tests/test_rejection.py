"""Speculative sampling: distributions as llama.cpp makes them, and the rule that accepts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from forethought.config import SamplingParams
from forethought.engine.distribution import Distribution, distribution_of
from forethought.engine.rejection import Proposal, Propose, verified

# chi-square by degrees of freedom that one run in 100,000 exceeds
_LIMITS = {1: 19.5, 2: 23.0, 3: 25.9, 4: 28.5, 5: 30.9, 6: 33.1}


def given(probs: dict[int, float]) -> Distribution:
    ids = sorted(probs)
    return Distribution(np.array(ids, np.int32), np.array([probs[one] for one in ids]))


def chi_square(tokens: list[int], expected: Distribution) -> tuple[float, int]:
    """The statistic and its degrees of freedom; every token must be possible."""
    assert set(tokens) <= set(expected.ids.tolist())
    counts = np.array([tokens.count(int(one)) for one in expected.ids])
    means = expected.probs * len(tokens)
    return float(((counts - means) ** 2 / means).sum()), len(means) - 1


PAIRS = [
    ({0: 0.5, 1: 0.3, 2: 0.2}, {0: 0.5, 1: 0.3, 2: 0.2}),
    ({0: 0.5, 1: 0.3, 2: 0.2}, {0: 0.2, 1: 0.3, 2: 0.5}),
    ({0: 0.9, 1: 0.05, 2: 0.05}, {0: 0.05, 1: 0.05, 2: 0.9}),
    ({0: 0.6, 1: 0.4}, {2: 0.7, 3: 0.3}),
    ({0: 0.6, 1: 0.4}, {1: 0.5, 2: 0.3, 3: 0.2}),
    ({1: 0.25, 2: 0.25, 3: 0.25, 5: 0.25}, {5: 1.0}),
    ({5: 1.0}, {1: 0.4, 3: 0.4, 5: 0.2}),
]


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_tokens_come_out_distributed_as_the_targets_own(
    p: dict[int, float], q: dict[int, float]
) -> None:
    target, source = given(p), given(q)
    chance = np.random.default_rng(5)
    drawn = []
    for _ in range(8_000):
        proposal = Proposal(source.draw(chance.random()), source)
        drawn.append(verified(target, proposal, chance.random(2)))
    statistic, freedom = chi_square(drawn, target)
    assert statistic <= _LIMITS.get(freedom, 0.0)


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_a_proposal_is_accepted_as_often_as_the_distributions_overlap(
    p: dict[int, float], q: dict[int, float]
) -> None:
    target, source = given(p), given(q)
    chance, accepted, count = np.random.default_rng(6), 0, 8_000
    for _ in range(count):
        proposal = Proposal(source.draw(chance.random()), source)
        accepted += verified(target, proposal, chance.random(2)) == proposal.token
    overlap = sum(min(p.get(one, 0), q.get(one, 0)) for one in {*p, *q})
    assert abs(accepted / count - overlap) <= 4.5 * math.sqrt(overlap * (1 - overlap) / count)


def test_accepting_always_would_fail_these_tests() -> None:
    target, source = given({0: 0.5, 1: 0.3, 2: 0.2}), given({0: 0.45, 1: 0.33, 2: 0.22})
    chance = np.random.default_rng(5)
    statistic, freedom = chi_square([source.draw(chance.random()) for _ in range(8_000)], target)
    assert statistic > _LIMITS[freedom]


def test_without_a_proposal_the_target_draws() -> None:
    target = given({0: 0.5, 3: 0.3, 4: 0.2})
    chance = np.random.default_rng(1)
    drawn = [verified(target, None, chance.random(2)) for _ in range(8_000)]
    statistic, freedom = chi_square(drawn, target)
    assert statistic <= _LIMITS[freedom]


def test_at_temperature_0_a_proposal_stands_where_the_target_would_have_chosen_it() -> None:
    for best, proposed in itertools.product(range(3), repeat=2):
        target, source = given({best: 1.0}), given({proposed: 1.0})
        for chances in ((0.0, 0.0), (0.999, 0.999)):
            assert verified(target, Proposal(proposed, source), np.array(chances)) == best


def test_a_rejected_proposal_is_never_drawn_again() -> None:
    target, source = given({0: 0.2, 1: 0.8}), given({0: 0.8, 1: 0.2})
    for draw in np.linspace(0, 1, 50, endpoint=False):
        assert verified(target, Proposal(0, source), np.array([0.25, draw])) == 1
        assert verified(target, Proposal(0, source), np.array([0.2499, draw])) == 0


def test_what_a_distribution_gives_more_than_its_equal_is_itself() -> None:
    p = given({0: 0.5, 3: 0.5})
    assert p.beyond(p) is p
    assert p.beyond(given({0: 0.25, 1: 0.75})).probs.tolist() == [1 / 3, 2 / 3]
    assert p.of(np.array([0, 1, 3, 9], np.int32)).tolist() == [0.5, 0.0, 0.5, 0.0]


def test_every_chance_draws_a_token_that_is_possible() -> None:
    p = given({2: 0.25, 4: 0.5, 9: 0.25})
    chances = (0.0, 0.2499, 0.25, 0.7499, 0.75, float(np.nextafter(1, 0)))
    assert [p.draw(chance) for chance in chances] == [2, 2, 4, 4, 9, 9]


# Filters, against plain ones


def filtered(logits: NDArray[np.float32], params: SamplingParams) -> dict[int, float]:
    """Top-k, top-p, min-p, then temperature, one after the other, the obvious way."""
    order = sorted(range(len(logits)), key=lambda token: -logits[token])
    if params.top_k:
        order = order[: params.top_k]
    weights = [math.exp(logits[token] - logits[order[0]]) for token in order]
    if params.top_p < 1:
        sums = list(itertools.accumulate(weights))
        order = order[: 1 + sum(one < params.top_p * sums[-1] for one in sums[:-1])]
    if params.min_p:
        order = [t for t, w in zip(order, weights, strict=False) if w >= params.min_p]
    scaled = [math.exp((logits[t] - logits[order[0]]) / params.temperature) for t in order]
    return {t: w / sum(scaled) for t, w in zip(order, scaled, strict=True)}


@pytest.mark.parametrize("size", [7, 3000])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.3},
        {"temperature": 1.7},
        {"top_k": 5},
        {"top_k": 40, "top_p": 0.9},
        {"top_p": 0.8, "temperature": 0.7},
        {"min_p": 0.1, "temperature": 1.3},
        {"top_k": 40, "top_p": 0.95, "min_p": 0.05, "temperature": 0.7},
        {"top_p": 0.0},
    ],
)
def test_the_distribution_is_that_of_llama_cpps_filters(
    size: int, settings: dict[str, float]
) -> None:
    params = SamplingParams(**({"temperature": 1.0} | settings))  # type: ignore[arg-type]
    for seed in range(5):
        logits = np.random.default_rng(seed).normal(0, 3, size).astype(np.float32)
        found, expected = distribution_of(logits, params), filtered(logits, params)
        assert found.ids.tolist() == sorted(expected)
        assert found.probs == pytest.approx([expected[t] for t in sorted(expected)], rel=1e-4)
        assert float(found.probs.sum()) == pytest.approx(1.0)


def test_temperature_0_leaves_the_first_of_the_likeliest() -> None:
    logits = np.array([0.0, 3.0, 3.0, 1.0], np.float32)
    found = distribution_of(logits, SamplingParams(temperature=0.0, top_k=3))
    assert (found.ids.tolist(), found.probs.tolist()) == ([1], [1.0])


def test_a_draft_tells_the_distribution_that_it_drew_from() -> None:
    logits = np.array([0.0, 1.0, 2.0], np.float32)
    ask = Propose([SamplingParams(temperature=1.0)], [np.array([0.01, 0.99])])
    first, second = (ask.proposal(logits, 0, number) for number in range(2))
    assert (first.token, second.token) == (0, 2)
    assert first.source.probs == pytest.approx(np.exp(logits) / np.exp(logits).sum())
