"""`forethought evaluators`: what there is, how good it is on your data, and calibrating it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from forethought.bench.plots import plotting
from forethought.bench.quality import Quality, quality
from forethought.bench.quality_report import sections, write_report
from forethought.bench.scoring import StepScores, score_chains
from forethought.bench.tables import as_table
from forethought.chains import Chain, Problem, load_problems, read_chains
from forethought.cli.live import wide_console
from forethought.cli.opening import model_options, open_models, progress_bars
from forethought.config import require
from forethought.errors import ConfigError
from forethought.evaluators import Evaluator
from forethought.evaluators.calibration import (
    Calibrated,
    Calibration,
    fit_calibration,
    read_calibration,
)
from forethought.evaluators.registry import (
    ENTRIES,
    Role,
    build_evaluator,
    roles_needed,
    roles_with_states,
)
from forethought.report import versions
from forethought.thoughts import Source
from forethought.training import ChainSampler, sample_chains

SCORES, CHAINS = "scores.jsonl", "chains.jsonl"
_KINDS = click.Choice(["isotonic", "platt"])
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_NEW_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def evaluators() -> None:
    """Evaluators of thoughts: list them, test them on your data, calibrate them."""


@evaluators.command("list")
def list_evaluators() -> None:
    """Show the evaluators, what they need and what they cost."""
    table = Table(box=SIMPLE_HEAD)
    for column in ("evaluator", "reads with", "needs", "a thought costs", "what it is"):
        table.add_column(column, no_wrap=column == "evaluator")
    for entry in ENTRIES:
        cells = entry.form, entry.reads_with or "", entry.needs, entry.cost, entry.about
        table.add_row(*map(Text, cells))
    wide_console().print(table)
    click.echo("ROLE: draft or target. Add @min, @mean or @product for all steps; join with +.")


@evaluators.command("test")
@click.option("--data", type=_FILE, help="JSON Lines of question and answer.")
@click.option("--chains", type=_NEW_FILE, help="Solutions, read and added to.")
@click.option("--evaluator", "specs", multiple=True, default=("judge",), show_default=True)
@click.option(
    "--calibration",
    "calibrations",
    multiple=True,
    type=_FILE,
    help="One that was fitted on other chains, to be tested beside its evaluator.",
)
@click.option("--limit", type=click.IntRange(1), default=40, show_default=True, help="Questions.")
@click.option("--samples-draft", type=click.IntRange(0), default=8, show_default=True)
@click.option("--samples-target", type=click.IntRange(0), default=4, show_default=True)
@click.option("--best-of", type=click.IntRange(1), default=8, show_default=True, help="Drafts.")
@click.option("--kind", type=_KINDS, default="isotonic", show_default=True, help="Calibration.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--plots/--no-plots", default=True, help="Draw reliability; needs matplotlib.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@model_options
def test(**options: Any) -> None:
    """Measure evaluators on solutions to the problems of a file; goes on where it was cut off.

    Solutions that --chains does not hold yet are written by draft and target first.
    """
    if options["plots"]:
        plotting()  # what is missing is told before hours of work
    out: Path = options["out"]
    file: Path = options["chains"] or out / CHAINS
    specs = list(dict.fromkeys(options["specs"]))
    roles: set[Role] = set().union(*map(roles_needed, specs))
    calibrations = [read_calibration(path) for path in options["calibrations"]]
    problems = _problems(options["data"], options["limit"])
    if not problems and not file.is_file():
        raise click.UsageError(f"there is no file {file}: give --chains with solutions, or --data")
    unwritten = _unwritten(file, problems, options)
    _make_folder(out)
    _require_folder(file)
    with_states = set[Role]().union(*map(roles_with_states, specs))
    with (
        open_models(roles.union(unwritten), options, with_states=with_states) as opened,
        progress_bars() as start,
    ):
        built = [build_evaluator(spec, opened.parts) for spec in specs]
        calibrated = [_matched(calibration, built) for calibration in calibrations]
        for source, count in unwritten.items():
            sampler = ChainSampler(
                opened.models[source], opened.parts.task, source, options["seed"]
            )
            show = start(f"{source} writes")
            sample_chains(sampler, problems, num_chains=count, path=file, progress=show)
        chains = _checked(file, _chosen(_read(file), problems, options["limit"]))
        scored = [
            score_chains(one, chains, path=out / SCORES, progress=start(one.name)) for one in built
        ]
    scored += [_recalibrated(one, scored) for one in calibrated]
    best_of, kind = options["best_of"], options["kind"]
    _report([quality(one, kind=kind, num_samples=best_of) for one in scored], file, options)


@evaluators.command("calibrate")
@click.option("--chains", type=_FILE, required=True, help="Solutions with known outcome.")
@click.option("--evaluator", "spec", required=True, help="As `evaluators list` shows them.")
@click.option("--kind", type=_KINDS, default="isotonic", show_default=True)
@click.option("--scores", type=_NEW_FILE, help="Scores that `test` kept; read and added to.")
@click.option("--out", type=_NEW_FILE, required=True, help="The calibration, as JSON.")
@model_options
def calibrate(out: Path, spec: str, **options: Any) -> None:
    """Fit the map from an evaluator's scores to the probability that a step is right."""
    for file in (out, options["scores"] or out):
        _require_folder(file)
    chains = _checked(options["chains"], _read(options["chains"]))
    roles, with_states = roles_needed(spec), roles_with_states(spec)
    with (
        open_models(roles, options, with_states=with_states) as opened,
        progress_bars() as start,
    ):
        evaluator = build_evaluator(spec, opened.parts)
        scored = score_chains(
            evaluator, chains, path=options["scores"], progress=start(evaluator.name)
        )
    labels = [chain.is_right for chain in scored.chains for _ in chain.steps]
    scores = [score for row in scored.scores for score in row]
    calibration = fit_calibration(scores, labels, kind=options["kind"], evaluator=evaluator.name)
    out.write_text(json.dumps(calibration.document(), indent=2) + "\n", encoding="utf-8")
    found = quality(scored, kind=options["kind"])
    click.echo(f"{Calibrated(evaluator, calibration).name}: fitted on {len(scores)} steps")
    if found.calibrated is not None:
        before, after = found.raw, found.calibrated
        click.echo(
            f"on questions it was not fitted on: Brier {before.brier:.3f} -> {after.brier:.3f}, "
            f"calibration error {before.calibration_error:.3f} -> {after.calibration_error:.3f}"
        )


