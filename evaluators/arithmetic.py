"""Arithmetic as people and models write it: tokens, a small grammar, exact values.

    sum      = product {("+" | "-") product}
    product  = power {("*" | "/" | "of") power}
    power    = ["-"] operand ["^" number]
    operand  = (number | "(" sum ")" {"(" sum ")"} | "\\frac" "{" sum "}" "{" sum "}") ["%"] [unit]

Values are fractions: exact, and no library is needed. Nothing is ever evaluated as code, and
numbers, exponents and nesting are bounded, so that no text can keep it busy. What the grammar does
not know raises `Unreadable`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Kind = Literal["number", "sign", "open", "close", "relation", "word", "name", "break", "other"]
Percent = Literal["hundredth", "unit", "change"]

_MOST_DIGITS = 20
_MOST_EXPONENT = 64
_DEEPEST = 8

_TOKEN = re.compile(
    r"(?P<space>[ \t]+|\\[,;:! ]|\\quad\b|\\left\b|\\right\b|\\[()]|&)"
    r"|(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]*\d)|\d+(?:\.\d+)?|\.\d+)"
    r"|(?P<currency>\\?\$|[€£¥])"
    r"|(?P<relation>=(?!=)|≈|\\approx\b|\\simeq\b)"
    r"|(?P<times>\\times\b|\\cdot\b|[\u00d7·⋅]|\*{1,2}|(?<![A-Za-z\\])[xX](?=\s*\\?\$?\s*[\d(.]))"
    r"|(?P<over>\\div\b|[/÷])"
    r"|(?P<frac>\\[dt]?frac(?=\s*\{))"
    r"|(?P<sign>[-+^%]|\\%|[\u2212\u2013])"
    r"|(?P<open>[({\[])|(?P<close>[)}\]])"
    r"|(?P<text>\\(?:text|textbf|mathrm|mbox|textrm)\s*\{[^{}]*\})"
    r"|(?P<word>[^\W\d_]+(?:['\u2019-][^\W\d_]+)*[²³]?)"
    r"|(?P<break>\\[\[\]]|(?:\\\\[ \t]*|\n[ \t]*)+|(?<!\d)[.,;:?]|[.,;:?](?!\d))"
    r"|(?P<other>\\[A-Za-z]+|.)",
    re.DOTALL,
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_LONGEST_UNIT = 5

# words that say something of a number beside them that no sign says
BINDING = re.compile(
    "of|half|twice|double|triple|thrice|quarter|third|times|plus|minus|by|than|more|less|fewer|"
    "divided|multiplied|sum|difference|product|dozens?|hundred|thousand|[mb]illion|trillion|remainder|"
    "mod|modulo|negative|squared|cubed|and|or|to|from|between"
)
_SIGNS = {"\u2212": "-", "\u2013": "-", "\\%": "%"}


class Unreadable(Exception):
    """The tokens are not arithmetic that the grammar knows, or larger than it reads."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text from `start` to `end`; `is_glued` says that it follows without a space.

    `text` is normalised: every multiplication is `*`, division `/`, fraction `frac`. A `word` has
    two letters or more, a `name` is one letter and may stand for a number.
    """

    kind: Kind
    text: str
    start: int
    end: int
    is_glued: bool


@dataclass(frozen=True, slots=True)
class Expression:
    """A sum, product or number: `operator` is `+ - * / of ^ %` over `parts`, or `number`.

    `decimals` is the number of digits behind a literal's point.
    """

    operator: str
    parts: tuple[Expression, ...] = ()
    number: Fraction = Fraction(0)
    decimals: int = 0

    @property
    def is_literal(self) -> bool:
        """Whether nothing is to be computed: a number, signed or with a percent sign."""
        return self.operator == "number" or (
            self.operator in ("%", "neg") and all(part.is_literal for part in self.parts)
        )

    def everything(self) -> Iterator[Expression]:
        """It and all its parts, in order."""
        yield self
        for part in self.parts:
            yield from part.everything()

    def literals(self) -> list[Expression]:
        """All numbers in it."""
        return [one for one in self.everything() if one.operator == "number"]

    def percentages(self) -> list[Expression]:
        """All numbers with a percent sign in it."""
        return [one.literals()[0] for one in self.everything() if one.operator == "%"]

    def operators(self) -> set[str]:
        """All operators in it."""
        return {one.operator for one in self.everything()}

    def value(self, percent: Percent = "hundredth") -> Fraction:
        """What it comes to. A percentage is taken in hundredths, as a mere unit, or, where it is
        added to something, as a change of that.

        Raises:
            Unreadable: it divides by zero, or a power is too large.
        """
        if self.operator == "number":
            return self.number
        values = [part.value(percent) for part in self.parts]
        if self.operator == "%":
            return values[0] if percent == "unit" else values[0] / 100
        if self.operator == "neg":
            return -values[0]
        left, right = values
        if percent == "change" and self.operator in "+-" and self.parts[1].operator == "%":
            right *= left
        return _applied(self.operator, left, right)


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text, spaces and currency signs left out, in order."""
    found: list[Token] = []
    end = 0
    for match in _TOKEN.finditer(text):
        group = match.lastgroup or "other"
        if group in ("space", "currency"):
            continue
        kind, content = _read(group, match[0])
        found.append(Token(kind, content, match.start(), match.end(), match.start() == end > 0))
        end = match.end()
    return found


