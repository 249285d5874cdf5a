"""The share of siblings that come to the same result."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evaluator_contract import QUESTION, path_of

from forethought.evaluators import Agreement, Parts, build_evaluator
from forethought.prompts import GENERAL, MATH
from forethought.thoughts import Thought


def scored(*steps: str, draws: int = 1, before: str = "First, 2 + 2 = 4.\n\n") -> list[float]:
    """The scores of siblings; the first of them was drawn `draws` times."""
    paths = [path_of(before, step) for step in steps]
    paths[0][-1] = replace(paths[0][-1], num_draws=draws)
    return Agreement(MATH).score(QUESTION, paths)


def test_every_sibling_with_the_same_last_number_counts() -> None:
    steps = ("So 3 * 4 = 12.\n\n", "That makes 12 cups\n\n", "12\n\n", "3 + 4 = 7\n\n")
    assert scored(*steps) == pytest.approx([2.5 / 4, 2.5 / 4, 2.5 / 4, 0.5 / 4])


def test_a_thought_alone_says_nothing() -> None:
    assert scored("So 12.\n\n") == [0.5]


def test_a_text_that_was_drawn_often_agrees_with_itself() -> None:
    assert scored("So 12.\n\n", "So 13.\n\n", draws=3) == pytest.approx([2.5 / 4, 0.5 / 4])


@pytest.mark.parametrize(
    ("left", "right", "is_same"),
    [
        ("1,200 cups\n\n", "= 1200\n\n", True),
        ("-3\n\n", "3\n\n", False),
        ("2.5\n\n", "2.50 or 2.5\n\n", True),
        (r"\boxed{\frac{1}{2}}, of 3", r"\boxed{\frac{1} {2}}, of 4", True),
        ("Let us count.\n\n", "let  us count.\n\n", True),
        ("Let us count.\n\n", "Let us add.\n\n", False),
        ("12.\n\n", "12\n\n", True),
    ],
)
def test_results_are_answers_numbers_or_words(left: str, right: str, is_same: bool) -> None:
    assert scored(left, right) == ([0.75, 0.75] if is_same else [0.25, 0.25])


def test_only_siblings_are_compared() -> None:
    paths = [path_of("2 cups\n\n", "So 7.\n\n"), path_of("3 cups\n\n", "So 7.\n\n")]
    assert Agreement(MATH).score(QUESTION, paths) == [0.5, 0.5]


def test_nothing_is_scored_as_nothing() -> None:
    assert Agreement(MATH).score(QUESTION, []) == []


def test_other_tasks_have_other_answers() -> None:
    paths: list[list[Thought]] = [path_of("Answer: Paris in 1889"), path_of("Answer: Rome in 1889")]
    assert Agreement(GENERAL).score(QUESTION, paths) == [0.25, 0.25]


def test_it_has_a_name() -> None:
    assert build_evaluator("agreement", Parts(None, None, MATH)) == Agreement(MATH)
    assert Agreement(MATH).name == "agreement"
