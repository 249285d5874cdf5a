"""Chains: whole solutions that a model wrote, cut into steps, with what became of them.

They are what evaluators are trained, calibrated and measured on. A file of chains is JSON Lines,
one chain a line, as `Chain.document` gives it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forethought.config import require
from forethought.errors import ConfigError
from forethought.prompts import Task
from forethought.thoughts import ROOT, Source, Thought


@dataclass(frozen=True, slots=True)
class Problem:
    """A question and its final answer; `name` tells it from others."""

    name: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Step:
    """One thought of a chain. `tokens` are ids of the vocabulary that wrote it. `value` is the
    share of roll-outs from here that ended right, where roll-outs were made."""

    text: str
    tokens: list[int]
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """A model's whole solution of a problem. `problem` names the problem, for splits by question;
    `stated` is the final answer found in it, if any; `is_right` says whether that is `answer`."""

    problem: str
    question: str
    answer: str
    source: Source
    model: str
    vocabulary: str
    steps: list[Step]
    stated: str | None
    is_right: bool

    def path(self) -> list[Thought]:
        """The chain as a path of a search tree, for evaluators."""
        last = len(self.steps)
        return [
            Thought(
                id=depth,
                parent=depth - 1 if depth > 1 else ROOT,
                depth=depth,
                text=step.text,
                tokens=step.tokens,
                vocabulary=self.vocabulary,
                source=self.source,
                is_terminal=depth == last,
            )
            for depth, step in enumerate(self.steps, 1)
        ]

    def document(self) -> dict[str, Any]:
        """Plain data for a line of JSON; `parsed_chain` reads it."""
        return asdict(self)


def solution_text(text: str, task: Task) -> str:
    """A whole solution up to the end of the thought that ends its path in a search."""
    if not task.answer_ends_path:
        return text
    parts = text.split(task.delimiter)
    for end in range(1, len(parts)):
        whole = task.delimiter.join([*parts[:end], ""])  # of code, the delimiter is the block's end
        if task.find_answer(whole) is not None:
            return whole.rstrip()
    return text


def load_problems(path: Path, limit: int | None = None) -> list[Problem]:
    """The first `limit` problems, or all, of a JSON Lines file with `question`, `answer` and maybe
    `id`.

    Raises:
        ConfigError: a line is not of this form.
    """
    problems = []
    for number, line in enumerate(_lines(path)[:limit], 1):
        try:
            row = json.loads(line)
            name = str(row.get("id", f"{path.stem}/{number}"))
            problems.append(Problem(name, str(row["question"]), str(row["answer"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            require(False, f"{path}:{number} is no JSON object of question and answer: {error}")
    require(bool(problems), f"{path} has no problems")
    return problems


def parsed_chain(document: dict[str, Any]) -> Chain:
    """A chain from `Chain.document`'s form. Raises TypeError or KeyError where it is none."""
    return Chain(**{**document, "steps": [Step(**step) for step in document["steps"]]})


def read_chains(path: Path) -> list[Chain]:
    """The chains of a file.

    Raises:
        ConfigError: a line is no chain; the message has its number.
    """
    return list(_parsed_lines(path))


def append_chains(path: Path, chains: Iterable[Chain]) -> None:
    """Add chains to a file, in one write, so that a kill leaves whole lines or none."""
    lines = "".join(json.dumps(chain.document(), ensure_ascii=False) + "\n" for chain in chains)
    with path.open("a", encoding="utf-8") as file:
        file.write(lines)


def _parsed_lines(path: Path) -> Iterator[Chain]:
    for number, line in enumerate(_lines(path), 1):
        try:
            yield parsed_chain(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            require(False, f"{path}:{number} is no chain: {error}")


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid UTF-8: {error}") from error
    # not splitlines, which also cuts at line separators within a JSON string
    return text.removesuffix("\n").split("\n") if text else []
