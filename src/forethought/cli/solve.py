"""`forethought solve`: one question, thought about in sight of the user."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from forethought.cli.live import LiveTree, PlainTree, print_solution
from forethought.cli.options import engine_config, engine_options, search_config, search_options
from forethought.config import EngineConfig
from forethought.engine import Engine
from forethought.evaluators import Judge
from forethought.graphs import spec_search
from forethought.model import Scope
from forethought.models import resolve
from forethought.prompts import task_named
from forethought.report import document
from forethought.solve import Solution
from forethought.solve import solve as run_search
from forethought.stores import default_store

DEFAULT_DRAFT, DEFAULT_TARGET = "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"
_ANSWERED, _LIMIT = 0, 3


@click.command()
@click.argument("question", required=False)
@click.option("--file", "path", type=click.Path(path_type=Path), help="Read the question from it.")
@click.option("--draft", default=DEFAULT_DRAFT, show_default=True, help="Name or .gguf path.")
@click.option("--target", default=DEFAULT_TARGET, show_default=True, help="Name or .gguf path.")
@click.option("--quant", default="auto", show_default=True, help="auto, original, or e.g. q4_0.")
@click.option("--evaluator", type=click.Choice(["judge"]), default="judge", show_default=True)
@click.option("--plain", is_flag=True, help="Lines instead of a live tree.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@engine_options
@search_options
def solve(question: str | None, path: Path | None, **options: Any) -> int:
    """Think about QUESTION (- reads standard input) and print the answer with its cost."""
    text = read_question(question, path)
    config = search_config(options)
    task = task_named(config.task)
    placement = engine_config(options)
    as_json: bool = options["as_json"]
    is_live = not as_json and not options["plain"] and sys.stdout.isatty()
    view = LiveTree(config) if is_live else PlainTree(config, is_silent=as_json)
    scope = Scope()
    with (
        open_pair(options["draft"], options["target"], options["quant"], placement) as (
            small,
            large,
        ),
        default_store() as store,
        cancel_on_interrupt(scope.cancel),
        view,
    ):
        judge = Judge(large, task)
        graph = spec_search(draft=small, target=large, evaluator=judge, thresholds=store)
        view.watch(small, large)
        solution = run_search(text, graph, config=config, scope=scope, listen=view.receive)
    show(solution, as_json=as_json)
    return _ANSWERED if solution.answer.finish_reason == "answer" else _LIMIT


def read_question(question: str | None, path: Path | None) -> str:
    """The question from the argument, a file, or standard input ("-").

    Raises:
        click.UsageError: none, or two, or the file cannot be read as text.
    """
    if (question is None) == (path is None):
        raise click.UsageError("give one question: as an argument, - for standard input, or --file")
    try:
        if path is not None:
            data = path.read_bytes()
        elif question == "-":
            data = sys.stdin.buffer.read()
        else:
            # bytes that are no UTF-8 come in as surrogates
            data = (question or "").encode("utf-8", "surrogateescape")
        text = data.decode("utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot read the question: {error}") from error
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise click.UsageError(
            f"the question is not valid UTF-8 (byte {error.start}): save it as UTF-8"
        ) from error
    if not text.strip():
        raise click.UsageError("the question is empty: give some text to think about")
    return text


@contextmanager
def open_pair(
    draft: str, target: str, quant: str, config: EngineConfig
) -> Iterator[tuple[Engine, Engine]]:
    """Both engines, closed afterwards. `quant` is auto, original, or a quantisation's name."""
    wanted = None if quant == "original" else quant
    small, large = resolve(draft, quant=wanted), resolve(target, quant=wanted)
    with (
        Engine(small, config=config) as draft_engine,
        Engine(large, config=config) as target_engine,
    ):
        yield draft_engine, target_engine


@contextmanager
def cancel_on_interrupt(cancel: threading.Event) -> Iterator[None]:
    """The first Ctrl-C sets `cancel`; a second one interrupts as usual."""

    def handle(_: int, __: FrameType | None) -> None:
        cancel.set()
        signal.signal(signal.SIGINT, previous)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def show(solution: Solution, *, as_json: bool) -> None:
    """Print the outcome for a reader or for a program."""
    if as_json:
        click.echo(document(solution).model_dump_json(indent=2))
    else:
        print_solution(solution)
