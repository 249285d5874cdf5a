"""SpecSearch's theory held against the rules that run: thoughts do not get worse (Theorem 4.3), and
beta stays above the target's falling mean as surely as our reconstruction of 4.5 and 4.6 says.

The reconstruction: let the n target scores of a depth be independent with mean mu and variance at
most s2, and the next depth's mean lower by at least d. If beta was at or above mu, then the next
beta is at or above the next mean with a chance of at least 1 - s2 / (s2 + n d^2) for the mean
(Cantelli), 1 - (s2 / (s2 + d^2))^n for the maximum, and over a whole run of the product.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from forethought.config import Estimator, SearchConfig
from forethought.nodes.rules import accepted, best, owed, threshold_pool
from forethought.nodes.thresholds import estimate, next_threshold

ESTIMATORS: tuple[Estimator, ...] = ("mean", "ucb", "max")
BOUNDED: tuple[Estimator, ...] = ("mean", "max")
score = st.floats(0, 1)
some_scores = st.lists(score, min_size=1, max_size=12)
widths = st.integers(1, 8)


def config(**settings: Any) -> SearchConfig:
    return SearchConfig(**settings)


# Theorem 4.3: what enters the tree is no worse than what the target alone would write


def owed_after(num_accepted: int, config: SearchConfig, num_finished: int = 0) -> int:
    """What the target owes a parent under the settings as they are."""
    (missing,) = owed([num_accepted], config, num_finished=num_finished)
    return missing + config.extra_large_thoughts


@dataclass(frozen=True)
class Node:
    """A parent whose drafts were held against a beta at or above the target's mean."""

    drafts: list[float]
    target_mean: float
    beta: float
    settings: SearchConfig

    @property
    def kept(self) -> list[float]:
        return [self.drafts[place] for place in accepted(self.drafts, self.beta, self.settings)]

    @property
    def owed(self) -> int:
        return owed_after(len(self.kept), self.settings)

    @property
    def expected_quality(self) -> float:
        """Of a thought drawn evenly from the drafts that stay and what the target will write."""
        return (sum(self.kept) + self.owed * self.target_mean) / (len(self.kept) + self.owed)


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    mean = draw(score)
    settings = config(
        tree_width=draw(widths),
        beam_width=draw(widths),
        refill=draw(st.sampled_from(("beam", "width"))),
        extra_large_thoughts=draw(st.integers(0, 2)),
    )
    beta = draw(st.floats(mean, 1))
    drafts = draw(st.lists(score | st.floats(beta, 1), max_size=16))
    return Node(drafts, mean, beta, settings)


@given(nodes())
def test_with_beta_at_or_above_the_targets_mean_thoughts_are_no_worse_than_the_targets(
    node: Node,
) -> None:
    assert len(node.kept) + node.owed > 0
    assert node.expected_quality >= node.target_mean - 1e-12


def test_with_beta_below_the_targets_mean_they_can_be_worse() -> None:
    node = Node([0.4, 0.4], target_mean=0.5, beta=0.3, settings=config(tree_width=2))
    assert node.expected_quality < 0.5


@given(nodes())
def test_no_kept_draft_is_below_beta_and_none_that_was_left_out_is_better(node: Node) -> None:
    assert all(value >= node.beta for value in node.kept)
    left = list(node.drafts)
    for value in node.kept:
        left.remove(value)
    if len(node.kept) < node.settings.tree_width:
        assert all(value < node.beta for value in left)
    else:
        assert all(value <= min(node.kept) for value in left)


@given(nodes())
def test_keeping_the_best_n_never_lowers_the_mean_of_what_is_accepted(node: Node) -> None:
    passing = [value for value in node.drafts if value >= node.beta]
    assume(passing)
    assert statistics.fmean(node.kept) >= statistics.fmean(passing) - 1e-12


