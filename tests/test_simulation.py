"""The simulator: its rules against the graph's, its costs against counting, and what comes out."""

from __future__ import annotations

import json
import random
from dataclasses import fields, replace
from typing import Any

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_search import Pair, scores

from forethought.bench.costs import Machine
from forethought.bench.simulation import METHODS, Outcome, Step, search, simulate, step_seconds
from forethought.bench.thinking import Batch, Drawn, Thinking
from forethought.cli.main import run
from forethought.cli.simulate import simulate_command
from forethought.config import SearchConfig
from forethought.errors import ConfigError
from forethought.thoughts import Source

PAPER = SearchConfig(
    tree_width=6, beam_width=2, draft_multiplier=2, extra_large_thoughts=1, refill="width"
)
ONE_BY_ONE = Machine(target_rows=1, draft_rows=1)


# The rules, against the graph


class Table:
    """Thinkers whose scores stand in a table by model, depth and place in the batch, as those of a
    scripted pair do."""

    def __init__(self, table: dict[Source, dict[int, list[float]]], num_depths: int) -> None:
        self.num_depths = num_depths
        self._table = table
        self._written: dict[tuple[Source, int], int] = {}

    def write(self, source: Source, depth: int, count: int) -> Batch:
        start = self._written.get((source, depth), 0)
        self._written[source, depth] = start + count
        row = self._table[source][depth]
        found = [row[place % len(row)] for place in range(start, start + count)]
        return Batch(found, found, [1] * count)


def made_up(depths: int, seed: int) -> dict[Source, dict[int, list[float]]]:
    chance = random.Random(seed)

    def row() -> list[float]:
        return [round(chance.random(), 2) for _ in range(7)]  # no width divides 7

    return {
        "draft": {depth: row() for depth in range(1, depths + 1)},
        "target": {depth: row() for depth in range(1, depths + 1)},
    }


