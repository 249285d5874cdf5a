"""`forethought train draft` and `selector`: adapters for Speculative Chain-of-Thought."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from forethought.bench.selections import Choices
from forethought.chains import Chain, read_chains
from forethought.cli.live import wide_console
from forethought.cli.opening import model_options, open_models, progress_bars
from forethought.cli.options import config_from, config_options, engine_config
from forethought.cli.train import FILE, LORA_HELP, NEW_FILE, model_path, problems_of, report
from forethought.config import SamplingParams, require
from forethought.config_cot import CotConfig
from forethought.engine import Engine
from forethought.evaluators.registry import Role
from forethought.prompts import task_named
from forethought.thinking_tags import is_reasoning_model
from forethought.training.draft import DraftCheck, DraftConfig, check_draft, target_chains
from forethought.training.draft import train_draft as train_on_chains
from forethought.training.lora import Losses
from forethought.training.samples import GREEDY, ChainSampler, sample_chains
from forethought.training.selector import SelectorConfig, check_selector, selections
from forethought.training.selector import train_selector as train_on_drafts
from forethought.training.split import split_by_question

Result = TypeVar("Result")

_SELECTOR_HELP = {
    **LORA_HELP,
    "num_drafts": "Drafts to choose from.",
    "shuffle": "Show the drafts in another order every epoch.",
}
_CHECK = click.option(
    "--check",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    help="Questions held out on which the engine is asked before and after.",
)


@click.command("draft")
@click.option("--chains", type=NEW_FILE, required=True, help="The target's own greedy solutions.")
@click.option("--data", "source", help="Questions that the target solves first, into --chains.")
@click.option("--limit", type=click.IntRange(1), default=500, show_default=True, help="Questions.")
@click.option(
    "--chain-tokens",
    type=click.IntRange(1),
    default=GREEDY.max_tokens,
    show_default=True,
    help="Most tokens of a solution.",
)
@config_options(DraftConfig, LORA_HELP)
@_CHECK
@click.option("--out", type=NEW_FILE, required=True, help="The adapter, a .gguf file.")
@model_options
def draft(chains: Path, source: str | None, out: Path, **options: Any) -> None:
    """Train the draft to think as the target does; goes on where it was cut off.

    With --data, the target writes its greedy solutions first, and keeps them in the file of
    --chains, which another run can be given alone.
    """
    if source is not None:
        _write_chains(chains, source, options)
    require(chains.is_file(), f"there is no file {chains}: have the target fill it with --data")
    data = split_by_question(target_chains(read_chains(chains)))
    path, config = model_path("draft", options), config_from(DraftConfig, options)
    losses = train_on_chains(path, data, config=config, out=out, report=report)
    _tell_losses(out, losses)
    if asked := data.held[: options["check"]]:
        cot, params = CotConfig(task=config.task), _greedy(options)
        checks = _before_and_after(
            path, out, options, lambda engine: check_draft(engine, cot, asked, params)
        )
        wide_console().print(_draft_table(checks, asked))


@click.command("selector")
@click.option("--chains", type=FILE, required=True, help="From `forethought train sample`.")
@config_options(SelectorConfig, _SELECTOR_HELP)
@_CHECK
@click.option("--out", type=NEW_FILE, required=True, help="The adapter, a .gguf file.")
@model_options
def selector(chains: Path, out: Path, **options: Any) -> None:
    """Train the target to tell the number of a right draft, or that all are wrong; goes on where it
    was cut off."""
    data = split_by_question(read_chains(chains))
    path, config = model_path("target", options), config_from(SelectorConfig, options)
    losses = train_on_drafts(path, data, config=config, out=out, report=report)
    _tell_losses(out, losses)
    if asked := selections(data.held, config.num_drafts)[: options["check"]]:
        checks = _before_and_after(path, out, options, lambda engine: check_selector(engine, asked))
        wide_console().print(_selector_table(checks))


def _write_chains(path: Path, source: str, options: dict[str, Any]) -> None:
    problems = problems_of(source, options)
    role: Role = "target"
    with open_models({role}, options) as opened, progress_bars() as start:
        task = task_named(options["task"])
        model = opened.models[role]
        thinks = is_reasoning_model(model)
        sampler = ChainSampler(model, task, role, options["seed"], _greedy(options), thinks)
        sample_chains(sampler, problems, num_chains=1, path=path, progress=start("target writes"))


def _greedy(options: dict[str, Any]) -> SamplingParams:
    return replace(GREEDY, max_tokens=options["chain_tokens"])


def _before_and_after(
    base: Path, adapter: Path, options: dict[str, Any], check: Callable[[Engine], Result]
) -> dict[str, Result]:
    """The same check of the base and of the base with the adapter, over one copy of the weights."""
    with ExitStack() as opened:
        engine = opened.enter_context(Engine(base, config=engine_config(options)))
        before = check(engine)
        return {"before": before, "after": check(opened.enter_context(engine.adapted(adapter)))}


def _tell_losses(out: Path, losses: Losses) -> None:
    click.echo(
        f"{out}: loss {losses.before:.4f} before and {losses.after:.4f} after, "
        f"on {losses.num_examples} examples held out"
    )


def _draft_table(checks: Mapping[str, DraftCheck], asked: list[Chain]) -> Table:
    table = _table(f"greedy chains on {len(asked)} questions held out")
    for column in ("tokens", "ended", "target's answer"):
        table.add_column(column, justify="right")
    for name, check in checks.items():
        shares = f"{check.ended:.0%}", f"{check.agreement:.0%}"
        table.add_row(name, f"{check.mean_tokens:.0f}", *shares)
    lengths = [sum(len(step.tokens) for step in chain.steps) for chain in asked]
    table.add_row("target", f"{sum(lengths) / len(lengths):.0f}", "", "")
    return table


def _selector_table(checks: Mapping[str, Choices]) -> Table:
    table = _table("choices on questions held out")
    for column in ("a right draft, and it took one", "none right, and it said so"):
        table.add_column(column, justify="right")
    for name, check in checks.items():
        right, solvable, recognised, unsolvable = (
            check.num_right,
            check.num_solvable,
            check.num_recognised,
            check.num_unsolvable,
        )
        table.add_row(name, f"{right} of {solvable}", f"{recognised} of {unsolvable}")
    return table


def _table(title: str) -> Table:
    table = Table(box=SIMPLE_HEAD, title=title)
    table.add_column("")
    return table