@given(
    num_accepted=st.integers(0, 8),
    width=widths,
    open_places=widths,
    num_finished=st.integers(0, 3),
    extra=st.integers(0, 2),
)
def test_the_target_owes_what_is_missing_and_the_extra_ones(
    num_accepted: int, width: int, open_places: int, num_finished: int, extra: int
) -> None:
    settings = config(
        tree_width=width, beam_width=open_places + num_finished, extra_large_thoughts=extra
    )
    by_beam = owed_after(num_accepted, settings, num_finished)
    assert by_beam == max(0, min(width, open_places) - num_accepted) + extra
    by_width = owed_after(num_accepted, replace(settings, refill="width"), num_finished)
    assert by_width == max(0, width - num_accepted) + extra


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), widths, widths)
def test_replacements_are_counted_per_path_or_over_all_of_them(
    accepted: list[int], width: int, beam_width: int
) -> None:
    settings = config(tree_width=width, beam_width=beam_width)
    places = min(beam_width, width * len(accepted))
    shared = owed(accepted, settings)
    assert sum(shared) == max(0, places - sum(accepted))
    assert max(shared) - min(shared) <= 1
    by_width = owed(accepted, replace(settings, refill="width"))
    assert by_width == [max(0, width - count) for count in accepted]


def test_two_accepted_on_one_path_leave_nothing_to_replace_on_the_other() -> None:
    assert owed([2, 0], config(beam_width=2)) == [0, 0]
    assert owed([0, 1], config(beam_width=2)) == [1, 0]
    assert owed([0, 0, 0], config(beam_width=5), num_finished=1) == [2, 1, 1]


@given(st.lists(score, max_size=12), widths)
def test_the_best_are_the_first_of_a_sorted_list(values: list[float], count: int) -> None:
    assert [values[place] for place in best(values, count)] == sorted(values)[::-1][:count]
    assert len(set(best(values, count))) == min(count, len(values))


def test_of_equal_scores_the_earlier_one_is_better() -> None:
    assert best([0.5, 0.7, 0.7, 0.7], 2) == [1, 2]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_over_many_draws_the_mixture_does_not_fall_below_the_target(share: float) -> None:
    """`share` of the way from the target's mean to 1 lies beta; drafts are worse on average."""
    chance, settings = random.Random(3), config(tree_width=6, refill="width")
    target_mean, entered = 0.6, []
    for _ in range(2000):
        drafts = [chance.betavariate(2, 2) for _ in range(12)]
        node = Node(drafts, target_mean, target_mean + share * (1 - target_mean), settings)
        written = [chance.betavariate(3, 2) for _ in range(node.owed)]
        entered += [*node.kept, *written]
    assert statistics.fmean(entered) >= target_mean - 4 * 0.2 / math.sqrt(len(entered))


# The estimators and the moving average


@given(some_scores)
def test_the_bound_and_the_maximum_are_at_least_the_mean(values: list[float]) -> None:
    mean = estimate(values, "mean")
    assert min(values) - 1e-12 <= mean <= estimate(values, "max") + 1e-12
    assert estimate(values, "ucb") >= mean


@given(st.sampled_from(BOUNDED), some_scores, st.integers(0, 11), score)
def test_a_better_score_never_lowers_the_estimate(
    estimator: Estimator, values: list[float], place: int, better: float
) -> None:
    place %= len(values)
    assume(better >= values[place])
    raised = [*values[:place], better, *values[place + 1 :]]
    assert estimate(raised, estimator) >= estimate(values, estimator) - 1e-12


@given(st.sampled_from(ESTIMATORS), some_scores, st.randoms(use_true_random=False))
def test_an_estimate_does_not_depend_on_the_order_of_scores(
    estimator: Estimator, values: list[float], chance: random.Random
) -> None:
    shuffled = values.copy()
    chance.shuffle(shuffled)
    assert estimate(shuffled, estimator) == pytest.approx(estimate(values, estimator))


