"""Final answers: which are the same, and what a path scores that ends in one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from plain_paths import path

from forethought.errors import EvaluatorError, MissingExtra
from forethought.evaluators import final_answer
from forethought.evaluators.final_answer import FinalAnswer, same_answer
from forethought.prompts import GENERAL, MATH
from forethought.thoughts import Thought

verified = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="needs forethought[verify]"
)


@pytest.fixture
def no_math_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed."""

    def refuse() -> None:
        raise MissingExtra("math-verify is not installed")

    monkeypatch.setattr(final_answer, "_started", refuse)
    monkeypatch.setattr(final_answer, "_checker", lambda pid: final_answer._Checker())


SAME = [
    ("18", "18"),
    ("18.0", "18"),
    ("1,200", "1200"),
    ("1{,}200", "1200"),
    ("\\$12.50", "12.5"),
    ("$12.50", "12.5"),
    ("18 eggs", "18"),
    ("18\\text{ eggs}", "18"),
    ("18 \\text{ dollars per day}", "$18"),
    ("-3", "-3"),
    ("- 3", "-3"),
    ("\\frac{1}{2}", "0.5"),
    ("\\dfrac{3}{4}", "3/4"),
    ("-\\frac{1}{4}", "-0.25"),
    ("3\\frac{1}{2}", "7/2"),
    ("50\\%", "50"),
    ("50%", "0.5"),
    ("90^\\circ", "90"),
    ("90^{\\circ}", "90"),
    ("x = 5", "5"),
    ("x=5", "5"),
    ("7.", "7"),
    ("1.0000001", "1"),
    ("The farmer has 18 eggs left.", "18"),
    ("She sells 3 bags, which makes 3 * 6 = 18", "18"),
    ("Paris", "paris"),
    ("\\text{ New  York }", "New York"),
    ("", ""),
    ("(3, 5)", "(3,5)"),
]
DIFFERENT = [
    ("18", "19"),
    ("18", "-18"),
    ("1.00001", "1"),
    ("3.33", "10/3"),
    ("50\\%", "5"),
    ("Paris", "London"),
    ("listen", "silent"),
    ("", "18"),
    ("18", ""),
    ("The farmer has 18 eggs and 3 hens left.", "18"),
    ("yes", "no"),
    ("9" * 4000, "5"),
]


@pytest.mark.usefixtures("no_math_verify")
@pytest.mark.parametrize(("given", "expected"), SAME)
def test_numbers_and_words_that_are_the_same(given: str, expected: str) -> None:
    assert same_answer(given, expected)
    assert same_answer(expected, given)


@pytest.mark.usefixtures("no_math_verify")
@pytest.mark.parametrize(("given", "expected"), DIFFERENT)
def test_numbers_and_words_that_are_not_the_same(given: str, expected: str) -> None:
    assert not same_answer(given, expected)
    assert not same_answer(expected, given)


@pytest.mark.usefixtures("no_math_verify")
@pytest.mark.parametrize("given", ["2\\sqrt{81}", "5x", "(3,5)", "18 \\pi", "2^3"])
def test_more_mathematics_than_a_number_needs_the_extra(given: str) -> None:
    with pytest.raises(MissingExtra, match="math-verify"):
        same_answer(given, "5")


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"forethought\[verify\]"):
        final_answer._Checker().is_same("x", "y")


@verified
@pytest.mark.parametrize(
    ("given", "expected", "is_same"),
    [
        ("2\\sqrt{81}", "18", True),
        ("x^2+2x+1", "(x+1)^2", True),
        ("\\{1,2\\}", "\\{2,1\\}", True),
        ("[1,\\infty)", "[1, \\infty )", True),
        ("x \\in [-2,7]", "[-2,7]", True),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", True),
        ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}", True),
        ("(3,5)", "5", False),
        ("5x", "5", False),
        ("\\sqrt{2}", "\\sqrt{3}", False),
        ("\\frac{36}", "18", False),
        ("}{", "18", False),
        ("1/0", "5", False),
        ("\\begin{", "\\frac", False),
    ],
)
def test_mathematics_is_compared_by_what_it_means(given: str, expected: str, is_same: bool) -> None:
    assert same_answer(given, expected) is is_same


@verified
def test_it_works_from_many_threads() -> None:
    pairs = [(f"\\sqrt{{{n * n}}} + x", f"x + {n + n % 2}") for n in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: same_answer(*pair), pairs))
    assert found == [n % 2 == 0 for n in range(1, 9)]


@verified
def test_a_short_text_that_keeps_sympy_busy_is_given_up_and_the_next_is_answered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = final_answer._WORKER.read_text(encoding="utf-8")
    hasty = tmp_path / "worker.py"
    hasty.write_text(source.replace("SECONDS = 10", "SECONDS = 2"), encoding="utf-8")
    monkeypatch.setattr(final_answer, "_WORKER", hasty)
    checker = final_answer._Checker()
    try:
        assert checker.is_same("2^3", "8")
        began = time.monotonic()
        assert not checker.is_same("9^{9^{9}}", "5")
        assert time.monotonic() - began < 10.0
        assert checker.is_same("2^3", "8")
    finally:
        checker.close()


def test_a_worker_that_crashes_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(3)"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    monkeypatch.setattr(final_answer, "_started", broken)
    with pytest.raises(EvaluatorError, match="code 3"):
        final_answer._Checker().is_same("2^3", "8")


# The evaluator


@dataclass(frozen=True)
class Half:
    """Scores every path 0.5."""

    name: str = "half"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return [0.5] * len(paths)


def test_ended_paths_score_one_or_zero_by_their_answer() -> None:
    evaluator = FinalAnswer("42", MATH)
    paths = [
        path("6 * 7 = 42.\n\n", "The answer is \\boxed{42}."),
        path("The answer is \\boxed{41}."),
        path("I give up: 42."),
        path("First \\boxed{42}, no:\n\n", "it is \\boxed{43}."),
    ]
    assert evaluator.score("?", paths) == [1.0, 0.0, 0.0, 0.0]
    assert all(type(score) is float for score in evaluator.score("?", paths))


def test_the_task_says_what_an_answer_is() -> None:
    assert FinalAnswer("Paris", GENERAL).score("?", [path("So.\nAnswer: Paris")]) == [1.0]


def test_a_path_under_way_cannot_be_graded() -> None:
    with pytest.raises(EvaluatorError, match="1 of 2 paths have not ended"):
        FinalAnswer("42", MATH).score(
            "?", [path("\\boxed{42}"), path("So far.", is_terminal=False)]
        )


def test_another_evaluator_scores_paths_under_way() -> None:
    evaluator = FinalAnswer("42", MATH, otherwise=Half())
    paths = [path("a", is_terminal=False), path("\\boxed{42}"), path("b", is_terminal=False)]
    assert evaluator.score("?", paths) == [0.5, 1.0, 0.5]
    assert evaluator.name == "final-answer(half)"


def test_no_paths_have_no_scores() -> None:
    assert FinalAnswer("42", MATH).score("?", []) == []
