"""Many questions at once: their searches share the engines' batches, their answers go to a file.

The file is JSON Lines, one line per finished question, and is all that a run leaves: a run that was
killed, at whatever moment, is gone on with from it. Knows nothing of terminals.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Any, get_args

from filelock import FileLock, Timeout

from forethought.bench.scoring import Progress
from forethought.config import require, require_at_least
from forethought.errors import ConfigError, EvaluatorError, PromptTooLong, SearchError
from forethought.graphs import RunConfig
from forethought.graphs.registry import AnyGraph
from forethought.model import Scope
from forethought.questions import Question
from forethought.solve import Solution, solve
from forethought.thoughts import Role

Row = dict[str, Any]

_OPENING = b'{"id": '  # of every line that is written
# what is wrong with one question; other errors would meet the next one, too
_OWN_ERRORS = (PromptTooLong, EvaluatorError, SearchError)


@dataclass(frozen=True, slots=True)
class Tally:
    """What stands in the output file: lines in all, and of those the ones that tell an error."""

    num_done: int
    num_failed: int


@dataclass(frozen=True, slots=True)
class Asker:
    """How questions are answered: by a graph under settings of its class, each with its own seed,
    `concurrency` at once. When the scope is cancelled nothing new is begun, and what runs ends
    within one decode step."""

    graph: AnyGraph
    config: RunConfig
    concurrency: int = 4
    scope: Scope = field(default_factory=Scope)

    def __post_init__(self) -> None:
        require_at_least("concurrency", self.concurrency, 1)

    def answer(self, question: Question) -> Row | None:
        """The output line of one question; None where the run was stopped first, for then the
        answer is not the one that a whole search would have given."""
        if self.scope.stop_reason():
            return None
        seed = question.seed(self.config.seed)
        config = replace(self.config, seed=seed)
        opening = {"id": question.id, "question": question.text}
        outcome: Row
        try:
            solution = solve(question.text, self.graph, config=config, scope=self.scope)
            outcome = _outcome(solution)
        except _OWN_ERRORS as error:
            outcome = {"error": f"{type(error).__name__}: {error}"}
        if self.scope.stop_reason():
            return None
        return {**opening, **outcome, "seed": seed, "input": question.rest}


def _outcome(solution: Solution) -> Row:
    answer = solution.answer
    return {
        "answer": answer.answer,
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "seconds": round(answer.ledger.wall_seconds, 3),
        "tokens": {role: answer.ledger.tokens_by(role) for role in get_args(Role)},
    }


def answer_all(
    asker: Asker, questions: list[Question], path: Path, *, progress: Progress | None = None
) -> Tally:
    """Answer the questions that have no line in the file at `path` yet, and add theirs.

    Lines stand in the order in which questions were finished. What is wrong with one question (it
    does not fit the context, an evaluator fails) is written as its line, with `error` in place of
    an answer. `progress` is called with the lines in the file and the number of questions.

    Raises:
        ConfigError: the file is none of this function's, of other questions or another seed; it
            cannot be written, or another run is writing to it.
        EngineError: see `forethought.errors`; the other searches are cancelled through the scope.
    """
    with _opened(path) as file:
        known = _known(file, path, questions, asker.config.seed)
        num_done, num_failed = len(known), sum("error" in row for row in known.values())
        if progress and known:
            progress(num_done, len(questions))

        def take(row: Row) -> None:
            nonlocal num_done, num_failed
            append(file, path, row)
            num_done += 1
            num_failed += "error" in row
            if progress:
                progress(num_done, len(questions))

        _ask(asker, [question for question in questions if question.key not in known], take)
    return Tally(num_done, num_failed)


def _ask(asker: Asker, questions: list[Question], take: Callable[[Row], None]) -> None:
    """Hand every line to `take`, in the caller's thread, as soon as it is known."""
    with ThreadPoolExecutor(asker.concurrency, "question") as pool:
        # each thread goes on in the caller's context
        jobs = [pool.submit(copy_context().run, asker.answer, one) for one in questions]
        try:
            for job in as_completed(jobs):
                if (row := job.result()) is not None:
                    take(row)
        except BaseException:
            asker.scope.cancel.set()  # or the pool would wait for whole searches
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    with ExitStack() as opened:
        try:
            opened.enter_context(FileLock(path.with_name(f".{path.name}.lock"), timeout=0))
            # unbuffered: what a failed write has left over must not be written later
            file = opened.enter_context(path.open("ab+", buffering=0))
        except Timeout as error:
            raise ConfigError(f"another run is writing to {path}: wait until it ends") from error
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error}") from error
        yield file


def _known(file: FileIO, path: Path, questions: list[Question], seed: int) -> dict[str, Row]:
    """The file's lines by id. A last line that was cut short by a kill is taken away."""
    file.seek(0)
    data = file.read()
    whole, _, torn = data.rpartition(b"\n")
    asked = {question.key: question for question in questions}
    known: dict[str, Row] = {}
    for number, line in enumerate(whole.split(b"\n") if whole else [], 1):
        row = _checked(line, f"{path}:{number}", asked, seed)
        key = str(row["id"])
        require(key not in known, f"{path}:{number} answers {key!r} once more: delete one line")
        known[key] = row
    if torn:
        is_ours = torn.startswith(_OPENING) or _OPENING.startswith(torn)
        require(is_ours, f"{path} ends in what is no answer: name another file")
        file.truncate(len(data) - len(torn))
    return known


def _checked(line: bytes, place: str, asked: dict[str, Question], seed: int) -> Row:
    try:
        row: Row = json.loads(line)
        key, text, drawn = str(row["id"]), row["question"], row["seed"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{place} is no answer ({error!r}): name another file") from error
    question = asked.get(key)
    if question is None or question.text != text:
        raise ConfigError(f"{place} answers {key!r}, which is not asked so: name another file")
    own = question.seed(seed)
    require(
        drawn == own, f"{place} has seed {drawn}, not {own}: use the run's --seed, or a new file"
    )
    return row


def append(file: FileIO, path: Path, row: Row) -> None:
    """Add a line, on the disk when this returns."""
    line = encoded(row)
    try:
        while line:
            line = line[file.write(line) :]
        os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}") from error


def encoded(row: Row) -> bytes:
    """A line of the file; half a surrogate pair becomes its own JSON escape."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