@given(st.sampled_from(ESTIMATORS), score, some_scores, score, score)
def test_beta_stays_above_the_next_mean_where_beta_and_the_estimate_are(
    estimator: Estimator, beta: float, values: list[float], theta: float, mean: float
) -> None:
    """Why the bounds on Theta are bounds on beta, whatever theta."""
    assume(mean <= min(beta, estimate(values, estimator)))
    after = next_threshold(beta, values, config(theta=theta, theta_estimator=estimator))
    assert after is not None
    assert after >= mean - 1e-12


@given(some_scores, some_scores)
def test_accepted_drafts_move_beta_only_by_choice(target: list[float], drafts: list[float]) -> None:
    assert threshold_pool(target, drafts, config()) == target
    both = threshold_pool(target, drafts, config(estimator_pool="large_plus_accepted"))
    assert sorted(both) == sorted(target + drafts)


# Theorems 4.5 and 4.6, reconstructed


def bound(estimator: Estimator, count: int, *, variance: float, drop: float) -> float:
    if estimator == "mean":
        return 1 - variance / (variance + count * drop**2)
    return 1 - (variance / (variance + drop**2)) ** count


@dataclass(frozen=True)
class TwoValued:
    """Scores that are `low` with chance `chance`, else `high`: of all distributions with this mean
    and variance those that fall short most often are of this kind."""

    low: float
    high: float
    chance: float

    @property
    def mean(self) -> float:
        return self.chance * self.low + (1 - self.chance) * self.high

    @property
    def variance(self) -> float:
        return self.chance * (1 - self.chance) * (self.high - self.low) ** 2

    def exactly(self, holds: Callable[[list[float]], bool], count: int) -> float:
        """The chance that `count` scores are such that `holds`, by adding up all cases."""
        total = 0.0
        for num_low in range(count + 1):
            scores = [self.low] * num_low + [self.high] * (count - num_low)
            ways = math.comb(count, num_low)
            share = ways * self.chance**num_low * (1 - self.chance) ** (count - num_low)
            total += share * holds(scores)
        return total


@st.composite
def two_valued(draw: st.DrawFn) -> TwoValued:
    low, high = sorted((draw(score), draw(score)))
    assume(high - low > 1e-3)
    return TwoValued(low, high, draw(st.floats(0.01, 0.99)))


def chance_to_hold(
    scores: TwoValued, estimator: Estimator, count: int, *, drop: float, theta: float = 0.0
) -> float:
    """That beta, once at the target's mean, is at or above it after it has fallen by `drop`."""
    settings = config(theta=theta, theta_estimator=estimator)

    def holds(values: list[float]) -> bool:
        beta = next_threshold(scores.mean, values, settings)
        return beta is not None and beta >= scores.mean - drop

    return scores.exactly(holds, count)


@given(
    scores=two_valued(),
    estimator=st.sampled_from(BOUNDED),
    count=st.integers(1, 8),
    drop=st.floats(1e-3, 0.5),
    theta=st.floats(0, 1),
)
@example(TwoValued(0.4, 0.8, 0.5), "max", 6, 0.05, 0.0)
@example(TwoValued(0.4, 0.8, 0.5), "mean", 6, 0.05, 0.9)
def test_beta_stays_above_a_falling_mean_as_surely_as_the_bound_says(
    scores: TwoValued, estimator: Estimator, count: int, drop: float, theta: float
) -> None:
    least = bound(estimator, count, variance=scores.variance, drop=drop)
    assert chance_to_hold(scores, estimator, count, drop=drop, theta=theta) >= least - 1e-9


@given(st.sampled_from(BOUNDED), st.floats(0.05, 0.3), st.floats(0.01, 0.09), st.integers(1, 6))
def test_no_better_bound_holds_for_one_score_nor_for_the_maximum(
    estimator: Estimator, drop: float, variance: float, count: int
) -> None:
    """The distribution for which Cantelli's inequality is an equation: what is low is just short of
    the next mean."""
    assume(estimator == "max" or count == 1)
    mean = 0.5
    worst = TwoValued(mean - drop, mean + variance / drop, variance / (variance + drop**2))
    held = chance_to_hold(worst, estimator, count, drop=drop - 1e-9)
    assert held == pytest.approx(bound(estimator, count, variance=variance, drop=drop), abs=1e-6)


