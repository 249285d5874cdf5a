"""`forethought thresholds`: see, forget, save and bring in the thresholds of past runs.

Knows the terminal; refuses to know how thresholds are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import BinaryIO, TextIO

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from forethought.errors import StoreError
from forethought.stores import ThresholdKey, ThresholdRecord, default_store


@click.group()
def thresholds() -> None:
    """Acceptance thresholds learned in past runs, for warm starts."""


@thresholds.command()
def show() -> None:
    """Print the threshold of each key and depth."""
    with default_store() as store:
        rows = store.show()
    if not rows:
        click.echo("no thresholds yet: a run stores them when it finishes")
    for key, of_key in groupby(rows, key=lambda row: row.key):
        # above its table: model names may be long paths
        click.echo(f"{key.draft} + {key.target}, evaluator {key.evaluator}, task {key.task}")
        Console().print(_table(of_key))


@thresholds.command()
@click.option("--draft", help="Only keys with this draft model.")
@click.option("--target", help="Only keys with this target model.")
@click.option("--evaluator", help="Only keys with this evaluator.")
@click.option("--task", help="Only keys with this task.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(*, yes: bool, **names: str | None) -> None:
    """Forget thresholds: all of them, or those of the keys with the given names."""
    wanted = {field: name for field, name in names.items() if name is not None}
    with default_store() as store:
        if not wanted:  # works on a store that cannot be read, too
            _confirm("Forget all thresholds?", yes=yes)
            store.reset()
            click.echo("forgot all thresholds")
            return
        keys = sorted({row.key for row in store.show() if _has_names(row.key, wanted)})
        if keys:
            _confirm(f"Forget the thresholds of {_counted(len(keys), 'key')}?", yes=yes)
        for key in keys:
            store.reset(key)
        click.echo(f"forgot the thresholds of {_counted(len(keys), 'key')}")


@thresholds.command()
@click.argument("file", type=click.File("w", encoding="utf-8", atomic=True))
def export(file: TextIO) -> None:
    """Write all thresholds to FILE (- for standard output) as JSON."""
    with default_store() as store:
        document = store.export()
    file.write(json.dumps(document, indent=2) + "\n")


@thresholds.command("import")
@click.argument("file", type=click.File("rb"))
def import_(file: BinaryIO) -> None:
    """Add the thresholds that FILE (- for standard input) holds; twice counts once."""
    try:
        document = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{file.name}: no JSON ({error}); give a file from `export`") from error
    with default_store() as store:
        count = store.load(document)
    click.echo(f"imported {_counted(count, 'record')}")


def _table(rows: Iterable[ThresholdRecord]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for name in ("depth", "threshold", "runs", "last run"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        last = datetime.fromtimestamp(row.updated).strftime("%Y-%m-%d %H:%M")
        table.add_row(str(row.depth), f"{row.beta:.4f}", str(row.count), last)
    return table


def _has_names(key: ThresholdKey, wanted: dict[str, str]) -> bool:
    return all(getattr(key, field) == name for field, name in wanted.items())


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
