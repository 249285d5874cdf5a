"""Equations: which are read, which hold, and what a thought scores by them."""

from __future__ import annotations

import random
import time

import plain_paths
import pytest
from evaluator_contract import Subject, contract_test

from forethought.errors import ConfigError
from forethought.evaluators.arithmetic import Parser, Unreadable, tokens_of
from forethought.evaluators.equations import Equations, check
from forethought.thoughts import Thought


def verdicts(text: str) -> list[bool]:
    return [one.holds for one in check(text)]


def path(*texts: str) -> list[Thought]:
    return plain_paths.path(*texts, is_terminal=False)


# Pairs of an equation that holds and one like it that does not
PAIRS = [
    ("3 + 4 = 7", "3 + 4 = 8"),
    ("48 / 2 = 24", "48 / 2 = 25"),
    ("5 x 6 = 30", "5 x 6 = 35"),
    ("3x4=12", "3x4=13"),
    ("7 \u00d7 8 = 56", "7 \u00d7 8 = 54"),
    ("7 \u2212 9 = \u22122", "7 \u2212 9 = 2"),
    ("$12.50 * 4 = $50", "$12.50 * 4 = $48"),
    ("20% of 50 = 10", "20% of 50 = 12"),
    ("20% of 50 = 10", "20% of 50 = 1000"),
    ("1/2 of 60 = 30", "1/2 of 60 = 20"),
    ("1,200 - 300 = 900", "1,200 - 300 = 1,100"),
    ("2/3 * 9 = 6", "2/3 * 9 = 5"),
    ("6 - 2 - 1 = 3", "6 - 2 - 1 = 5"),
    ("2 + 3 * 4 = 14", "2 + 3 * 4 = 20"),
    ("(2 + 3) * 4 = 20", "(2 + 3) * 4 = 14"),
    ("2(3 + 4) = 14", "2(3 + 4) = 27"),
    ("-3 + 4 = 1", "-3 + 4 = 7"),
    ("3^2 + 4^2 = 25", "3^2 + 4^2 = 14"),
    ("24 = 48 / 2", "23 = 48 / 2"),
    ("5^{2} = 25", "5^{2} = 10"),
    ("10 / 3 = 3.33", "10 / 3 = 3.43"),
    ("2 / 3 = 0.66", "2 / 3 = 0.68"),
    ("10 / 3 ≈ 3", "10 / 3 ≈ 5"),
    ("1234 * 1 ≈ 1200", "1234 * 1 ≈ 1400"),
    ("1.25 + 1.30 = 2.55", "1.25 + 1.30 = 2.54"),
    ("12 * 0.8333 = 10", "12 * 0.8333 = 11"),
    ("5/20 = 25%", "5/20 = 20%"),
    ("5 / 20 * 100 = 25%", "5 / 20 * 100 = 30%"),
    ("2/3 = 67%", "2/3 = 60%"),
    ("100 - 20% = 80", "100 - 20% = 70"),
    ("100% - 20% = 80%", "100% - 20% = 70%"),
    ("3 boxes x 4 apples = 12 apples", "3 boxes x 4 apples = 13 apples"),
    ("$12/hour * 3 hours = $36", "$12/hour * 3 hours = $39"),
    ("60 miles per hour * 2 hours = 120 miles", "60 miles per hour * 2 hours = 130 miles"),
    ("\\frac{60}{2} = 30", "\\frac{60}{2} = 20"),
    ("\\[ 5 \\times 6 \\div 2 = 15 \\]", "\\[ 5 \\times 6 \\div 2 = 30 \\]"),
    ("\\(3 \\cdot 4 = 12\\) so", "\\(3 \\cdot 4 = 7\\) so"),
    ("\\$5 + \\$7 = \\$12", "\\$5 + \\$7 = \\$13"),
    ("\\text{Total} = 8 + 9 = 17", "\\text{Total} = 8 + 9 = 16"),
    ("\\boxed{3 + 4 = 7}", "\\boxed{3 + 4 = 9}"),
    ("\\left(2 + 3\\right) \\times 2 = 10", "\\left(2 + 3\\right) \\times 2 = 8"),
    ("1. 3 + 4 = 7", "1. 3 + 4 = 8"),
    ("- 3 + 4 = 7", "- 3 + 4 = 1"),
    ("**3 + 4 = 7**", "**3 + 4 = 8**"),
    ("(3 + 4 = 7)", "(3 + 4 = 8)"),
    ("She has a total of 3 + 4 = 7 hens.", "She has a total of 3 + 4 = 8 hens."),
    ("He needs $9 - $4 = $5 more.", "He needs $9 - $4 = $6 more."),
    ("so 3 + 4 = 7, and", "so 3 + 4 = 8, and"),
]

# not arithmetic, or not surely: nothing may be said of these
UNREAD = [
    "",
    "The farm has 3 barns.",
    "x = 5",
    "2x + 3 = 7",
    "2x = 14",
    "x + 3 = 7",
    "3 + x = 7",
    "12 - 3x = 6",
    "f(3) = 9",
    "a_3 + 4 = 9",
    "log_2 8 = 3",
    "5! = 120",
    "3 + 4 = 7!",
    "2 + 2 == 5",
    "3 + 4 >= 5",
    "3 + 4 != 5",
    "ratio 3:4 = 12:16",
    "3 1/2 * 2 = 7",
    "3\\frac{1}{2} * 2 = 7",
    "half of 60 + 5 = 35",
    "twice 3 + 4 = 10",
    "5 more than 3 + 4 = 12",
    "2 hours + 30 minutes = 150 minutes",
    "5 * 20 cents = $1",
    "1/2 hour = 30 minutes",
    "1 hour = 60 minutes",
    "the number in 3 boxes = 3 * 4 * 2",
    "Total - 3 = 4",
    "total cost + 3 = 7",
    "Day 1 - 5 + 3 = 8",
    "1 + 1 = 2 dozen + 1",
    "7 / 2 = 3 and a half",
    "7 / 2 = 3 remainder 1",
    "3 * 4 = 12 * cost",
    "total = 5 + 6",
    "3 + 4 =",
    "= 7",
    "4 / 0 = 5",
    "3,5 + 1 = 4,5",
    "1,2,3 + 4 = 7",
    "price = 5\nrate = 3\n",
]


