"""Intervals and ratios against values worked out by hand, and the bound against its identity."""

from __future__ import annotations

import itertools
import math
from dataclasses import astuple, replace

import numpy as np
import pytest

from forethought.bench.bound import Spent, bound
from forethought.bench.statistics import quantile, ratio_interval, ratio_of_sums, wilson
from forethought.errors import ConfigError

# Intervals


@pytest.mark.parametrize(
    ("right", "num", "low", "high"),
    [  # z = 1.95996; (p + z2/2n -+ z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n)
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_the_wilson_interval_is_as_worked_out(
    right: int, num: int, low: float, high: float
) -> None:
    assert wilson(right, num) == pytest.approx((low, high), abs=5e-5)


def test_the_wilson_interval_solves_its_own_quadratic() -> None:
    z = 1.959963984540054
    for right, num in ((3, 7), (19, 20), (1, 200)):
        for end in wilson(right, num):
            assert abs(right / num - end) == pytest.approx(z * math.sqrt(end * (1 - end) / num))


@pytest.mark.parametrize(("right", "num"), [(0, 0), (3, 2), (-1, 2)])
def test_a_share_of_nothing_or_more_than_all_is_refused(right: int, num: int) -> None:
    with pytest.raises(ConfigError, match="num"):
        wilson(right, num)


def test_a_ratio_is_of_the_sums_and_not_the_mean_of_ratios() -> None:
    ratio = ratio_of_sums([10.0, 90.0], [10.0, 30.0])
    assert ratio.value == 2.5  # the mean of 1 and 3 is 2
    assert ratio.num_pairs == 2
    assert ratio.interval == (1.0, 3.0)  # a quarter of the draws is one pair twice


def test_pairs_that_agree_leave_no_doubt() -> None:
    assert ratio_of_sums([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).interval == pytest.approx((2.0, 2.0))


def test_one_pair_has_no_interval() -> None:
    assert ratio_of_sums([3.0], [2.0]).interval is None


def test_the_bootstrap_agrees_with_all_draws_of_three_pairs() -> None:
    above, below = np.array([3.0, 8.0, 4.0]), np.array([2.0, 3.0, 4.0])
    draws = [list(places) for places in itertools.product(range(3), repeat=3)]
    exact = [above[places].sum() / below[places].sum() for places in draws]
    # of 27 equal draws, 2.5 per cent is less than one: the ends are the extremes
    assert ratio_interval(above.tolist(), below.tolist()) == pytest.approx((min(exact), max(exact)))


def test_the_bootstrap_covers_as_often_as_it_says() -> None:
    draw = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        below = draw.uniform(1, 3, 40)
        interval = ratio_interval((below * 2 + draw.normal(0, 0.5, 40)).tolist(), below.tolist())
        assert interval is not None
        hits += interval[0] <= 2.0 <= interval[1]
    assert 0.88 <= hits / 200 <= 0.99


def test_the_same_runs_give_the_same_interval() -> None:
    above, below = [1.0, 5.0, 2.0, 7.0], [2.0, 2.0, 3.0, 3.0]
    assert ratio_of_sums(above, below) == ratio_of_sums(above, below)


@pytest.mark.parametrize(
    ("above", "below"), [([], []), ([1.0], [1.0, 2.0]), ([1.0, 1.0], [1.0, 0.0])]
)
def test_what_is_no_ratio_is_refused(above: list[float], below: list[float]) -> None:
    with pytest.raises(ConfigError):
        ratio_of_sums(above, below)


def test_quantiles_are_interpolated() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert quantile([10.0, 0.0], 0.9) == pytest.approx(9.0)
    assert quantile([7.0], 0.9) == 7.0
    with pytest.raises(ConfigError, match="no values"):
        quantile([], 0.5)
    with pytest.raises(ConfigError, match="share"):
        quantile([1.0], 1.5)


# The bound: the target alone writes 1000 tokens in 50 s and scores them in 10 s, 62 s by the clock

ALONE = Spent(kept=0, rejected=0, revised=1000, drafting=0.0, scoring=10.0, writing=50.0, wall=62.0)
# 1000 tokens drafted at 10 ms, a fifth of them in vain; the target writes 100 at 80 ms
METHOD = Spent(
    kept=800, rejected=200, revised=100, drafting=10.0, scoring=22.0, writing=8.0, wall=41.0
)


def test_the_bound_is_as_worked_out() -> None:
    found = bound(METHOD, ALONE)
    assert found is not None
    assert found.ideal == 10.0  # 1000 tokens at 10 ms
    assert found.speed_up == pytest.approx(6.2)
    assert found.measured == pytest.approx(62 / 41)
    assert found.reached == pytest.approx(10 / 41)
    assert found.acceptance == 0.8
    prices = found.prices
    assert astuple(prices) == pytest.approx((0.01, 0.05, 0.08, 0.02, 0.01))
    losses = found.losses
    assert losses.tree == pytest.approx(-1.0)  # 900 tokens in the tree instead of 1000
    assert losses.waste == pytest.approx(2.0)
    assert losses.scoring == 22.0
    assert losses.corrections == pytest.approx(4.0)  # 100 tokens at 50 - 10 ms
    assert losses.batches == pytest.approx(3.0)  # 100 tokens at 80 - 50 ms
    assert losses.overhead == pytest.approx(1.0)


def test_the_losses_add_up_to_the_time_whatever_was_spent() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        counts = [int(n) for n in draw.integers(0, 900, 3)]
        seconds = [float(s) for s in draw.uniform(0.1, 40, 4)]
        method = Spent(counts[0], counts[1] + 1, counts[2], *seconds)
        found = bound(method, ALONE)
        assert found is not None
        assert found.ideal + sum(astuple(found.losses)) == pytest.approx(method.wall)
        assert found.reached * found.speed_up == pytest.approx(found.measured)


def test_a_search_that_is_all_draft_and_free_decisions_reaches_its_bound() -> None:
    perfect = Spent(
        kept=1000, rejected=0, revised=0, drafting=10.0, scoring=0.0, writing=0.0, wall=10.0
    )
    found = bound(perfect, ALONE)
    assert found is not None
    assert found.reached == 1.0
    assert astuple(found.losses) == (0.0,) * 6
    assert found.prices.revised is None


def test_breaking_even_makes_the_prices_equal() -> None:
    found = bound(METHOD, ALONE)
    assert found is not None
    prices, share = found.prices, found.prices.break_even()
    assert prices.revised is not None
    spent = prices.draft + prices.scored + (1 - share) * (prices.revised + prices.scored)
    assert spent == pytest.approx(prices.target + prices.scored_alone)
    assert share == pytest.approx(0.7)  # 60 - 30 ms saved of the 100 ms of a token written anew


def test_a_draft_as_dear_as_the_target_cannot_pay() -> None:
    found = bound(replace(METHOD, drafting=50.0, wall=81.0), ALONE)
    assert found is not None
    assert found.prices.break_even() > 1.0


@pytest.mark.parametrize(
    ("method", "alone"),
    [
        (ALONE, ALONE),
        (METHOD, replace(ALONE, revised=0)),
        (replace(METHOD, drafting=0.0), ALONE),
    ],
)
def test_without_drafts_or_a_baseline_there_is_no_bound(method: Spent, alone: Spent) -> None:
    assert bound(method, alone) is None


def test_negative_seconds_are_refused() -> None:
    with pytest.raises(ConfigError, match="scoring must be at least 0, not -1"):
        replace(METHOD, scoring=-1.0)
