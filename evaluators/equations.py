"""The arithmetic of every equation that a thought states: a program as evaluator, no model.

An equation is what stands around `=` or `≈` where one side at least is to be computed and both are
numbers through and through: "3 boxes x 4 apples = 12 apples", "20% of 50 = 10", chains like
"3 + 4 = 7 = 14/2", LaTeX too. Equations with unknowns are no arithmetic, and what could be read in
two ways (mixed units, percentages, rounded numbers) is wrong only where it is in all: to call right
steps wrong costs a search more than to miss some wrong ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, zip_longest

from forethought.config import require_between
from forethought.evaluators.arithmetic import (
    BINDING,
    Expression,
    Parser,
    Percent,
    Token,
    Unreadable,
    tokens_of,
)
from forethought.thoughts import Thought

_LONGEST_SIDE = 60
_LABELS = frozenset(
    [
        "day",
        "step",
        "week",
        "month",
        "year",
        "case",
        "option",
        "part",
        "round",
        "number",
        "question",
        "grade",
    ]
)
_APART = ('"', "`", "“", "”", "'", "|", "→", "⇒", "\\rightarrow", "\\Rightarrow", "\\implies")
_LOOSE = ("more", "less", "fewer", "and")
# list numbers and bullets at a line's start, and emphasis, say nothing of the numbers behind them
_DECORATION = re.compile(
    r"(?m)^[ \t]*(?:\d{1,2}[.)](?!\d)|[-*•+](?=\s)|#+|>)+"
    r"|(?<![\d)\]}])\*\*|\*\*(?![\d(])"
)


@dataclass(frozen=True, slots=True)
class EquationCheck:
    """An equation as it stands in a text, whether it `holds`, and the `span` of its characters."""

    text: str
    holds: bool
    span: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Equations:
    """Scores a path by the equations of its last thought.

    1.0 where all hold; `silent` where none is stated that can be read; else half the share that
    holds, so below 0.5. `silent` is 1.0 as long as it is not set: nothing wrong was found, and in
    a product with other evaluators such a thought keeps their score.
    """

    silent: float = 1.0

    def __post_init__(self) -> None:
        require_between("silent", self.silent, (0.0, 1.0))

    @property
    def name(self) -> str:
        """`equations`, with `silent` where it is not 1."""
        return "equations" if self.silent == 1.0 else f"equations(silent={self.silent})"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        """One number in [0, 1] per path; the question and earlier thoughts do not matter."""
        return [self._score(check(path[-1].text)) for path in paths]

    def _score(self, checks: list[EquationCheck]) -> float:
        if not checks:
            return float(self.silent)
        share = sum(one.holds for one in checks) / len(checks)
        return 1.0 if share == 1.0 else share / 2


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a relation: what is to be computed, its `span`, and what it counts in `units`.

    A left side `is_free` where nothing stands before it and it has no units, and `is_chained` where
    it is a right side as well. A right side `is_free` where no "and" goes on ("3 and a half").
    """

    expression: Expression
    span: tuple[int, int]
    units: tuple[str, ...]
    is_free: bool = False
    is_chained: bool = False


def check(text: str) -> list[EquationCheck]:
    """All equations of a text that can be read as arithmetic, in order."""
    plain = _DECORATION.sub(lambda found: " " * len(found[0]), text)
    return [one for statement in _statements(tokens_of(plain)) for one in _checks(text, statement)]


def _statements(tokens: list[Token]) -> Iterator[list[Token]]:
    """What stands between full stops, commas and lines, where a line does not go on in the next."""
    statement: list[Token] = []
    for token, after in zip_longest(tokens, tokens[1:]):
        if token.kind != "break":
            statement.append(token)
            continue
        is_line = token.text.startswith(("\n", "\\\\"))
        goes_on = after is not None and after.kind == "relation"
        if not (is_line and goes_on):
            yield statement
            statement = []
    yield statement


def _checks(text: str, statement: list[Token]) -> Iterator[EquationCheck]:
    relations = [at for at, token in enumerate(statement) if token.kind == "relation"]
    bounds = [-1, *relations, len(statement)]
    for before, at, after in zip(bounds, relations, bounds[2:], strict=False):
        left = _left(text, statement[before + 1 : at], is_first=before < 0)
        right = _right(text, statement[at + 1 : after])
        if left is None or right is None or not _is_computed(left, right):
            continue
        try:
            holds = _holds(left.expression, right.expression, statement[at].text)
        except Unreadable:
            continue
        if holds or not _is_doubtful(left, right):
            span = (left.span[0], right.span[1])
            yield EquationCheck(text[slice(*span)], holds, span)