@pytest.mark.parametrize(("right", "wrong"), PAIRS)
def test_right_arithmetic_holds_and_wrong_does_not(right: str, wrong: str) -> None:
    assert verdicts(right) == [True]
    assert verdicts(wrong) == [False]


@pytest.mark.parametrize("text", UNREAD)
def test_what_is_no_sure_arithmetic_is_left_out(text: str) -> None:
    assert check(text) == []


def test_every_link_of_a_chain_is_checked() -> None:
    assert verdicts("3 + 4 = 7 = 14/2") == [True, True]
    assert verdicts("3 + 4 = 7 = 15/2 = 8") == [True, False, False]
    assert verdicts("\\frac{20}{3} = 6.6666 \\approx 7") == [True, True]
    assert verdicts("2 + 3\n= 5\n= 6") == [True, False]
    assert verdicts("2 + 3 \\\\\n&= 5") == [True]


def test_several_equations_of_a_thought_are_told_apart() -> None:
    text = "First 3 + 4 = 7 hens and 5 + 6 = 12 ducks. Then x = 7 * 12 = 84.\n\n"
    checks = check(text)
    assert [(one.text, one.holds) for one in checks] == [
        ("3 + 4 = 7", True),
        ("5 + 6 = 12 ducks", False),
        ("7 * 12 = 84", True),
    ]
    assert all(text[slice(*one.span)] == one.text for one in checks)


def test_random_arithmetic_is_read_as_python_reads_it() -> None:
    draw = random.Random(3)
    for _ in range(300):
        terms = [str(draw.randint(1, 30)) for _ in range(draw.randint(2, 6))]
        sides = [terms[0]]
        for term in terms[1:]:
            sides += [draw.choice("+-*"), term]
        expression = " ".join(sides)
        value = eval(expression)
        assert verdicts(f"{expression} = {value}") == [True], expression
        assert verdicts(f"{expression} = {value + 1}") == [False], expression


# Nothing may keep it busy


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9 = 5",
        "9^9^9^9 = 5",
        "9^{9^{9}} = 5",
        "9^99999999 = 5",
        "((9^64)^64)^64 = 5",
        "9" * 1000 + " * 2 = 5",
        "1 * " * 5000 + "1 = 2",
        "999999999^2 * " * 20 + "1 = 2",
        "(" * 5000 + "1" + ")" * 5000 + " = 2",
        "(" * 5000 + " = 2",
        "-" * 5000 + "1 = 2",
        "\\frac{" * 1000 + "1" + "}{2}" * 1000 + " = 2",
        "1 = " * 3000 + "1",
        "1 + 1 = " * 1000 + "2",
        "a " * 5000 + "= 2",
        "3 apples " * 2000 + "= 2",
        "\\text{" * 3000,
        "1," * 5000 + " + 1 = 2",
        "aé-" * 3000,
        "$" * 5000,
        "**" * 3000,
    ],
)
def test_no_text_keeps_it_busy(text: str) -> None:
    began = time.process_time()
    check(text)
    assert time.process_time() - began < 3.0


def test_what_is_too_large_to_read_is_unreadable() -> None:
    for text in ("9^65", "9999999^2", "1/0", "5^(1/2)"):
        with pytest.raises(Unreadable):
            Parser(tokens_of(text), 0).sum().value()


def test_any_text_is_read_without_an_error() -> None:
    draw = random.Random(5)
    pieces = ["3", "4.5", " ", "+", "-", "x", "*", "/", "=", "(", ")", "{", "}", "%", "of", "hens"]
    pieces += ["$", "\\frac", "^", "≈", "\n", ",", ".", "\\text{a}", "é", "²", "\\", "1,000", "½"]
    for _ in range(3000):
        check("".join(draw.choices(pieces, k=draw.randint(1, 25))))


# The evaluator

test_equations_keep_the_contract = contract_test(
    [Subject("equations", Equations, asks_a_model=False)]
)


def test_a_thought_scores_by_its_own_equations_alone() -> None:
    paths = [
        path("3 + 4 = 9.\n\n", "So 2 * 7 = 14."),
        path("3 + 4 = 7.\n\n", "So 2 * 7 = 15."),
        path("So 2 * 7 = 14 and 14 + 1 = 16."),
        path("3 + 4 = 8.\n\n", "The answer is \\boxed{14}."),
    ]
    assert Equations().score("1 + 1 = 3?", paths) == [1.0, 0.0, 0.25, 1.0]


def test_one_wrong_equation_among_many_scores_below_a_half() -> None:
    text = "1 + 1 = 2. " * 50 + "1 + 2 = 4."
    (score,) = Equations().score("?", [path(text)])
    assert 0.4 < score < 0.5


def test_what_a_thought_without_equations_gets_can_be_set() -> None:
    silent = Equations(silent=0.5)
    assert silent.score("?", [path("Let x be 5."), path("1 + 1 = 2")]) == [0.5, 1.0]
    assert silent.name != Equations().name
    with pytest.raises(ConfigError, match=r"silent must lie in .*, not 1\.5"):
        Equations(silent=1.5)


def test_scores_are_python_floats_and_no_paths_have_none() -> None:
    assert Equations().score("?", []) == []
    assert type(Equations(silent=1).score("?", [path("nothing")])[0]) is float
