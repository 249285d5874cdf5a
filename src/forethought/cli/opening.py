"""Models opened for a command with one or both of the pair, and the progress of long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, get_args

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from forethought.bench.scoring import Progress
from forethought.cli.options import engine_config, engine_options
from forethought.config import EngineConfig, require
from forethought.engine import Engine, EngineStats, SpeculativeModel
from forethought.engine.gamma import MAX_GAMMA
from forethought.engine.torch_reader import TorchReader
from forethought.evaluators.registry import Parts, Role
from forethought.model import Model, Reader
from forethought.models import resolve
from forethought.prompts import TASKS, task_named
from forethought.remote import FallbackModel, OpenAIServer, RemoteModel
from forethought.remote.settings import OnLoss, is_address

Command = TypeVar("Command", bound=Callable[..., Any])
Start = Callable[[str], Progress]


DEFAULT_DRAFT, DEFAULT_TARGET = "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"
PAIR: frozenset[Role] = frozenset(("draft", "target"))
_ETA_SECONDS = 3600.0  # of the past that the time left is worked out from: one question takes many


class Served(Model, Protocol):
    """A model that counts what it has served."""

    def stats(self) -> EngineStats: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """The models of some roles, and `parts` to build evaluators from, which can open others."""

    models: dict[Role, Served]
    parts: Parts


def model_options(command: Command) -> Command:
    """The pair, its placement and the task."""
    task = click.option(
        "--task", type=click.Choice(tuple(TASKS)), default="math", show_default=True
    )
    return pair_options(task(command))


def pair_options(command: Command) -> Command:
    """The pair and its placement."""
    command = engine_options(command)
    for option in (
        click.option("--quant", default="auto", show_default=True, help="auto, original, q4_0..."),
        click.option(
            "--on-loss",
            type=click.Choice(get_args(OnLoss)),
            default="stop",
            show_default=True,
            help="Where a remote target is lost: end with the best answer, or let the draft go on.",
        ),
        click.option(
            "--target",
            default=DEFAULT_TARGET,
            show_default=True,
            help="Name, file, or https://host/v1#model.",
        ),
        click.option("--draft", default=DEFAULT_DRAFT, show_default=True, help="Name or file."),
    ):
        command = option(command)
    return command


def gamma_option(command: Command) -> Command:
    """Whether the draft also proposes single tokens to the target; see `speculating_target`."""
    return click.option(
        "--gamma",
        type=click.Choice(("auto", *map(str, range(MAX_GAMMA + 1)))),
        default="0",
        show_default=True,
        help="Tokens that the draft proposes at once while the target writes; 0 is off.",
    )(command)


def speculating_target(opened: Opened, gamma: str) -> Served:
    """The target as a search's writer: alone where `gamma` is "0", else with the draft proposing so
    many tokens, or as many as pay ("auto").

    Raises:
        ConfigError: the pair cannot exchange tokens.
    """
    draft, target = opened.models["draft"], opened.models["target"]
    if gamma == "0":
        return target
    is_local = isinstance(draft, Engine) and isinstance(target, Engine)
    require(is_local, "--gamma needs two local models: a server takes no single tokens")
    assert isinstance(draft, Engine)
    assert isinstance(target, Engine)
    return SpeculativeModel(target, draft, gamma=None if gamma == "auto" else int(gamma))


def adapted(opened: Opened, role: Role, adapter: Path | None) -> Served:
    """The model of a role, or the same weights with a LoRA adapter."""
    model = opened.models[role]
    # what a command opens is an engine, which writes and counts, too
    return model if adapter is None else cast("Served", opened.parts.opens.adapted(model, adapter))


@contextmanager
def open_models(
    roles: AbstractSet[Role],
    options: dict[str, Any],
    *,
    with_states: AbstractSet[Role] = frozenset(),
) -> Iterator[Opened]:
    """The engines of these roles, by `model_options`, some handing out hidden states; what
    evaluators open besides is a GGUF file or the folder of a checkpoint. All are closed afterwards.
    """
    quant = None if options["quant"] == "original" else options["quant"]
    config = engine_config(options)
    with ExitStack() as opened:
        models: dict[Role, Served] = {}
        for role in sorted(roles):
            if is_address(options[role]):
                models[role] = opened.enter_context(RemoteModel(OpenAIServer.at(options[role])))
                continue
            placed = replace(config, hidden_states=role in with_states)
            models[role] = opened.enter_context(
                Engine(resolve(options[role], quant=quant), config=placed)
            )
        target = models.get("target")
        if options.get("on_loss") == "draft" and isinstance(target, RemoteModel):
            require("draft" in models, "--on-loss draft needs a draft: open one")
            models["target"] = FallbackModel(target, models["draft"])
        task = task_named(options["task"])
        opener = Opener(opened, config)
        yield Opened(models, Parts(models.get("draft"), models.get("target"), task, opener))


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens what evaluators need besides the pair; all is closed with `opened`."""

    opened: ExitStack
    config: EngineConfig

    def model(self, file: str) -> Reader:
        """A GGUF file, or the folder of a checkpoint."""
        if Path(file).is_dir():
            return TorchReader(file)
        config = replace(self.config, hidden_states=True)
        return self.opened.enter_context(Engine(resolve(file, quant=None), config=config))

    def adapted(self, base: Reader, adapter: Path) -> Reader:
        """The same weights with a LoRA adapter, on a context of its own."""
        require(isinstance(base, Engine), f"{base.name} is no model that takes an adapter")
        assert isinstance(base, Engine)
        config = replace(self.config, hidden_states=False)
        return self.opened.enter_context(base.adapted(adapter, config=config))


@contextmanager
def progress_bars() -> Iterator[Start]:
    """Bars on the terminal, else a line for every tenth, on stderr; starts one by its name."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with Bars(
        *columns,
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=_ETA_SECONDS,
    ) as bars:

        def start(name: str) -> Progress:
            task = bars.add_task(name, total=None)

            def show(done: int, total: int) -> None:
                bars.update(task, completed=done, total=total)
                is_tenth = 10 * done // total > 10 * (done - 1) // total
                if is_tenth and not console.is_terminal:
                    click.echo(f"{name}: {done} of {total} questions", err=True)

            return show

        yield start
