"""`forethought bench simulate`: SpecSearch on made-up thoughts, without any model."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from forethought.bench.costs import Machine
from forethought.bench.simulation import Outcome, simulate
from forethought.bench.thinking import Thinking
from forethought.cli.live import wide_console
from forethought.cli.options import HELP, config_from, config_options
from forethought.config import SearchConfig
from forethought.report import versions

_RULES = (
    "tree_width",
    "beam_width",
    "theta",
    "theta_estimator",
    "estimator_pool",
    "init_estimator",
    "ucb_c",
    "draft_multiplier",
    "refill",
    "extra_large_thoughts",
    "seed",
)
_THINKING = {
    "num_thoughts": "Thoughts of a solution.",
    "num_tokens": "Tokens of a thought, on average.",
    "question_tokens": "Tokens of the question.",
    "quality": "The target's expected quality at depth 1.",
    "decline": "By how much that falls at each further depth.",
    "least": "Where it stops falling.",
    "gap": "By how much the draft's expected quality is less.",
    "spread": "Standard deviation of quality.",
    "noise": "Standard deviation of the evaluator's error.",
    "resolution": "Scores are rounded to multiples of it; 0 is off.",
}
_MACHINE = {
    "draft_size": "The draft: billions of weights, gigabytes.",
    "target_size": "The target: billions of weights, gigabytes.",
    "evaluator_size": "The evaluator: billions of weights, gigabytes.",
    "bandwidth": "Of memory, in TB/s.",
    "compute": "In TFLOP/s.",
    "efficiency": "Share of both that is reached.",
    "overhead": "Milliseconds of a pass besides.",
    "draft_rows": "Most thoughts that the draft decodes in one pass.",
    "target_rows": "Most thoughts that the target decodes in one pass.",
    "rereads": "Whether the evaluator reads question and path again with each thought.",
    "token_acceptance": "Chance that the target accepts a token of the draft.",
    "gamma": "Tokens that the draft proposes at once.",
}


@click.command("simulate")
@click.option("--problems", type=click.IntRange(1), default=200, show_default=True)
@config_options(SearchConfig, {name: HELP[name] for name in _RULES})
@config_options(Thinking, _THINKING)
@config_options(Machine, _MACHINE)
def simulate_command(problems: int, **options: Any) -> None:
    """What the rules come to on thoughts of assumed quality and cost; docs/simulation.md."""
    thinking, machine = config_from(Thinking, options), config_from(Machine, options)
    config = config_from(SearchConfig, options)
    outcomes = simulate(thinking, machine, config, num_problems=problems)
    console = wide_console()
    console.print(_methods_table(outcomes))
    (drafting,) = (one for one in outcomes if one.method == "SpecSearch")
    console.print(_depths_table(drafting, thinking))
    document = {
        "outcomes": [asdict(one) | {"total_seconds": one.total_seconds} for one in outcomes],
        "thinking": asdict(thinking),
        "machine": asdict(machine),
        "rules": {name: getattr(config, name) for name in _RULES},
        "num_problems": problems,
        "versions": versions(),
    }
    click.echo(json.dumps(document))


def _methods_table(outcomes: list[Outcome]) -> Table:
    table = Table(box=SIMPLE_HEAD, title="seconds a problem")
    table.add_column("method")
    baselines = outcomes[:2]
    phases = list(outcomes[0].seconds)
    for column in ("total", *phases, *(f"vs {one.method}" for one in baselines), "quality"):
        table.add_column(column, justify="right")
    for one in outcomes:
        ratios = [baseline.total_seconds / one.total_seconds for baseline in baselines]
        times = [f"{seconds:.1f}" for seconds in (one.total_seconds, *one.seconds.values())]
        table.add_row(one.method, *times, *(f"{r:.2f}" for r in ratios), f"{one.mean_quality:.3f}")
    return table


def _depths_table(outcome: Outcome, thinking: Thinking) -> Table:
    table = Table(box=SIMPLE_HEAD, title=f"{outcome.method} by depth")
    columns = ("depth", "accepted", "drafted", "quality", "target's mean", "beta above it")
    for column in columns:
        table.add_column(column, justify="right")
    rows = zip(outcome.acceptance, outcome.drafted, outcome.quality, outcome.holds, strict=True)
    for depth, (acceptance, drafted, quality, holds) in enumerate(rows, 1):
        qualities = f"{quality:.3f}", f"{thinking.mean('target', depth):.3f}"
        table.add_row(str(depth), _share(acceptance), f"{drafted:.0%}", *qualities, _share(holds))
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
