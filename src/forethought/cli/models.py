"""`forethought models`: list, pull, verify, find and tune model files.

Knows how to ask and how to draw; what is true of a file it asks `forethought.models`.
"""

from __future__ import annotations

from dataclasses import fields

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from forethought.errors import ChecksumMismatch, ModelFileError
from forethought.models.download import pull as pull_model
from forethought.models.files import (
    ORIGINAL,
    InstalledModel,
    installed,
    is_verified,
    models_dir,
    resolve,
)
from forethought.models.files import verify as verify_model
from forethought.models.quantize import QUANTS
from forethought.models.registry import ModelFile, find, load_registry
from forethought.models.sources import Progress
from forethought.models.tune import COUNTS, DECISIVE, DEFAULT_QUANTS, TuneRow
from forethought.models.tune import tune as tune_model
from forethought.remote import OpenAIServer, RemoteConfig, RemoteModel
from forethought.remote.settings import address_of

_QUALITY = (
    "Variants are made from weights that were quantised before, and that costs quality: "
    "compare answers, not only speed."
)
_PIPE_WIDTH = 160


@click.group()
def models() -> None:
    """Model files: known names, downloads, checksums, variants for this machine."""


@models.command("list")
def list_models() -> None:
    """Show the models that are known by name, and which of them are here."""
    here = {one.model.name: one for one in installed()}
    table = Table(title=f"Model files in {models_dir()}", title_justify="left")
    for column in ("name", "family", "licence", "MB", "here", "variants", "auto takes"):
        table.add_column(column, justify="right" if column == "MB" else "left")
    for model in load_registry().values():
        table.add_row(*_list_row(model, here.get(model.name)))
    _print(table)


@models.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def pull(names: tuple[str, ...]) -> None:
    """Download each NAME unless it is here; a pull that was cut off goes on."""
    for model in [find(name) for name in names]:
        if is_verified(model):
            click.echo(f"{model.name}: already here and verified")
            continue
        path = _pull_with_bar(model) if Console().is_terminal else _pull_with_lines(model)
        click.echo(f"{model.name}: verified, in {path}")


@models.command("verify")
@click.argument("name", required=False)
def verify(name: str | None) -> None:
    """Read files again and compare their checksums: NAME's, or those of all that are here."""
    names = [name] if name else [one.model.name for one in installed()]
    if not names:
        click.echo(f"no model files in {models_dir()}")
    damaged = []
    for one in names:
        try:
            click.echo(f"{one}: whole, SHA-256 {verify_model(one)}")
        except ChecksumMismatch as error:
            damaged.append(str(error))
        except ModelFileError as error:
            if name:
                raise
            click.echo(f"{one}: {error}")
    if damaged:
        raise ChecksumMismatch("; ".join(damaged))


@models.command("path")
@click.argument("name")
@click.option("--quant", default="auto", show_default=True, help="auto, original, q4_0, q8_0, ...")
def path(name: str, quant: str) -> None:
    """Print the file that NAME means."""
    click.echo(resolve(name, quant=quant))


@models.command("tune")
@click.argument("name")
@click.option(
    "--quant",
    "quants",
    multiple=True,
    type=click.Choice(tuple(QUANTS)),
    default=DEFAULT_QUANTS,
    show_default=True,
    help="A quantisation to make and time; may be given several times.",
)
def tune(name: str, quants: tuple[str, ...]) -> None:
    """Make variants of NAME, time them on this machine, and remember the fastest."""
    with Console(stderr=True).status(f"making and timing variants of {name}"):
        rows = tune_model(name, quants)
    table = Table(title=f"{name}: tokens/s by number of sequences", title_justify="left")
    table.add_column("file")
    for column in ("MB", *map(str, COUNTS)):
        table.add_column(column, justify="right")
    table.add_column("quality")
    table.add_column("")
    for row in rows:
        table.add_row(*_tune_row(row))
    _print(table)
    click.echo(_QUALITY)


@models.command("check-remote")
@click.argument("address", metavar="URL")
@click.option("--template", help="A Jinja file's path, or chatml: go through /completions.")
@click.option(
    "--key-env",
    default=RemoteConfig().api_key_env,
    show_default=True,
    help="Has the key.",
)
def check_remote(address: str, template: str | None, key_env: str) -> None:
    """Print what the server at URL can do with a model (https://host/v1#model), or its models."""
    url, name = address_of(address)
    config = RemoteConfig(api_key_env=key_env, template=template)
    server = OpenAIServer(url, name, config=config)
    with RemoteModel(server) as model:
        if not name:
            click.echo("\n".join(model.ask(server.models)))
            return
        found = model.ask(server.capabilities)
    for field in fields(found):
        click.echo(f"{field.name}: {_told(getattr(found, field.name))}")


def _told(value: object) -> str:
    told = {True: "yes", False: "no", None: "not told"}
    return told[value] if value is None or isinstance(value, bool) else str(value)


def _list_row(model: ModelFile, here: InstalledModel | None) -> list[str]:
    size = here.size if here else model.size
    state = "" if here is None else "yes" if here.verified else "unchecked"
    variants = ", ".join(here.variants) if here else ""
    fastest = (here.fastest or "") if here else ""
    shown = f"{size / 1e6:,.0f}" if size else "?"
    return [model.name, model.family, model.licence, shown, state, variants, fastest]


def _tune_row(row: TuneRow) -> list[str]:
    speeds = [f"{row.tokens_per_second[count]:.1f}" for count in COUNTS]
    quality = "as published" if row.quant == ORIGINAL else "lower: requantised"
    note = f"fastest at {DECISIVE}: --quant auto takes it" if row.fastest else ""
    return [row.quant, f"{row.size / 1e6:,.0f}", *speeds, quality, note]


def _pull_with_bar(model: ModelFile) -> str:
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Bars(*columns) as bars:
        task = bars.add_task(model.name, total=model.size)

        def show(now: Progress) -> None:
            text = f"{model.name} ({now.source})"
            bars.update(task, description=text, completed=now.done, total=now.total)

        return str(pull_model(model.name, progress=show))


def _pull_with_lines(model: ModelFile) -> str:
    shown = ""

    def show(now: Progress) -> None:
        nonlocal shown
        tenths = 10 * now.done // now.total
        line = f"{model.name}: {10 * tenths} % of {now.total / 1e6:,.0f} MB from {now.source}"
        if line != shown:
            shown = line
            click.echo(line)

    return str(pull_model(model.name, progress=show))


def _print(table: Table) -> None:
    console = Console()
    # A pipe has no width: there no column is cut.
    (console if console.is_terminal else Console(width=_PIPE_WIDTH)).print(table)