def _read(group: str, text: str) -> tuple[Kind, str]:
    match group:
        case "times":
            return "sign", "^" if text == "**" else "*"
        case "over":
            return "sign", "/"
        case "frac":
            return "open", "frac"
        case "sign":
            return "sign", _SIGNS.get(text, text)
        case "relation":
            return "relation", "=" if text == "=" else "≈"
        case "text":
            return "word", text.partition("{")[2][:-1].strip().lower()
        case "word":
            return ("word" if len(text) > 1 or text in "aAI" else "name"), text.lower()
        case "number" if len(text) > _MOST_DIGITS:
            return "other", text
        case "number" | "open" | "close" | "break":
            return group, text
        case _:
            return "other", text


def _applied(operator: str, left: Fraction, right: Fraction) -> Fraction:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*" | "of":
            return left * right
        case "/" if right:
            return left / right
        case "^" if right.denominator == 1 and 0 <= right <= _MOST_EXPONENT:
            if abs(left.numerator) <= 10**6 and left.denominator <= 10**6:
                return left ** int(right)
    raise Unreadable(operator)


@dataclass(slots=True)
class Parser:
    """Reads the longest expression from token `at` on; `at` is then the token behind it."""

    tokens: list[Token]
    at: int
    depth: int = 0

    def sum(self) -> Expression:
        """Raises Unreadable where no expression begins, or one goes on in a way unknown."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unreadable("nested too deep")
        found = self._product()
        while (operator := self._sign()) in ("+", "-"):
            self.at += 1
            found = Expression(operator, (found, self._product()))
        self.depth -= 1
        return found

    def _product(self) -> Expression:
        found = self._power()
        while True:
            token = self._peek()
            if (operator := self._sign()) in ("*", "/"):
                self.at += 1
            elif token and token.text == "of" and _is_share(found):
                operator = "of"
                self.at += 1
            elif token and token.text in ("(", "[") and token.is_glued:
                operator = "*"
            else:
                return found
            found = Expression(operator, (found, self._power()))

    def _power(self) -> Expression:
        if self._sign() == "-":
            self.at += 1
            return Expression("neg", (self._power(),))
        found = self._operand()
        if self._sign() == "^":
            self.at += 1
            return Expression("^", (found, self._operand()))
        return found

    def _operand(self) -> Expression:
        token = self._peek()
        if token is None or token.kind not in ("number", "open"):
            raise Unreadable("no number here")
        self.at += 1
        if token.kind == "number":
            text = token.text.replace(",", "")
            decimals = len(text.partition(".")[2])
            found = Expression("number", number=Fraction(text), decimals=decimals)
        elif token.text == "frac":
            found = Expression("/", (self._group(), self._group()))
        else:
            self.at -= 1
            found = self._group()
        if self._sign() == "%":
            self.at += 1
            found = Expression("%", (found,))
        self._pass_unit()
        if (after := self._peek()) and after.text == "frac":
            raise Unreadable("a mixed number or a product")
        return found

    def _group(self) -> Expression:
        token = self._peek()
        if token is None or token.text not in _CLOSING:
            raise Unreadable("no group here")
        self.at += 1
        found = self.sum()
        after = self._peek()
        if after is None or after.text != _CLOSING[token.text]:
            raise Unreadable("not closed")
        self.at += 1
        return found

    def _pass_unit(self) -> None:
        """Pass words that name what is counted: those before a sign, a bracket or the end."""
        ahead = self.at
        while ahead < len(self.tokens) and ahead - self.at < _LONGEST_UNIT:
            token = self.tokens[ahead]
            is_rate = token.text == "/" and self._is_unit(ahead + 1)
            if not is_rate and not self._is_unit(ahead):
                break
            ahead += 1
        after = self.tokens[ahead] if ahead < len(self.tokens) else None
        if after is None or after.kind in ("sign", "close", "relation"):
            self.at = ahead

    def _is_unit(self, at: int) -> bool:
        token = self.tokens[at] if at < len(self.tokens) else None
        return token is not None and token.kind == "word" and not BINDING.fullmatch(token.text)

    def _peek(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _sign(self) -> str:
        token = self._peek()
        return token.text if token and token.kind == "sign" else ""


def _is_share(found: Expression) -> bool:
    """Whether `of` behind it multiplies: after a percentage or a fraction of two numbers."""
    return found.operator == "%" or (
        found.operator == "/" and all(part.is_literal for part in found.parts)
    )