@given(two_valued(), st.floats(1e-3, 0.5), st.integers(1, 7))
def test_with_the_maximum_one_more_score_never_makes_it_less_sure(
    scores: TwoValued, drop: float, count: int
) -> None:
    fewer, more = (chance_to_hold(scores, "max", n, drop=drop) for n in (count, count + 1))
    assert more >= fewer - 1e-12


@given(st.sampled_from(BOUNDED), st.floats(1e-3, 0.25), st.floats(1e-2, 0.5), st.integers(1, 50))
def test_the_bounds_grow_with_the_number_of_scores_towards_1(
    estimator: Estimator, variance: float, drop: float, count: int
) -> None:
    few, more = (bound(estimator, n, variance=variance, drop=drop) for n in (count, count + 1))
    assert few <= more
    assert bound(estimator, 10**7, variance=variance, drop=drop) > 0.99


# The same by simulation, for scores of other shapes and for whole runs

RUNS = 2000
SPREAD, DROP = 0.2, 0.05
Shape = Callable[[random.Random], float]
SHAPES: dict[str, Shape] = {  # of mean 0 and variance 1
    "uniform": lambda chance: chance.uniform(-math.sqrt(3), math.sqrt(3)),
    "normal": lambda chance: chance.gauss(0, 1),
    "long tail below": lambda chance: 1 - chance.expovariate(1),
    "long tail above": lambda chance: chance.expovariate(1) - 1,
}


def share_that_hold(
    shape: Shape, settings: SearchConfig, *, count: int, depths: int = 1, seed: int = 0
) -> float:
    """Of `RUNS` runs, those whose beta is at or above the target's mean at every depth."""
    chance, held = random.Random(seed), 0
    for _ in range(RUNS):
        mean = beta = 0.9
        holds = True
        for _ in range(depths):
            values = [mean + SPREAD * shape(chance) for _ in range(count)]
            after = next_threshold(beta, values, settings)
            assert after is not None
            mean, beta = mean - DROP, after
            holds = holds and beta >= mean
        held += holds
    return held / RUNS


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("theta", [0.0, 0.9])
@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("estimator", BOUNDED)
def test_the_bound_holds_whatever_the_shape_of_the_scores(
    estimator: Estimator, count: int, theta: float, shape: str
) -> None:
    settings = config(theta=theta, theta_estimator=estimator)
    least = bound(estimator, count, variance=SPREAD**2, drop=DROP)
    assert share_that_hold(SHAPES[shape], settings, count=count) >= least


@pytest.mark.parametrize("theta", [0.0, 0.9])
@pytest.mark.parametrize("estimator", BOUNDED)
def test_over_a_whole_run_the_bounds_multiply(estimator: Estimator, theta: float) -> None:
    settings, depths, count = config(theta=theta, theta_estimator=estimator), 4, 6
    least = bound(estimator, count, variance=SPREAD**2, drop=DROP) ** depths
    shape = SHAPES["uniform"]
    assert share_that_hold(shape, settings, count=count, depths=depths) >= least


@pytest.mark.parametrize("estimator", BOUNDED)
def test_more_scores_hold_the_mean_more_often(estimator: Estimator) -> None:
    settings = config(theta=0.0, theta_estimator=estimator)
    shares = [share_that_hold(SHAPES["normal"], settings, count=n) for n in (1, 3, 9, 27)]
    assert shares == sorted(shares)
    assert shares[-1] > shares[0] + 0.2


def test_a_longer_memory_holds_a_falling_mean_more_often() -> None:
    """Why the moving average is on the safe side: the past was better (Assumption 4.4)."""
    shares = [
        share_that_hold(SHAPES["normal"], config(theta=theta), count=3, depths=6)
        for theta in (0.0, 0.5, 0.9)
    ]
    assert shares[0] < shares[1] < shares[2]
