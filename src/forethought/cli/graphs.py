"""The graph that a command runs: its options, what is checked before models are opened, and how it
is built of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from forethought.assignments import assigned
from forethought.bench.selection_bias import SelectionBias, calibrated, read_selection_bias
from forethought.cli.opening import Opened, Served, adapted, speculating_target
from forethought.cli.options import given_options
from forethought.config import require
from forethought.config_cot import CotConfig
from forethought.evaluators import Cached
from forethought.evaluators.registry import Role, build_evaluator, roles_with_states
from forethought.evaluators.trained import AdapterKind, check_adapter
from forethought.graphs import GRAPHS, Graph, Live, RunConfig, graph_named
from forethought.graphs.registry import AnyGraph
from forethought.model import Reader
from forethought.prompts import task_named
from forethought.stores import ThresholdStore

Command = TypeVar("Command", bound=Callable[..., Any])

_KINDS: Final[Mapping[str, AdapterKind]] = {
    "draft_adapter": "draft",
    "selector_adapter": "selector",
}
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def graph_options(command: Command) -> Command:
    """Which graph thinks, settings of its own, and what Speculative Chain-of-Thought was fitted
    with."""
    for option in (
        click.option(
            "--set",
            "assignments",
            metavar="KEY=VALUE",
            multiple=True,
            help="A setting of the graph, by its name; docs/speculative_thinking.md and "
            "docs/speculative_cot.md. Repeatable.",
        ),
        click.option(
            "--graph",
            type=click.Choice(tuple(GRAPHS)),
            default="spec-search",
            show_default=True,
            help="How draft and target work together.",
        ),
    ):
        command = option(command)
    return fitted_options(command)


def fitted_options(command: Command) -> Command:
    """What Speculative Chain-of-Thought may have been fitted with: adapters and calibrations."""
    return adapter_options(
        click.option(
            "--calibration",
            "calibrations",
            type=_FILE,
            multiple=True,
            help="Of the selector, from `forethought calibrate scot`; of several, the one for the "
            "number of chains. Repeatable.",
        )(command)
    )


def adapter_options(command: Command) -> Command:
    """GGUF LoRA files of `forethought train`."""
    for option in (
        click.option("--selector-adapter", type=_FILE, help="On the target, to pick chains."),
        click.option("--draft-adapter", type=_FILE, help="On the draft, to write chains."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Fitted:
    """What belongs to Speculative Chain-of-Thought alone, as the options name it."""

    draft_adapter: Path | None
    selector_adapter: Path | None
    calibrations: tuple[SelectionBias, ...]

    @property
    def is_given(self) -> bool:
        """Whether there is any of it."""
        return any((self.draft_adapter, self.selector_adapter, self.calibrations))

    def draft(self, opened: Opened) -> Served:
        """The draft, or its weights with the adapter."""
        return adapted(opened, "draft", self.draft_adapter)

    def selector(self, opened: Opened) -> Reader:
        """The target, or its weights with the adapter."""
        return adapted(opened, "target", self.selector_adapter)


def fitted(options: Mapping[str, Any]) -> Fitted:
    """What `fitted_options` name.

    Raises:
        ConfigError: a calibration is none.
        UnknownModel, ModelLoadError, ModelFileError: an adapter is none of its kind.
    """
    check_adapters(options)
    calibrations = tuple(read_selection_bias(path) for path in options["calibrations"])
    return Fitted(options["draft_adapter"], options["selector_adapter"], calibrations)


def check_adapters(options: Mapping[str, Any]) -> None:
    """Refuse what is no adapter of its kind. Raises as `check_adapter`."""
    for name, kind in _KINDS.items():
        if options[name] is not None:
            check_adapter(options[name], kind)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A graph with a run's settings, the evaluator's `spec`, where it asks one, and what it was
    `fitted` with."""

    graph: Graph
    config: RunConfig
    spec: str | None
    fitted: Fitted

    @property
    def with_states(self) -> AbstractSet[Role]:
        """The models whose hidden states are read."""
        return roles_with_states(self.spec) if self.spec else frozenset()


@dataclass(frozen=True, slots=True)
class Built:
    """A graph ready to run, and the models that write in it."""

    graph: AnyGraph
    config: RunConfig
    draft: Served
    target: Served


def chosen(options: Mapping[str, Any], *, given: Mapping[str, Any] | None = None) -> Chosen:
    """What the options of the running command choose; `given` are those among them that set the
    graph, by default all that the user gave. Everything that can be refused before a model is
    opened is.

    Raises:
        ConfigError: a value is out of range, or is none of this graph's.
    """
    graph, found = graph_named(options["graph"]), fitted(options)
    config = run_config(graph, options["assignments"], given=given)
    task_named(config.task)
    is_cot = isinstance(config, CotConfig)
    require(
        is_cot or not found.is_given,
        f"the graph {graph.name} takes no adapter and no calibration: leave them out, or choose "
        "--graph speculative-cot",
    )
    require(
        not (isinstance(config, CotConfig) and config.all_wrong_bias and found.calibrations),
        "all_wrong_bias is set, and a calibration sets it too: leave one out",
    )
    return Chosen(graph, config, options["spec"] if graph.asks_evaluator else None, found)


def build(
    choice: Chosen, opened: Opened, store: ThresholdStore | None, *, gamma: str = "0"
) -> Built:
    """The graph of open models; the draft proposes `gamma` tokens at once to the target.

    Raises:
        ConfigError: the calibration was fitted for others, or the pair cannot exchange tokens.
        UnknownModel, ModelLoadError, ModelFileError, NotEnoughMemory: an adapter's.
    """
    config, found = choice.config, choice.fitted
    draft, target = found.draft(opened), speculating_target(opened, gamma)
    selector = found.selector(opened)
    if isinstance(config, CotConfig):
        names = {"selector": selector.name, "draft": draft.name}
        config = calibrated(config, found.calibrations, **names)
    evaluator = Cached(build_evaluator(choice.spec, opened.parts)) if choice.spec else None
    live = Live(draft, target, evaluator, store, selector)
    return Built(choice.graph.build(live), config, draft, target)


def run_config(
    graph: Graph, assignments: tuple[str, ...] = (), *, given: Mapping[str, Any] | None = None
) -> RunConfig:
    """The settings of `graph` that the options of the running command give, or `given`, its own
    defaults for the rest; `assignments` are those of `--set`.

    Raises:
        ConfigError: a value is out of range, or the graph has no such setting.
    """
    names = {field.name for field in fields(graph.settings)}
    given = given_options() if given is None else given
    for name in given:
        known = name in names or (name == "spec" and graph.asks_evaluator)
        flag = "--evaluator" if name == "spec" else "--" + name.replace("_", "-")
        require(known, f"the graph {graph.name} has no {flag}: leave it out, or choose another")
    values = {name: value for name, value in given.items() if name in names}
    own = assigned(assignments, graph.settings, where=f"--set of {graph.name}")
    return graph.settings(**values | own)
