"""Questions to be answered in a batch, as JSON Lines."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from forethought.config import require
from forethought.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Question:
    """One line of input. `id` names it in the output; `rest` is whatever else the line says."""

    id: str | int
    text: str
    rest: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells it from others: 7 and "7" are one id."""
        return str(self.id)

    def seed(self, seed: int) -> int:
        """The question's own seed, in 0..2**32 - 1, drawn from the run's and its id; what else is
        asked, and when, does not matter."""
        digest = hashlib.sha256(f"{seed}/{self.key}".encode()).digest()
        return int.from_bytes(digest[:4], "big")


def parse_questions(data: bytes, name: str) -> list[Question]:
    """Questions from JSON Lines: objects with `question` and maybe `id`, text or a whole number, by
    default the line's number. `name` is the data's, for messages.

    Raises:
        ConfigError: a line is not of this form, or an id is used twice; the message has the line's
            number. Or there are no lines.
    """
    questions: dict[str, Question] = {}
    numbers: dict[str, int] = {}
    # not splitlines, which also cuts at line separators within a JSON string
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    for number, line in enumerate(lines, 1):
        question = _question(line, number, f"{name}:{number}")
        earlier = numbers.setdefault(question.key, number)
        require(
            earlier == number,
            f"{name}:{number} has the id {question.key!r} of line {earlier}: ids must differ",
        )
        questions[question.key] = question
    require(bool(questions), f"{name} has no questions")
    return list(questions.values())


def _question(line: bytes, number: int, place: str) -> Question:
    row = _object(line, place)
    text, own = row.pop("question", None), row.pop("id", number)
    is_text = isinstance(text, str) and bool(text.strip())
    require(is_text, f"{place} has no text as `question`: {text!r}")
    is_id = isinstance(own, str | int) and not isinstance(own, bool) and own != ""
    require(is_id, f"{place} has an `id` that is neither text nor a whole number: {own!r}")
    return Question(own, text, row)


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_constant=_refuse)
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair cannot be written
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place} is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise ConfigError(f"{place} is no JSON object: {row!r:.60}")
    return row


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