def _left(text: str, tokens: list[Token], *, is_first: bool) -> _Side | None:
    """The longest expression that ends where `tokens` end, if nothing before it belongs to it."""
    for at in range(max(0, len(tokens) - _LONGEST_SIDE), len(tokens)):
        if tokens[at].text == "-" and at and not _is_prefix(tokens, at):
            continue
        parser = Parser(tokens, at)
        try:
            expression = parser.sum()
        except Unreadable:
            continue
        if parser.at < len(tokens):
            continue
        if at and not _is_apart_before(tokens[:at], tokens[at].is_glued):
            return None
        span = (tokens[at].start, tokens[-1].end)
        units = _units(text, tokens[at:])
        return _Side(expression, span, units, not at and not units, not at and not is_first)
    return None


def _right(text: str, tokens: list[Token]) -> _Side | None:
    """The longest expression that `tokens` begin with, if nothing behind it belongs to it."""
    parser = Parser(tokens[:_LONGEST_SIDE], 0)
    try:
        expression = parser.sum()
    except Unreadable:
        return None
    after = tokens[parser.at] if parser.at < len(tokens) else None
    if after and not _is_apart_behind(after):
        return None
    span = (tokens[0].start, tokens[parser.at - 1].end)
    is_free = after is None or after.text != "and"
    return _Side(expression, span, _units(text, tokens[: parser.at + 1]), is_free)


def _is_prefix(tokens: list[Token], at: int) -> bool:
    """Whether a minus stands before a number alone, and not between it and something else."""
    if tokens[at - 1].kind == "open":
        return True
    return at + 1 < len(tokens) and tokens[at + 1].is_glued and not tokens[at].is_glued


def _is_apart_before(tokens: list[Token], is_glued: bool) -> bool:
    """Whether the last of the tokens before an expression is no part of it."""
    before = tokens[-1]
    words = " ".join(token.text for token in tokens[-2:])
    match before.kind:
        case "word":
            is_bound = BINDING.fullmatch(before.text) and words != "total of"
            is_bound = is_bound and before.text != "and"
            return not (is_bound or is_glued or before.text in _LABELS)
        case "open":
            return before.text in ("(", "[") or words.startswith("\\boxed")
        case "close":
            return not is_glued
        case "other":
            return before.text in _APART
    return False


def _is_apart_behind(after: Token) -> bool:
    """Whether what stands behind an expression is no part of it."""
    match after.kind:
        case "word":
            return not BINDING.fullmatch(after.text) or after.text in _LOOSE
        case "open":
            return after.text in ("(", "[") and not after.is_glued
        case "close":
            return True
        case "other":
            return after.text in _APART
    return False


def _units(text: str, tokens: list[Token]) -> tuple[str, ...]:
    """The words behind numbers and brackets, in order; `$` where one stands there."""
    found = [
        "$" if after.text.startswith("dollar") else after.text.rstrip("s")
        for token, after in pairwise(tokens)
        if token.kind in ("number", "close") and after.kind == "word"
    ]
    is_money = tokens and re.search("[$€£¥]", text[max(0, tokens[0].start - 2) : tokens[-1].end])
    return ("$", *found) if is_money else tuple(found)


def _is_computed(left: _Side, right: _Side) -> bool:
    """Whether the two sides state arithmetic, and not a name, a unit or a definition."""
    if not left.expression.is_literal:
        return True
    return left.is_chained or (left.is_free and not right.expression.is_literal)


def _is_doubtful(left: _Side, right: _Side) -> bool:
    """Whether two sides that differ may still be right: in other units, or mixed ones."""
    if not right.is_free:
        return True
    named = set(right.units)
    if named and left.units and not named & set(left.units):
        return True
    is_sum = any(one in "+-" for one in left.expression.operators())
    return is_sum and len(set(left.units) - {"$"}) > 1


def _holds(left: Expression, right: Expression, relation: str) -> bool:
    slack = max(_slack(left, relation), _slack(right, relation))
    for a in _readings(left):
        for b in _readings(right):
            x, y = left.value(a), right.value(b)
            if x == y or abs(x - y) < max(slack, _blur(left, x), _blur(right, y)):
                return True
    return False


def _slack(side: Expression, relation: str) -> Fraction:
    """How far a stated number may be from the exact one: less than one of its last digit. A whole
    number is exact behind `=`; behind `≈`, zeros at its end are no digits."""
    if not side.is_literal:
        return Fraction(0)
    literal = side.literals()[0]
    decimals = literal.decimals + (2 if "%" in side.operators() else 0)
    if decimals:
        return Fraction(1, 10**decimals)
    zeros = len(str(literal.number)) - len(str(literal.number).rstrip("0"))
    return Fraction(10**zeros) if relation == "≈" else Fraction(0)


def _blur(side: Expression, value: Fraction) -> Fraction:
    """What rounded numbers that were computed with may cost: those with three decimals or more."""
    is_rounded = any(literal.decimals >= 3 for literal in side.literals())
    return abs(value) / 1000 if is_rounded else Fraction(0)


def _readings(side: Expression) -> list[Percent]:
    """How a side's percentages may be meant."""
    if "%" not in side.operators():
        return ["hundredth"]
    if side.is_literal or all(literal.number == 100 for literal in side.percentages()):
        return ["hundredth", "change", "unit"]
    return ["hundredth", "change"]
