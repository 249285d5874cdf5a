"""A dear evaluator that reads the best by a cheap one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from evaluator_contract import QUESTION, Subject, contract_test, path_of

from forethought.config import ConfigError
from forethought.engine import ScriptedModel
from forethought.errors import EvaluatorError
from forethought.evaluators import Equations, Judge, Parts, Shortlist, build_evaluator
from forethought.prompts import MATH
from forethought.thoughts import Thought


@dataclass
class Stated:
    """Scores a path by the number at its last thought's `place`; notes what it was asked."""

    place: int
    asked: list[str] = field(default_factory=list)
    name: str = "stated"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        self.asked += [path[-1].text for path in paths]
        return [float(path[-1].text.split()[self.place]) for path in paths]


def listed(*texts: str, count: int = 2) -> tuple[list[float], list[str]]:
    """The scores of thoughts that state both evaluators' numbers, and what the dear one read."""
    dear = Stated(1)
    scores = Shortlist(Stated(0), dear, count).score(QUESTION, [path_of(text) for text in texts])
    return scores, dear.asked


def test_the_best_by_the_cheap_one_are_read_by_the_dear_one() -> None:
    scores, read = listed("0.2 0.9", "0.8 0.6", "0.5 0.7", "0.1 1.0")
    assert read == ["0.8 0.6", "0.5 0.7"]
    assert scores == pytest.approx([0.2 * 0.6, 0.6, 0.7, 0.1 * 0.6])


def test_what_was_not_read_is_never_above_what_was() -> None:
    scores, _ = listed("1.0 0.4", "1.0 0.3", "1.0 0.9")
    assert scores == [0.4, 0.3, 0.3]


def test_of_equal_ones_the_earlier_are_read() -> None:
    assert listed("0.5 0.1", "0.5 0.2", "0.5 0.3")[1] == ["0.5 0.1", "0.5 0.2"]


def test_fewer_paths_than_places_are_all_read() -> None:
    assert listed("0.5 0.1", count=3) == ([0.1], ["0.5 0.1"])


def test_a_shortlist_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="count must be at least 1, not 0"):
        Shortlist(Equations(), Equations(), 0)


def test_it_has_a_name_and_reads_with_the_target() -> None:
    target = ScriptedModel(lambda *_: "", name="large")
    built = build_evaluator("shortlist", Parts(None, target, MATH))
    assert built.name == "best 2 of mean(agreement, min(equations)) by judge:large"


class Broken:
    name = "broken"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        raise EvaluatorError("no")


def judge() -> Judge:
    return Judge(ScriptedModel(lambda *_: "", judge=lambda _: [0.6, 0.2]), MATH)


test_it_keeps_the_contract = contract_test(
    [
        Subject(
            "shortlist",
            lambda: Shortlist(judge(), Equations(), 1000),
            broken=(lambda: Shortlist(judge(), Broken()), lambda: Shortlist(Broken(), judge())),
        )
    ]
)
