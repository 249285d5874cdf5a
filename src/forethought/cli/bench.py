"""`forethought bench`: measurements that end in one JSON line."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from forethought.bench.engine import as_record, bench_search, bench_speed
from forethought.cli.options import engine_config, engine_options
from forethought.cli.solve import DEFAULT_DRAFT, DEFAULT_TARGET
from forethought.models import resolve
from forethought.report import versions


@click.group()
def bench() -> None:
    """Measure this machine, honestly: interleaved, medians, ratios."""


@bench.command("engine")
@click.option("--model", "names", multiple=True, help="Name or .gguf path; default: the target.")
@click.option("--draft", default=DEFAULT_DRAFT, show_default=True, help="For the search.")
@click.option("--target", default=DEFAULT_TARGET, show_default=True, help="For the search.")
@click.option("--quant", default="auto", show_default=True, help="auto, original, or e.g. q4_0.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of the speed comparison.")
@engine_options
def engine(names: tuple[str, ...], rounds: int, **options: Any) -> None:
    """Decode speed against a bare llama.cpp loop and llama_cpp.Llama; recomputation in a search."""
    config = engine_config(options)
    quant = None if options["quant"] == "original" else options["quant"]
    paths = [resolve(name, quant=quant) for name in names or (options["target"],)]
    speeds = [row for path in paths for row in bench_speed(path, config=config, rounds=rounds)]
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
    Console().print(table)
    click.echo(
        f"search: {search.prompt_tokens} prompt tokens computed, {search.computed_twice:.2%} of them "
        f"twice; {search.wall_seconds:.1f} s, {search.outside_engine:.2%} outside the engines"
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
