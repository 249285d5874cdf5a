"""`forethought bench systems`: methods of solving, against each other on a set of problems."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from forethought.bench.compare import compare, missing_runs, warm_up
from forethought.bench.entrants import Bench, Entrant
from forethought.bench.figures import Figures, figures
from forethought.bench.machine import machine
from forethought.bench.methods import Method, parse_methods
from forethought.bench.plots import plotting
from forethought.bench.problems import Fields, Posed, is_code, read_problems
from forethought.bench.report import sections, write_results
from forethought.bench.results import RunLog, opened_log
from forethought.bench.selection_bias import calibrated
from forethought.bench.systems import Writer
from forethought.bench.tables import as_table
from forethought.cli.graphs import Fitted, fitted, fitted_options
from forethought.cli.live import wide_console
from forethought.cli.opening import (
    Opened,
    gamma_option,
    open_models,
    pair_options,
    speculating_target,
)
from forethought.cli.options import config_from, engine_config, given_options, search_options
from forethought.config import SearchConfig
from forethought.config_cot import CotConfig
from forethought.evaluators.registry import (
    DEFAULT_EVALUATOR,
    Role,
    build_evaluator,
    roles_needed,
    roles_with_states,
)
from forethought.graphs import RunConfig
from forethought.model import Model
from forethought.prompts import COMPLETE, task_named
from forethought.report import versions
from forethought.stores import SqliteThresholdStore

Config = TypeVar("Config")

_ADAPTERS = ("draft_adapter", "selector_adapter")
_DEFAULT_METHODS = "target-greedy,draft-greedy,ar-beam,spec-search-beam"


@click.command()
@click.option("--data", "source", required=True, help="File, hf:NAME[:CONFIG[:SPLIT]], gym:NAME.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Problems.")
@click.option("--methods", "names", default=_DEFAULT_METHODS, show_default=True, metavar="LIST")
@click.option("--evaluator", "spec", default=DEFAULT_EVALUATOR, show_default=True)
@click.option("--samples", type=click.IntRange(1), help="Of a majority; unset: width x beam.")
@click.option("--question-field", help="Of a data set of the hub; unset: guessed.")
@click.option("--answer-field", help="Of a data set of the hub; unset: guessed.")
@click.option("--plots/--no-plots", default=True, help="Draw pictures; needs matplotlib.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@pair_options
@gamma_option
@fitted_options
@search_options
def systems(source: str, limit: int, names: str, spec: str, out: Path, **options: Any) -> None:
    """Compare methods on problems: accuracy, time, tokens, and how fast the pair could be.

    LIST is NAME[KEY=VALUE;...]@EVALUATOR,... of the methods that docs/benchmarks.md describes; all
    behind NAME may be left out. A run that was cut off goes on where it stopped; a larger --limit
    adds problems.
    """
    if options["plots"]:
        plotting()  # what is missing is told before hours of work
    methods = parse_methods(names, spec)
    roles_needed(spec)
    _roles(methods)
    fields = Fields(options["question_field"], options["answer_field"])
    posed = read_problems(source, limit=limit, seed=options["seed"], fields=fields)
    task = {"task": COMPLETE.name} if is_code(posed) else {}
    plan = Plan(methods, given_options() | task, fitted(options))
    search = plan.base(SearchConfig)
    task_named(search.task)
    samples = options["samples"] or search.tree_width * search.beam_width
    options |= {"out": out, "source": source, "samples": samples, "task": search.task}
    with opened_log(out, _settings(plan, options)) as log:
        if missing_runs([method.label for method in methods], posed, log):
            with _ready(plan, options) as (bench, entrants):
                _run(bench, entrants, posed, log)
    problems = {one.problem.name for one in posed}
    rows = figures(methods, [run for run in log.runs if run.problem in problems])
    _report(rows, log, has_plots=options["plots"])


@dataclass(frozen=True, slots=True)
class Plan:
    """Methods, the options `given` for all of them, and what Speculative Chain-of-Thought was
    `fitted` with.

    Raises:
        ConfigError: a setting of a method is out of range.
    """

    methods: Sequence[Method]
    given: Mapping[str, Any]
    fitted: Fitted

    def __post_init__(self) -> None:
        for method in self.methods:
            method.config(self.given)

    def base(self, kind: type[Config]) -> Config:
        """The settings that methods of a kind have in common."""
        return config_from(kind, dict(self.given))

    def config(self, method: Method, bench: Bench) -> RunConfig:
        """A method's settings, calibrated for the models that it runs with."""
        config = method.config(self.given)
        is_own = method.system.is_untrained or "all_wrong_bias" in method.settings
        if is_own or not isinstance(config, CotConfig):
            return config
        draft, target = bench.aligned or bench.models["draft"], bench.models["target"]
        names = {"selector": (bench.selector or target).name, "draft": draft.name}
        return calibrated(config, self.fitted.calibrations, **names)


