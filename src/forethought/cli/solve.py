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

from forethought.cli.graphs import build, chosen, graph_options
from forethought.cli.live import LiveTree, PlainTree, print_solution
from forethought.cli.opening import PAIR, gamma_option, open_models, pair_options
from forethought.cli.options import search_options
from forethought.evaluators.registry import DEFAULT_EVALUATOR
from forethought.model import Scope
from forethought.report import document
from forethought.runs import open_runs
from forethought.solve import Solution
from forethought.solve import solve as run_search
from forethought.stores import data_folder, default_store

_ANSWERED, _LIMIT = 0, 3


@click.command()
@click.argument("question", required=False)
@click.option("--file", "path", type=click.Path(path_type=Path), help="Read the question from it.")
@click.option(
    "--evaluator", "spec", default=DEFAULT_EVALUATOR, show_default=True, help="evaluators list"
)
@click.option("--run", "name", help="Keep the run under this name, or go on with it.")
@click.option(
    "--runs", type=click.Path(path_type=Path), help="The file of kept runs; default: this user's."
)
@click.option("--plain", is_flag=True, help="Lines instead of a live tree.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@graph_options
@pair_options
@gamma_option
@search_options
def solve(question: str | None, path: Path | None, **options: Any) -> int:
    """Think about QUESTION (- reads standard input) and print the answer with its cost.

    With --run, the same command goes on where an earlier one was stopped, however it was.
    """
    name: str | None = options["name"]
    is_known = name is not None and question is None and path is None
    text = None if is_known else read_question(question, path)
    choice = chosen(options)
    task = {"task": choice.config.task}
    as_json: bool = options["as_json"]
    is_live = not as_json and not options["plain"] and sys.stdout.isatty()
    view = LiveTree() if is_live else PlainTree(is_silent=as_json)
    scope = Scope()
    with (
        open_models(PAIR, options | task, with_states=choice.with_states) as opened,
        default_store() as store,
        keeping(name, options["runs"]) as kept,
        cancel_on_interrupt(scope.cancel),
        view,
    ):
        built = build(choice, opened, store, gamma=options["gamma"])
        view.watch(built.draft, built.target)
        solution = run_search(
            text, built.graph, config=built.config, scope=scope, listen=view.receive, **kept
        )
    show(solution, as_json=as_json)
    return _ANSWERED if solution.answer.finish_reason == "answer" else _LIMIT


@contextmanager
def keeping(name: str | None, path: Path | None) -> Iterator[dict[str, Any]]:
    """What `solve` needs to keep the run called `name`, in the file at `path` or this user's own.

    Raises:
        MissingExtra: langgraph-checkpoint-sqlite is not installed.
    """
    if name is None:
        yield {}
        return
    with open_runs(path or data_folder() / "runs.sqlite") as runs:
        yield {"checkpointer": runs, "thread_id": name}


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