def _problems(path: Path | None, limit: int) -> list[Problem]:
    try:
        return load_problems(path, limit) if path else []
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid UTF-8: {error}") from error


def _read(path: Path) -> list[Chain]:
    try:
        return read_chains(path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no file of chains: {error}") from error


def _unwritten(file: Path, problems: list[Problem], options: dict[str, Any]) -> dict[Source, int]:
    """How many solutions whom to ask for: those whose solution of a problem is not in the file."""
    chains = _read(file) if file.exists() else []
    written = {(chain.source, chain.question) for chain in chains}
    counts: dict[Source, int] = {
        "draft": options["samples_draft"],
        "target": options["samples_target"],
    }
    return {
        source: count
        for source, count in counts.items()
        if count and any((source, problem.question) not in written for problem in problems)
    }


def _chosen(chains: list[Chain], problems: list[Problem], limit: int) -> list[Chain]:
    """Those of the problems, or of the file's first `limit` questions."""
    asked = [problem.question for problem in problems]
    wanted = set(asked or list(dict.fromkeys(chain.question for chain in chains))[:limit])
    return [chain for chain in chains if chain.question in wanted]


def _checked(file: Path, chains: list[Chain]) -> list[Chain]:
    """Chains of which something can be told."""
    require(bool(chains), f"{file} has no chains of these questions")
    outcomes = {chain.is_right for chain in chains}
    kind = "right" if True in outcomes else "wrong"
    require(
        len(outcomes) == 2,
        f"all {len(chains)} chains of {file} are {kind}, so nothing can be told apart: give "
        f"{'harder' if kind == 'right' else 'easier'} questions, or more",
    )
    return chains


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {path}: {error}") from error


def _require_folder(file: Path) -> None:
    require(file.parent.is_dir(), f"there is no folder {file.parent} to keep {file.name} in")


def _matched(calibration: Calibration, built: list[Evaluator]) -> Calibrated:
    for evaluator in built:
        if evaluator.name == calibration.evaluator:
            return Calibrated(evaluator, calibration)
    names = ", ".join(evaluator.name for evaluator in built)
    raise ConfigError(f"the calibration belongs to {calibration.evaluator}, not to {names}")


def _recalibrated(calibrated: Calibrated, scored: list[StepScores]) -> StepScores:
    """What the calibrated evaluator would have given."""
    (raw,) = (one for one in scored if one.evaluator == calibrated.evaluator.name)
    scores = [calibrated.calibration.apply(row) for row in raw.scores]
    return replace(raw, evaluator=calibrated.name, scores=scores)


def _report(found: list[Quality], file: Path, options: dict[str, Any]) -> None:
    facts = {
        "chains": file.name,
        "best_of": options["best_of"],
        "calibration": options["kind"],
        "versions": versions(),
    }
    write_report(options["out"], found, facts=facts, has_plots=options["plots"])
    for section in sections(found):
        wide_console().print(as_table(section))
    click.echo(
        f"{found[0].num_questions} questions, {found[0].num_chains} chains; in {options['out']}"
    )
