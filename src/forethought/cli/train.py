"""`forethought train`: sample solutions, and train evaluators on them for any pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from forethought.bench.problems import is_code, read_problems
from forethought.bench.quality import Ranking
from forethought.chains import Chain, Problem, read_chains
from forethought.cli.live import wide_console
from forethought.cli.opening import model_options, open_models, progress_bars
from forethought.cli.options import HELP, config_from, config_options, engine_config
from forethought.config import SearchConfig, require
from forethought.engine import Engine
from forethought.evaluators.registry import Role
from forethought.models import resolve
from forethought.prompts import task_named
from forethought.training.features import StateReader, read_states
from forethought.training.labels import LABELS, Labels
from forethought.training.lora import Progress
from forethought.training.prm import PrmConfig
from forethought.training.probe import Trial, compare_heads, train_probe
from forethought.training.rollouts import add_rollouts
from forethought.training.samples import DRAWN, ChainSampler, sample_chains
from forethought.training.small_prm import train_small_prm

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
NEW_FILE = click.Path(path_type=Path, dir_okay=False)
ROLE = click.Choice(["draft", "target"])
LORA_HELP = {
    "rank": "Rank of the update.",
    "alpha": "Its scale, times the rank.",
    "dropout": "Share of its inputs left out.",
    "layers": "Adapted blocks, from the top; unset: all.",
    "rate": "Peak learning rate.",
    "epochs": "Passes over the examples.",
    "batch_tokens": "Most tokens of a batch, which has one example at least.",
    "max_tokens": "Most tokens of an example.",
    "recompute": "Needs less memory and a third more time.",
    "seed": "Fixes every draw.",
}
_DRAWING = {name: HELP[name] for name in ("temperature", "top_p", "top_k")}


@click.group()
def train() -> None:
    """Train evaluators, a draft and a selector for your pair on what it writes itself."""


@train.command("sample")
@click.option("--data", "source", required=True, help="JSON Lines of problems, hf:NAME, gym:NAME.")
@click.option("--limit", type=click.IntRange(1), default=500, show_default=True, help="Questions.")
@click.option("--out", type=NEW_FILE, required=True, help="Solutions, added to.")
@click.option("--samples-draft", type=click.IntRange(0), default=4, show_default=True)
@click.option("--samples-target", type=click.IntRange(0), default=4, show_default=True)
@click.option("--rollouts", type=click.IntRange(0), default=0, show_default=True, help="A step.")
@click.option("--max-tokens", type=click.IntRange(1), default=DRAWN.max_tokens, show_default=True)
@config_options(SearchConfig, _DRAWING)
@click.option("--think-tags/--no-think-tags", "thinks", help="What stands in them, and no more.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@model_options
def sample(source: str, out: Path, **options: Any) -> None:
    """Let draft and target solve problems; goes on where it was cut off.

    With --rollouts, every step is gone on from that often by the model that wrote it.
    """
    problems = problems_of(source, options)
    drawn = config_from(SearchConfig, {name: options[name] for name in _DRAWING}).sampling()
    params = replace(drawn, max_tokens=options["max_tokens"])
    task = task_named(options["task"])
    counts: dict[Role, int] = {
        "draft": options["samples_draft"],
        "target": options["samples_target"],
    }
    roles: set[Role] = {role for role, count in counts.items() if count}
    with open_models(roles, options) as opened, progress_bars() as start:
        for role in sorted(roles):
            sampler = ChainSampler(
                opened.models[role], task, role, options["seed"], params, options["thinks"]
            )
            show = start(f"{role} writes")
            sample_chains(sampler, problems, num_chains=counts[role], path=out, progress=show)
            if options["rollouts"]:
                show = start(f"{role} goes on")
                add_rollouts(sampler, out, num_rollouts=options["rollouts"], progress=show)
    chains = read_chains(out)
    rights = sum(chain.is_right for chain in chains)
    click.echo(f"{out}: {len(chains)} solutions, {rights / max(1, len(chains)):.0%} right")


@train.command("probe")
@click.option("--chains", type=FILE, required=True, help="From `forethought train sample`.")
@click.option("--on", "role", type=ROLE, default="draft", show_default=True, help="Who reads.")
@click.option("--layers", default="", help="Blocks from 1, and 0 for the final norm; e.g. 12,14,0.")
@click.option("--labels", type=click.Choice(LABELS), default="outcome", show_default=True)
@click.option("--states", type=NEW_FILE, help="Keeps what was read; default: beside --out.")
@click.option("--out", type=NEW_FILE, required=True, help="The probe, a .safetensors file.")
@model_options
def probe(chains: Path, role: Role, out: Path, **options: Any) -> None:
    """Train heads on hidden states, compare them, and keep the best."""
    found = _trainable(chains)
    labels: Labels = options["labels"]
    task = task_named(options["task"])
    path = model_path(role, options)
    config = replace(engine_config(options), hidden_states=True)
    with Engine(path, config=config) as engine, progress_bars() as start:
        layers = _layers(options["layers"], engine.num_layers)
        kept = options["states"] or out.with_suffix(".states")
        show = start(f"{role} reads")
        reader = StateReader(engine, task, layers)
        states = read_states(reader, found, path=kept, progress=show)
        trials = compare_heads(states, labels=labels)
        train_probe(reader, states, trials[0], labels=labels, path=out)
    wide_console().print(_trial_table(trials))
    best = trials[0]
    click.echo(f"{out}: {best.kind} head on layer {best.layer or 'final'}")


@train.command("prm")
@click.option("--chains", type=FILE, required=True, help="From `forethought train sample`.")
@click.option("--on", "role", type=ROLE, default="draft", show_default=True, help="Whose weights.")
@click.option("--labels", type=click.Choice(LABELS), default="outcome", show_default=True)
@config_options(PrmConfig, LORA_HELP)
@click.option("--out", type=NEW_FILE, required=True, help="The adapter, a .gguf file.")
@model_options
def prm(chains: Path, role: Role, out: Path, **options: Any) -> None:
    """Train a LoRA adapter that tells right steps from wrong ones; goes on where it was cut off."""
    config = config_from(PrmConfig, options)
    path = model_path(role, options)
    ranking = train_small_prm(path, _trainable(chains), config=config, out=out, report=report)
    click.echo(f"{out}: on questions held out, {_ranking_text(ranking)}")


def problems_of(source: str, options: dict[str, Any]) -> list[Problem]:
    """The first `limit` questions of a source in the order of `seed`."""
    posed = read_problems(source, limit=options["limit"], seed=options["seed"])
    require(not is_code(posed), f"{source} asks for programs: give questions with an answer each")
    return [one.problem for one in posed]


def report(progress: Progress) -> None:
    """A line for every tenth step of a training."""
    if progress.step % 10 == 0 or progress.step in (1, progress.num_steps):
        text = f"step {progress.step} of {progress.num_steps}: loss {progress.loss:.4f}"
        click.echo(text, err=True)


def _trainable(path: Path) -> list[Chain]:
    chains = read_chains(path)
    outcomes = {chain.is_right for chain in chains}
    require(len(outcomes) == 2, f"{path} needs right and wrong solutions to learn from")
    return [chain for chain in chains if chain.steps]


def _layers(text: str, num_layers: int) -> list[int]:
    """As given; by default every second block of the upper two thirds, and the final norm."""
    if not text:
        return [*range(num_layers // 3, num_layers, 2), 0]
    parts = text.split(",")
    require(all(part.strip().isdigit() for part in parts), f"layers must be numbers, not {text!r}")
    layers = [int(part) for part in parts]
    require(max(layers) <= num_layers, f"the model has {num_layers} blocks, not {max(layers)}")
    return layers


def model_path(role: Role, options: dict[str, Any]) -> Path:
    """The file of one of the pair, by `model_options`."""
    quant = None if options["quant"] == "original" else options["quant"]
    return resolve(options[role], quant=quant)


def _trial_table(trials: list[Trial]) -> Table:
    table = Table(box=SIMPLE_HEAD, title="heads, on questions they were not fitted on")
    for column in ("layer", "head", "step AUC", "last-step AUC", "pairs"):
        table.add_column(column, justify="left" if column == "head" else "right")
    for trial in trials:
        kind = trial.kind if trial.strength is None else f"{trial.kind}, C {trial.strength:g}"
        figures = trial.ranking.auc_steps, trial.ranking.auc_last, trial.ranking.pairs
        table.add_row(str(trial.layer or "final"), kind, *map(_shown, figures))
    return table


def _ranking_text(ranking: Ranking) -> str:
    return (
        f"step AUC {_shown(ranking.auc_steps)}, last-step AUC {_shown(ranking.auc_last)}, "
        f"pairs {_shown(ranking.pairs)} of {ranking.num_pairs}"
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
