"""`forethought batch`: a file of questions in, a file of answers out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from forethought.batch import Asker, answer_all
from forethought.cli.graphs import build, chosen, graph_options
from forethought.cli.opening import PAIR, gamma_option, open_models, pair_options, progress_bars
from forethought.cli.options import search_options
from forethought.cli.solve import cancel_on_interrupt
from forethought.evaluators.registry import DEFAULT_EVALUATOR
from forethought.model import Scope
from forethought.questions import Question, parse_questions
from forethought.stores import default_store

_DONE, _STOPPED, _FAILED = 0, 1, 3


@click.command()
@click.argument("source", metavar="FILE")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Added to."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Questions in work at once.",
)
@click.option(
    "--evaluator", "spec", default=DEFAULT_EVALUATOR, show_default=True, help="evaluators list"
)
@graph_options
@pair_options
@gamma_option
@search_options
def batch(source: str, out: Path, concurrency: int, **options: Any) -> int:
    """Answer the questions in FILE (- reads standard input), JSON Lines; docs/batch.md.

    Goes on where it was cut off: what has a line in the output is not asked again.
    """
    questions = read_questions(source)
    choice = chosen(options)
    task = {"task": choice.config.task}
    scope = Scope()
    with (
        open_models(PAIR, options | task, with_states=choice.with_states) as opened,
        default_store() as store,
        cancel_on_interrupt(scope.cancel),
        progress_bars() as start,
    ):
        built = build(choice, opened, store, gamma=options["gamma"])
        asker = Asker(built.graph, built.config, concurrency, scope)
        tally = answer_all(asker, questions, out, progress=start("answers"))
    is_done = tally.num_done == len(questions)
    failed = f", {tally.num_failed} of them errors" if tally.num_failed else ""
    rest = "" if is_done else "; run the same command to go on"
    click.echo(f"{out}: {tally.num_done} of {len(questions)} questions{failed}{rest}")
    if not is_done:
        return _STOPPED
    return _FAILED if tally.num_failed else _DONE


def read_questions(source: str) -> list[Question]:
    """The questions of a file, or of standard input ("-").

    Raises:
        click.UsageError: the file cannot be read.
        ConfigError: as `parse_questions`.
    """
    if source == "-":
        return parse_questions(sys.stdin.buffer.read(), "standard input")
    try:
        data = Path(source).read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read the questions: {error}") from error
    return parse_questions(data, source)