def _settings(plan: Plan, options: dict[str, Any]) -> dict[str, Any]:
    """All that decides what a run does; the number of problems does not."""
    names = ("draft", "target", "quant", "gamma", "samples", "question_field", "answer_field")
    systems = [one.system for one in plan.methods if not one.system.asks_evaluator]
    graphs = [system.graph for system in systems if system.graph]
    bases = {graph.name: asdict(plan.base(graph.settings)) for graph in graphs}
    adapters = {name: str(options[name]) for name in _ADAPTERS if options[name]}
    biases = [one.document() for one in plan.fitted.calibrations]
    further = {"graphs": bases, "adapters": adapters, "calibrations": biases}
    return {
        "data": options["source"],
        "methods": [{"label": one.label, "evaluator": one.spec} for one in plan.methods],
        **{name: options[name] for name in names},
        "search": asdict(plan.base(SearchConfig)),
        "engine": asdict(engine_config(options)),
        "machine": machine(),
        "versions": versions(),
        **{name: found for name, found in further.items() if found},
    }


def _roles(methods: Sequence[Method]) -> tuple[set[Role], set[Role]]:
    """The models that the methods and their evaluators need, and those whose hidden states are
    read. Raises ConfigError for an unknown evaluator."""
    specs = [method.spec for method in methods if method.spec is not None]
    roles = set[Role]().union(*(method.system.roles for method in methods))
    return roles.union(*map(roles_needed, specs)), set[Role]().union(*map(roles_with_states, specs))


@contextmanager
def _ready(plan: Plan, options: dict[str, Any]) -> Iterator[tuple[Bench, list[Entrant]]]:
    """The methods with their models and evaluators open, and warm. Each has a store of its own, so
    that none starts from what another has learned."""
    roles, with_states = _roles(plan.methods)
    folder: Path = options["out"]
    with ExitStack() as stack:
        opened = stack.enter_context(open_models(roles, options, with_states=with_states))
        bench, entrants = _bench(plan, opened, options), []
        for place, method in enumerate(plan.methods):
            config = plan.config(method, bench)
            evaluator = method.spec and build_evaluator(method.spec, opened.parts)
            store = None
            if evaluator and isinstance(config, SearchConfig) and config.init == "store":
                path = folder / f"thresholds-{place}.sqlite"
                store = stack.enter_context(SqliteThresholdStore(path))
            entrants.append(Entrant(method, config, evaluator or None, store))
        click.echo("warming up", err=True)
        warm_up(bench, entrants)
        yield bench, entrants


def _bench(plan: Plan, opened: Opened, options: dict[str, Any]) -> Bench:
    systems = [method.system for method in plan.methods]
    models: dict[Writer, Model] = dict(opened.models.items())
    if any(system.writer == "speculating" for system in systems):
        gamma = "auto" if options["gamma"] == "0" else options["gamma"]
        models["speculating"] = speculating_target(opened, gamma)
    if not any(system.form == "speculative-cot" for system in systems):
        return Bench(models, options["samples"])
    found = plan.fitted
    return Bench(models, options["samples"], found.draft(opened), found.selector(opened))


def _run(bench: Bench, entrants: Sequence[Entrant], posed: Sequence[Posed], log: RunLog) -> None:
    """Make the runs that are missing, a line for each."""
    labels = [entrant.method.label for entrant in entrants]
    total = len(labels) * len(posed)
    done = total - len(missing_runs(labels, posed, log))
    for number, run in enumerate(compare(bench, entrants, posed, log), done + 1):
        mark = "right" if run.is_right else run.error or "wrong"
        told = f"{number}/{total} {run.problem} {run.method} {mark} {run.seconds:.1f} s"
        click.echo(told, err=True)


def _report(rows: Sequence[Figures], log: RunLog, *, has_plots: bool) -> None:
    """Write the results beside the log, and print them."""
    facts = {
        "command": shlex.join(["forethought", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "started": log.started,
        "settings": log.settings,
    }
    write_results(log.path.parent, rows, facts=facts, has_plots=has_plots)
    for section in sections(rows):
        wide_console().print(as_table(section))
    click.echo(f"problems: {rows[0].num_problems}, methods: {len(rows)}; in {log.path.parent}")
    speed_ups = {
        row.method: {name: ratio.value for name, ratio in row.speed_ups.items()} for row in rows
    }
    accuracy = {row.method: row.accuracy for row in rows}
    click.echo(json.dumps({"accuracy": accuracy, "speed_ups": speed_ups}))
