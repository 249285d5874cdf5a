"""`forethought bench`: measurements that end in one JSON line."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from forethought.bench.engine import as_record, bench_search, bench_speed
from forethought.cli.live import wide_console
from forethought.cli.opening import pair_options
from forethought.cli.options import engine_config
from forethought.cli.simulate import simulate_command
from forethought.cli.systems import systems
from forethought.models import resolve
from forethought.report import versions


@click.group()
def bench() -> None:
    """Measure this machine, honestly: interleaved, medians, ratios."""


bench.add_command(systems)
bench.add_command(simulate_command)


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