SETTINGS: list[dict[str, Any]] = [
    {"tree_width": 2, "beam_width": 1},
    {"tree_width": 1, "beam_width": 3},
    {"tree_width": 3, "beam_width": 2, "draft_multiplier": 2, "extra_large_thoughts": 1},
    {"tree_width": 4, "beam_width": 3, "theta_estimator": "max", "refill": "beam"},
    {"tree_width": 3, "beam_width": 2, "theta": 0.5, "estimator_pool": "large_plus_accepted"},
    {"tree_width": 3, "beam_width": 2, "policy": "never"},
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_simulated_search_does_what_the_graph_does(settings: dict[str, Any], seed: int) -> None:
    depths = 4
    table = made_up(depths, seed)
    pair = Pair(scores(table["draft"], ends=depths), scores(table["target"], ends=depths))
    done = pair.run(max_depth=depths, **settings)
    config = done.solution.config
    assert isinstance(config, SearchConfig)
    steps = list(search(Table(table, depths), config, drafts=config.policy == "ema"))
    assert done.solution.thresholds == {k + 1: step.next_beta for k, step in enumerate(steps, 1)}
    for depth, step in enumerate(steps, 1):
        drafts = done.thoughts(depth=depth, source="draft")
        kept = [t.score for t in drafts if t.status != "rejected"]
        assert sorted(t.score or 0.0 for t in drafts) == sorted(scores_of(step.drafts))
        assert sorted(s or 0.0 for s in kept) == sorted(scores_of(step.kept))
        revised = [t.score or 0.0 for t in done.thoughts(depth=depth, source="target")]
        assert sorted(revised) == sorted(scores_of(step.revised))


def scores_of(batches: list[Batch]) -> list[float]:
    return [score for batch in batches for score in batch.scores]


# Costs


def test_a_pass_takes_the_slower_of_reading_and_computing_and_its_overhead() -> None:
    machine = Machine(
        draft_size=(1.0, 2.0), bandwidth=1.0, compute=1.0, efficiency=0.5, overhead=3.0
    )
    assert machine.pass_seconds("draft", 1) == pytest.approx(0.003 + 0.002 / 0.5)
    assert machine.pass_seconds("draft", 10) == pytest.approx(0.003 + 0.020 / 0.5)


@given(st.lists(st.integers(1, 9), max_size=7), st.integers(1, 4))
def test_decoding_in_groups_is_the_sum_of_its_passes(lengths: list[int], rows: int) -> None:
    machine = replace(ONE_BY_ONE, target_rows=rows, overhead=0.0, compute=0.01)
    seconds = 0.0
    for start in range(0, len(lengths), rows):
        group = lengths[start : start + rows]
        for step in range(max(group)):
            seconds += machine.pass_seconds("target", sum(length > step for length in group))
    assert machine.decode_seconds("target", lengths) == pytest.approx(seconds)


@pytest.mark.parametrize(("chance", "gamma"), [(0.0, 5), (0.6, 3), (0.9, 8), (1.0, 4)])
def test_a_round_yields_the_accepted_proposals_and_one_token_of_the_target(
    chance: float, gamma: int
) -> None:
    drawn, total, rounds = random.Random(0), 0, 20_000
    for _ in range(rounds):
        accepted = 0
        while accepted < gamma and drawn.random() < chance:
            accepted += 1
        total += accepted + 1
    machine = Machine(token_acceptance=chance, gamma=gamma)
    assert machine.tokens_per_cycle == pytest.approx(total / rounds, rel=0.02)


def test_speculation_pays_for_its_proposals_and_for_their_verification() -> None:
    machine = replace(ONE_BY_ONE, token_acceptance=0.0, gamma=2)
    rounds = 10 * (2 * machine.pass_seconds("draft", 1) + machine.pass_seconds("target", 3))
    assert machine.decode_seconds("target", [10], speculates=True) == pytest.approx(rounds)


def test_an_evaluator_that_keeps_no_prefix_reads_it_with_every_thought() -> None:
    slow = replace(ONE_BY_ONE, overhead=0.0, compute=0.01)
    fast = replace(slow, rereads=False)
    assert slow.scoring_seconds([10, 20], num_before=100) == slow.pass_seconds("evaluator", 230)
    assert fast.scoring_seconds([10, 20], num_before=100) == slow.pass_seconds("evaluator", 30)
    assert slow.scoring_seconds([], num_before=100) == 0.0


def test_a_step_is_drafting_writing_and_two_scorings() -> None:
    drafts, revised = Batch([1, 1], [1, 1], [4, 2]), Batch([1], [1], [3])
    step = Step([drafts], [drafts], [revised], 0.5, 0.5)
    seconds = step_seconds(step, ONE_BY_ONE, num_before=50, speculates=False)
    assert seconds["draft"] == pytest.approx(6 * ONE_BY_ONE.pass_seconds("draft", 1))
    assert seconds["target"] == pytest.approx(3 * ONE_BY_ONE.pass_seconds("target", 1))
    scoring = [ONE_BY_ONE.pass_seconds("evaluator", tokens) for tokens in (106, 53)]
    assert seconds["score"] == pytest.approx(sum(scoring))


# Thoughts


def drawn(thinking: Thinking, source: Source, depth: int, count: int = 20_000) -> Batch:
    return Drawn(thinking, np.random.default_rng(1)).write(source, depth, count)


@pytest.mark.parametrize(("source", "depth", "mean"), [("target", 1, 0.8), ("draft", 3, 0.5)])
def test_thoughts_are_as_good_as_was_assumed(source: Source, depth: int, mean: float) -> None:
    batch = drawn(Thinking(quality=0.8, decline=0.1, gap=0.1, spread=0.2), source, depth)
    assert np.mean(batch.qualities) == pytest.approx(mean, abs=0.01)
    assert np.std(batch.qualities) == pytest.approx(0.2, abs=0.01)
    assert batch.scores == batch.qualities
    assert np.mean(batch.lengths) == pytest.approx(60.5, abs=1)  # rounded up


def test_quality_falls_no_lower_than_the_least() -> None:
    thinking = Thinking(quality=0.9, decline=0.3, least=0.5)
    means = [thinking.mean("target", depth) for depth in (1, 2, 3, 9)]
    assert means == pytest.approx([0.9, 0.6, 0.5, 0.5])


def test_an_evaluators_error_moves_scores_and_not_quality() -> None:
    batch = drawn(Thinking(noise=0.3, spread=0.0), "target", 1)
    assert set(batch.qualities) == {0.9}
    assert np.std(batch.scores) > 0.1
    assert 0 <= min(batch.scores) <= max(batch.scores) <= 1


def test_scores_are_rounded_to_the_resolution() -> None:
    found = drawn(Thinking(resolution=0.25), "target", 1).scores
    assert set(found) <= {0.0, 0.25, 0.5, 0.75, 1.0}


# What comes out


def outcomes(thinking: Thinking, config: SearchConfig = PAPER) -> dict[str, Outcome]:
    return {one.method: one for one in simulate(thinking, Machine(), config, num_problems=100)}


def spec_search(thinking: Thinking, config: SearchConfig = PAPER) -> Outcome:
    methods = [method for method in METHODS if method.name == "SpecSearch"]
    (found,) = simulate(thinking, Machine(), config, num_problems=100, methods=methods)
    return found


def test_the_same_seed_gives_the_same_outcome_and_another_one_another() -> None:
    first, again = spec_search(Thinking()), spec_search(Thinking())
    assert first == again
    assert spec_search(Thinking(), replace(PAPER, seed=1)) != first


def test_token_speculation_changes_the_time_and_not_the_thoughts() -> None:
    found = outcomes(Thinking())
    alone, faster = found["AR"], found["SpS"]
    assert faster.quality == alone.quality
    assert faster.seconds["target"] < alone.seconds["target"]
    assert faster.seconds["score"] == alone.seconds["score"]
    assert alone.seconds["draft"] == 0.0
    assert alone.acceptance == alone.holds == [None] * 10


def test_what_enters_the_tree_is_no_worse_than_the_targets_own_where_the_premise_holds() -> None:
    found = spec_search(Thinking(), replace(PAPER, theta_estimator="max"))
    assert all(share is None or share > 0.99 for share in found.holds)
    for depth, quality in enumerate(found.quality, 1):
        assert quality >= Thinking().mean("target", depth) - 0.015


def test_drafts_as_good_as_the_targets_are_accepted_more_often_than_worse_ones() -> None:
    means = []
    for gap in (0.0, 0.07, 0.2):
        shares = [share or 0.0 for share in spec_search(Thinking(gap=gap)).acceptance]
        means.append(sum(shares[1:]) / 9)
    assert means[0] > means[1] > means[2]


def test_a_steeper_decline_leaves_beta_above_the_drafts_and_accepts_fewer() -> None:
    flat, steep = (spec_search(Thinking(decline=d)) for d in (0.0, 0.04))
    assert (steep.acceptance[-1] or 0.0) < 0.5 * (flat.acceptance[-1] or 0.0)
    assert (steep.holds[-1] or 0.0) > (flat.holds[-1] or 0.0)


def test_an_evaluator_that_errs_costs_quality() -> None:
    right, wrong = (spec_search(Thinking(noise=noise)) for noise in (0.0, 0.5))
    assert wrong.mean_quality < right.mean_quality - 0.02


def test_perfect_drafts_leave_the_target_the_first_and_the_extra_thoughts() -> None:
    config = replace(PAPER, extra_large_thoughts=0, theta_estimator="mean")
    found = spec_search(Thinking(spread=0.0, decline=0.0, gap=-0.05), config)
    assert found.drafted == [0.0, *[1.0] * 9]
    assert found.acceptance == [None, *[0.5] * 9]  # N of 2N


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (Thinking, {"num_thoughts": 0}),
        (Thinking, {"quality": 1.1}),
        (Thinking, {"gap": 2.0}),
        (Thinking, {"noise": -0.1}),
        (Thinking, {"num_tokens": 0.5}),
        (Machine, {"draft_size": (0.0, 1.0)}),
        (Machine, {"bandwidth": 0.0}),
        (Machine, {"efficiency": 0.0}),
        (Machine, {"target_rows": 0}),
        (Machine, {"gamma": 0}),
        (Machine, {"token_acceptance": 1.5}),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(config: Any, settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ConfigError, match=name):
        config(**settings)


def test_no_problems_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_problems must be at least 1, not 0"):
        simulate(Thinking(), Machine(), PAPER, num_problems=0)


# On the command line


def test_the_command_prints_tables_and_ends_in_one_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--problems", "3", "--num-thoughts", "2", "--draft-size", "3", "2", "--no-rereads"]
    assert run(["bench", "simulate", *given, "--tree-width", "2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "SpecSearch without SpS" in out
    document = json.loads(out.splitlines()[-1])
    assert [one["method"] for one in document["outcomes"]] == [method.name for method in METHODS]
    assert document["thinking"]["num_thoughts"] == 2
    assert document["machine"]["draft_size"] == [3.0, 2.0]
    assert document["machine"]["rereads"] is False
    assert document["rules"]["tree_width"] == 2
    for one in document["outcomes"]:
        assert one["total_seconds"] == pytest.approx(sum(one["seconds"].values()))


def test_a_wrong_value_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "simulate", "--quality", "2"]) == 1
    assert capsys.readouterr().err == "forethought: quality must lie in 0.0..1.0, not 2.0\n"


@pytest.mark.parametrize("config", [Thinking, Machine])
def test_every_assumption_is_an_option_with_its_default_and_help(config: Any) -> None:
    options = {option.name: option for option in simulate_command.params}
    for field in fields(config):
        option = options[field.name]
        assert isinstance(option, click.Option)
        assert option.default == field.default
        assert (option.help or "").endswith(".")
