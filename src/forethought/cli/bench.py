"""`forethought bench`: measurements that end in one JSON line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from forethought.bench.engine import as_record, bench_search, bench_speed
from forethought.bench.search import Method, Run, Summary, compare, summarise
from forethought.chains import load_problems
from forethought.cli.live import wide_console
from forethought.cli.opening import (
    PAIR,
    gamma_option,
    open_models,
    pair_options,
    speculating_target,
)
from forethought.cli.options import engine_config, search_config, search_options
from forethought.evaluators.registry import (
    DEFAULT_EVALUATOR,
    Role,
    build_evaluator,
    roles_with_states,
)
from forethought.models import resolve
from forethought.report import versions


@click.group()
def bench() -> None:
    """Measure this machine, honestly: interleaved, medians, ratios."""


@bench.command("engine")
@click.option("--model", "names", multiple=True, help="Name or .gguf path; default: the target.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of the speed comparison.")
@pair_options
def engine(names: tuple[str, ...], rounds: int, **options: Any) -> None:
    """Decode speed against a bare llama.cpp loop and llama_cpp.Llama; recomputation in a search."""
    config = engine_config(options)
    quant = None if options["quant"] == "original" else options["quant"]
    paths = [resolve(name, quant=quant) for name in names or (options["target"],)]
    speeds = []
    for path in paths:
        for row in bench_speed(path, config=config, rounds=rounds):
            click.echo(f"{row.model}, {row.num_sequences} sequences: {row.engine:.1f}/s", err=True)
            speeds.append(row)
    pair = [resolve(options[role], quant=quant) for role in ("draft", "target")]
    search = bench_search(pair[0], pair[1], config=config)
    table = Table(box=SIMPLE_HEAD, title="decode, tokens/s (median)")
    for column in ("model", "sequences", "engine", "bare loop", "one by one", "/ bare", "/ one"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in speeds:
        rates = (row.engine, row.bare_loop, row.single_sequence)
        ratios = (row.vs_bare_loop, row.vs_single_sequence)
        cells = [f"{rate:.1f}" for rate in rates] + [f"{ratio:.2f}" for ratio in ratios]
        table.add_row(row.model, str(row.num_sequences), *cells)
    wide_console().print(table)
    click.echo(
        f"search: {search.prompt_tokens} prompt tokens computed, {search.computed_twice:.2%} of "
        f"them twice; {search.wall_seconds:.1f} s, {search.outside_engine:.2%} outside the engines"
    )
    click.echo(
        json.dumps(
            {
                "speed": [as_record(row) for row in speeds],
                "search": as_record(search),
                "versions": versions(),
            }
        )
    )


@bench.command("search")
@click.option("--data", "path", type=click.Path(path_type=Path, exists=True), required=True)
@click.option(
    "--evaluator", "specs", multiple=True, default=(DEFAULT_EVALUATOR,), show_default=True
)
@click.option("--alone/--no-alone", default=True, help="Run the target alone, too.")
@click.option("--limit", default=20, show_default=True, help="Problems to take from the file.")
@pair_options
@gamma_option
@search_options
def search(path: Path, limit: int, alone: bool, specs: tuple[str, ...], **options: Any) -> None:
    """SpecSearch under each evaluator, and the target searching alone under the first one."""
    config = search_config(options)
    problems = load_problems(path, limit)
    runs: list[Run] = []
    with_states = set[Role]().union(*map(roles_with_states, specs))
    with open_models(PAIR, options, with_states=with_states) as opened:
        methods = [Method(build_evaluator(spec, opened.parts)) for spec in specs]
        methods += [Method(methods[0].evaluator, is_alone=True)] if alone else []
        draft, target = opened.models["draft"], speculating_target(opened, options["gamma"])
        for run in compare(problems, draft, target, config=config, methods=methods):
            runs.append(run)
            mark = "right" if run.is_right else "wrong"
            count = f"{len(runs)}/{len(methods) * len(problems)}"
            click.echo(f"{count} {run.method} {mark} {run.seconds:.1f} s", err=True)
    summaries = [summarise(runs, method.name) for method in methods]
    wide_console().print(_search_table(summaries))
    baseline = summaries[-1]
    ratios = [baseline.total_seconds / one.total_seconds for one in summaries[:-1]]
    for one, ratio in zip(summaries[:-1], ratios, strict=True):
        click.echo(f"{one.method} against {baseline.method} (ratio of sums): {ratio:.2f}")
    figures = {"summaries": [asdict(s) for s in summaries], "speed_ups": ratios}
    settings = {**asdict(config), "gamma": options["gamma"]}
    click.echo(json.dumps({**figures, "settings": settings, "versions": versions()}))


def _search_table(summaries: list[Summary]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    columns = (
        "method",
        "accuracy",
        "median s",
        "total s",
        "outside",
        "accepted",
        *summaries[0].tokens,
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in summaries:
        acceptance = "" if row.acceptance is None else f"{row.acceptance:.0%}"
        times = (
            f"{row.median_seconds:.1f}",
            f"{row.total_seconds:.1f}",
            f"{row.outside_share:.1%}",
        )
        table.add_row(
            row.method, f"{row.accuracy:.0%}", *times, acceptance, *map(str, row.tokens.values())
        )
    return table
