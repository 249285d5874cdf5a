"""`forethought calibrate`: settings of a graph fitted on problems with answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from forethought.bench.problems import read_problems
from forethought.bench.selection_bias import (
    SelectionBias,
    cross_validated,
    fit_bias,
    rates,
)
from forethought.bench.selections import Selected, SelectionTrial, try_selection
from forethought.cli.graphs import adapter_options, check_adapters
from forethought.cli.live import wide_console
from forethought.cli.opening import PAIR, adapted, model_options, open_models, progress_bars
from forethought.cli.options import config_from, config_options
from forethought.config import require
from forethought.config_cot import CotConfig
from forethought.nodes import Selector

_NEW_FILE = click.Path(path_type=Path, dir_okay=False)
_HELP: Final = {
    "num_chains": "Chains that the draft writes.",
    "draft_tokens": "Most tokens of a chain.",
    "temperature": "Sampling temperature of the draft.",
    "seed": "Fixes every draw, and the order of the problems.",
}


@click.group()
def calibrate() -> None:
    """Fit settings of a graph on your own problems."""


@calibrate.command("scot")
@click.option("--data", "source", required=True, help="JSON Lines of problems, hf:NAME, gym:NAME.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Questions.")
@click.option("--kept", type=_NEW_FILE, help="What was measured; default: beside --out.")
@click.option("--out", type=_NEW_FILE, required=True, help="The calibration, as JSON.")
@adapter_options
@config_options(CotConfig, _HELP)
@model_options
def scot(source: str, out: Path, **options: Any) -> None:
    """Fit how readily the target says that all drafted chains are wrong.

    Chains are drafted, read and graded first; that goes on where it was cut off.
    """
    kept: Path = options["kept"] or out.with_suffix(".jsonl")
    for file in (out, kept):
        require(file.parent.is_dir(), f"there is no folder {file.parent} to keep {file.name} in")
    require(kept != out, f"--kept and --out are both {out}: give two files")
    check_adapters(options)
    config: CotConfig = config_from(CotConfig, options)
    problems = read_problems(source, limit=options["limit"], seed=config.seed)
    with open_models(PAIR, options) as opened, progress_bars() as start:
        selector = Selector(adapted(opened, "target", options["selector_adapter"]))
        selector.numbers(config.num_chains + 1)
        drafting = adapted(opened, "draft", options["draft_adapter"])
        trial = SelectionTrial(drafting, selector, config)
        records = try_selection(trial, problems, path=kept, progress=start("selecting"))
    bias = fitted(trial, records)
    out.write_text(json.dumps(bias.document(), indent=2) + "\n", encoding="utf-8")
    wide_console().print(rates_table(bias))
    click.echo(
        f"{out}: all_wrong_bias {bias.all_wrong_bias:+.3f}, fitted on {bias.num_questions} "
        f"questions, {bias.num_without} without a right chain"
    )


def fitted(trial: SelectionTrial, records: list[Selected]) -> SelectionBias:
    """The bias, fitted on all questions for which chains were written, with its rates.

    Raises:
        ConfigError: there are too few questions of a kind.
    """
    usable = [record for record in records if record.rights]
    after = cross_validated(usable)
    return SelectionBias(
        selector=trial.selector.reader.name,
        draft=trial.draft.name,
        num_chains=trial.config.num_chains,
        all_wrong_bias=fit_bias(usable),
        before=rates(usable, 0.0),
        after=after,
        num_questions=len(usable),
        num_without=sum(not record.has_right for record in usable),
    )


def rates_table(bias: SelectionBias) -> Table:
    """Both rates before, and after on questions that the bias was not fitted on."""
    table = Table(box=SIMPLE_HEAD)
    for column in (
        "",
        "right chain picked, where there is one",
        "none recognised, where all wrong",
    ):
        table.add_column(column)
    for name, found in (("before", bias.before), ("after, cross-validated", bias.after)):
        table.add_row(name, f"{found.picked_right:.1%}", f"{found.recognised:.1%}")
    return table
