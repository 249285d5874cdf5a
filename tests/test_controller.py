"""The controller: expected seconds against hand-worked values, and what it decides."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest
from scripted_search import Pair, everywhere, scores

from forethought.config import SearchConfig
from forethought.nodes.controller import (
    Controller,
    Costs,
    Line,
    RunningLine,
    Step,
    beta_binomial,
    cheapest,
    expected_seconds,
    likeness,
)
from forethought.thoughts import Plan, Role

COSTS = Costs(drafted=Line(1.0, 0.5), scored=Line(0.5, 0.25), revised=Line(4.0, 1.0))
CONFIG = SearchConfig(tree_width=4, controller="on")
GIVEN = Plan(depth=2, num_drafts=4, num_large=0)


def step(
    acceptance: float, *, num_paths: int = 2, wanted: int = 2, is_shared: bool = False
) -> Step:
    """Accepted thoughts counted on each path, or over all."""
    return Step(num_paths, 1 if is_shared else num_paths, wanted, acceptance)


def test_chances_of_a_binomial() -> None:
    assert beta_binomial(2, 0.25) == pytest.approx([0.5625, 0.375, 0.0625])


@pytest.mark.parametrize("num", [0, 1, 4, 8])
@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("alike", [0.0, 0.4, 1.0])
def test_chances_add_up_and_have_their_mean(num: int, chance: float, alike: float) -> None:
    chances = beta_binomial(num, chance, alike)
    assert len(chances) == num + 1
    assert sum(chances) == pytest.approx(1.0)
    assert sum(k * p for k, p in enumerate(chances)) == pytest.approx(num * chance)


def test_drafts_that_fare_alike_are_all_accepted_or_none() -> None:
    assert beta_binomial(4, 0.3, 1.0) == pytest.approx([0.7, 0, 0, 0, 0.3])
    # two draws: P(both) = p (p + rho (1 - p))
    assert beta_binomial(2, 0.3, 0.5)[2] == pytest.approx(0.3 * (0.3 + 0.5 * 0.7))


def test_drafts_that_fare_alike_are_dearer() -> None:
    independent, alike = (replace(step(0.6), likeness=rho) for rho in (0.0, 0.8))
    assert expected_seconds(GIVEN, alike, COSTS) > expected_seconds(GIVEN, independent, COSTS)


def moments(shares: list[float], num: int) -> float:
    """The likeness of steps of `num` drafts with these shares accepted."""
    return likeness(len(shares), num * len(shares), sum(shares), sum(share**2 for share in shares))


def test_likeness_is_read_off_the_spread_between_steps() -> None:
    assert moments([0.0, 1.0] * 50, 4) == pytest.approx(1.0)
    assert moments([0.5] * 100, 4) == 0.0
    chance = random.Random(5)
    drawn = [sum(chance.random() < 0.6 for _ in range(8)) / 8 for _ in range(4000)]
    assert moments(drawn, 8) == pytest.approx(0.0, abs=0.03)
    rates = [chance.betavariate(0.6, 0.4) for _ in range(4000)]  # likeness 1 / (1 + 0.6 + 0.4)
    mixed = [sum(chance.random() < rate for _ in range(8)) / 8 for rate in rates]
    assert moments(mixed, 8) == pytest.approx(0.5, abs=0.04)


def test_of_too_little_nothing_is_read() -> None:
    assert likeness(0, 0, 0, 0) == likeness(1, 4, 0.5, 0.25) == likeness(9, 9, 5, 5) == 0.0
    assert moments([1.0] * 5, 4) == 0.0


def test_nothing_costs_nothing() -> None:
    assert Line(3.0, 1.0).seconds(0) == 0.0


def test_a_step_whose_drafts_all_stand_costs_drafting_and_scoring() -> None:
    # 8 drafts: 1 + 4 and 0.5 + 2
    assert expected_seconds(GIVEN, step(1.0), COSTS) == pytest.approx(7.5)


def test_a_step_whose_drafts_all_fail_costs_the_replacements_too() -> None:
    # and 4 replacements: 4 + 4 and 0.5 + 1
    assert expected_seconds(GIVEN, step(0.0), COSTS) == pytest.approx(7.5 + 9.5)


def test_one_draft_on_one_path_is_replaced_as_often_as_it_fails() -> None:
    plan = Plan(depth=1, num_drafts=1, num_large=0)
    # 1.5 + 0.75, and with the chance of 0.4 a call for one: 5 + 0.75
    expected = 2.25 + 0.4 * 5.75
    assert expected_seconds(plan, step(0.6, num_paths=1, wanted=1), COSTS) == pytest.approx(
        expected
    )


def test_thoughts_of_the_target_beside_the_replacements_are_always_paid_for() -> None:
    plan = Plan(depth=1, num_drafts=1, num_large=1)
    expected = 2.25 + COSTS.alone(1)
    assert expected_seconds(plan, step(1.0, num_paths=1, wanted=1), COSTS) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("is_shared", [False, True])
def test_expected_seconds_are_the_mean_over_all_outcomes(is_shared: bool) -> None:
    chance, num_drafts, wanted = 0.3, 3, 2
    total = 0.0
    for outcome in itertools.product((0, 1), repeat=2 * num_drafts):
        weight = chance ** sum(outcome) * (1 - chance) ** (len(outcome) - sum(outcome))
        paths = (outcome[:num_drafts], outcome[num_drafts:])
        pools = (outcome,) if is_shared else paths
        owed = sum(max(0, wanted - sum(pool)) for pool in pools)
        total += weight * (COSTS.drafted.seconds(6) + COSTS.scored.seconds(6) + COSTS.alone(owed))
    plan = Plan(depth=1, num_drafts=num_drafts, num_large=0)
    assert expected_seconds(plan, step(chance, is_shared=is_shared), COSTS) == pytest.approx(total)


def test_drafting_is_switched_off_where_it_loses() -> None:
    plan = cheapest(GIVEN, step(0.0), COSTS, CONFIG)
    assert plan.num_drafts == 0
    assert plan.seconds == plan.seconds_alone == COSTS.alone(8)


def test_the_settings_stand_where_drafting_pays() -> None:
    plan = cheapest(GIVEN, step(1.0), COSTS, CONFIG)
    assert (plan.num_drafts, plan.num_large) == (4, 0)
    assert plan.seconds == pytest.approx(7.5)
    assert plan.seconds_alone == pytest.approx(14.5)
    assert plan.acceptance == 1.0


@pytest.mark.parametrize("acceptance", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_every_plan_considers_at_least_n_thoughts_per_path(acceptance: float) -> None:
    for each in (0.01, 0.2, 1.0, 5.0):
        costs = Costs(Line(0.1, each), Line(0.1, 0.1), Line(1.0, 1.0))
        plan = cheapest(GIVEN, step(acceptance), costs, CONFIG)
        if plan.num_drafts:
            assert plan.num_drafts + plan.num_large >= CONFIG.tree_width
        assert plan.seconds is not None
        assert plan.seconds_alone is not None
        assert plan.seconds <= 1.02 * plan.seconds_alone, "never knowingly slower than alone"


def test_a_line_is_found_from_calls_of_different_sizes() -> None:
    running = RunningLine()
    for count in (1, 8, 3, 6, 2, 8, 5, 1) * 3:
        running.observe(count, 2.0 + 0.5 * count)
    line = running.line()
    assert line is not None
    assert line.seconds(4) == pytest.approx(4.0, rel=0.05)
    assert line.each == pytest.approx(0.5, rel=0.1)


def test_calls_of_one_size_are_taken_to_have_a_fixed_part() -> None:
    running = RunningLine()
    for _ in range(5):
        running.observe(8, 10.0)
    line = running.line()
    assert line is not None
    assert line.seconds(8) == pytest.approx(10.0, rel=0.05)
    assert line.fixed == pytest.approx(2.5, rel=0.05)


def test_a_line_forgets_what_was_long_ago() -> None:
    running = RunningLine()
    for seconds in [10.0] * 20 + [20.0] * 40:
        running.observe(8, seconds)
    line = running.line()
    assert line is not None
    assert line.seconds(8) == pytest.approx(20.0, rel=0.05)


def test_nothing_is_known_before_anything_was_seen() -> None:
    assert RunningLine().line() is None


def taught(*, draft: float, target: float, accepted: int, rounds: int = 30) -> Controller:
    controller = Controller()
    for _ in range(rounds):
        seconds: dict[Role, float] = {"drafted": draft, "scored": 0.1, "revised": target}
        for role, each in seconds.items():
            controller.observe(role, num_thoughts=8, seconds=each)
        controller.observe_acceptance(accepted, 8)
    return controller


def planned(controller: Controller) -> Plan:
    return controller.plan(GIVEN, num_paths=2, num_finished=0, config=CONFIG)


def test_the_settings_stand_while_costs_are_unknown() -> None:
    assert planned(Controller()) == GIVEN


def test_what_was_observed_decides() -> None:
    assert planned(taught(draft=1.0, target=10.0, accepted=8)).num_drafts > 0
    assert planned(taught(draft=8.0, target=10.0, accepted=0)).num_drafts == 0


def test_drafting_is_tried_again_now_and_then_and_comes_back_when_it_pays() -> None:
    controller = taught(draft=8.0, target=10.0, accepted=0)
    plans = [planned(controller) for _ in range(18)]
    tried = [number for number, plan in enumerate(plans) if plan.num_drafts]
    assert tried == [8, 17]
    for _ in range(30):
        controller.observe("drafted", num_thoughts=8, seconds=1.0)
        controller.observe_acceptance(8, 8)
    assert planned(controller).num_drafts > 0


def run(controller: str) -> Any:
    table = everywhere(0.9, depths=4)
    pair = Pair(scores(table, ends=3), scores(table, ends=3))
    return pair.run(controller=controller, min_agreement=0.0)


def test_decisions_stand_in_the_ledger() -> None:
    plans = run("on").solution.answer.ledger.plans
    assert [plan.depth for plan in plans] == [1, 2, 3]


def test_off_takes_the_settings_as_they_are() -> None:
    plans = run("off").solution.answer.ledger.plans
    assert all(plan.seconds is None for plan in plans)
    assert [plan.num_drafts for plan in plans] == [0, 2, 2]
