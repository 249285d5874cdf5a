"""Code against the tests of its problem; the problems here are our own."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from plain_paths import path
from test_sandbox import is_isolated

from forethought.errors import ConfigError, EvaluatorError
from forethought.evaluators.sandbox import Limits, Outcome, Sandbox
from forethought.evaluators.unit_tests import CodeProblem, UnitTests, run_tests
from forethought.model import RunStopped, Scope, run_scope
from forethought.thoughts import Thought

isolated = pytest.mark.skipif(not is_isolated(), reason="this system grants no namespaces")

PROBLEM = CodeProblem(
    prompt=(
        "from typing import List\n\n\ndef evens(numbers: List[int]) -> List[int]:\n"
        '    """The even numbers, in order."""\n'
    ),
    entry_point="evens",
    test=(
        "def check(candidate):\n"
        "    assert candidate([1, 2, 4]) == [2, 4]\n"
        "    assert candidate([]) == []\n"
    ),
)
RIGHT = "def evens(numbers: List[int]) -> List[int]:\n    return [n for n in numbers if n % 2 == 0]"
WRONG = "def evens(numbers):\n    return numbers"
BODY = "    return [n for n in numbers if n % 2 == 0]"
FENCED = "So the whole is\n```python\n{}\n```"


@dataclass(frozen=True)
class Half:
    """Scores every path 0.5."""

    name: str = "half"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return [0.5] * len(paths)


@isolated
@pytest.mark.parametrize(
    ("code", "status"),
    [
        (RIGHT, "passed"),
        (BODY, "passed"),
        (WRONG, "failed"),
        ("", "failed"),
        ("def odds(numbers):\n    return numbers", "failed"),
        ("def evens(numbers:", "failed"),
        ("import sys\nsys.exit(0)", "failed"),
        ("import os\ndef evens(numbers):\n    os._exit(0)", "failed"),
        ("def evens(numbers):\n    raise SystemExit(0)", "failed"),
        ("def check(candidate): pass\n" + WRONG, "failed"),
        ("def evens(numbers):\n    while True: pass", "timeout"),
        ("def evens(numbers):\n    return [0] * 10**11", "memory"),
    ],
)
def test_code_is_told_right_from_wrong(code: str, status: str) -> None:
    sandbox = Sandbox(Limits(cpu_seconds=1, wall_seconds=20.0))
    assert run_tests(code, PROBLEM, sandbox=sandbox).status == status


@isolated
def test_the_last_code_of_an_ended_path_decides() -> None:
    paths = [
        path("Keep what divides by two.\n\n", FENCED.format(RIGHT)),
        path(FENCED.format(WRONG)),
        path(FENCED.format(WRONG) + "\n\n", FENCED.format(RIGHT)),
        path(FENCED.format(RIGHT) + "\n\n", FENCED.format(WRONG)),
        path("It cannot be done."),
        path(FENCED.format(BODY)),
    ]
    scores = UnitTests(PROBLEM).score("?", paths)
    assert scores == [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
    assert all(type(score) is float for score in scores)


def test_a_path_under_way_cannot_be_tested() -> None:
    with pytest.raises(EvaluatorError, match="1 of 1 paths have not ended"):
        UnitTests(PROBLEM).score("?", [path("First.", is_terminal=False)])


def test_another_evaluator_scores_paths_under_way() -> None:
    evaluator = UnitTests(PROBLEM, otherwise=Half())
    paths = [path("First.", is_terminal=False), path("No code.")]
    assert evaluator.score("?", paths) == [0.5, 0.0]
    assert evaluator.name == "unit-tests(half)"
    assert UnitTests(PROBLEM).name == "unit-tests"


def test_no_paths_have_no_scores() -> None:
    assert UnitTests(PROBLEM).score("?", []) == []


@dataclass
class Counting:
    """Stands in for the sandbox: counts how many programs ran, and how many at once."""

    programs: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def run(self, program: str) -> Outcome:
        with self.lock:
            self.programs.append(program)
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.05)
        with self.lock:
            self.running -= 1
        return Outcome("passed", 0, "", "", 0.05, True)


def test_programs_run_side_by_side_up_to_the_number_of_cores_and_equal_ones_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    sandbox: Any = Counting()
    paths = [path(FENCED.format(f"x = {number % 6}")) for number in range(12)]
    assert UnitTests(PROBLEM, sandbox=sandbox).score("?", paths) == [1.0] * 12
    assert len(sandbox.programs) == 6
    assert sandbox.most == 3


def test_a_cancelled_run_starts_no_program() -> None:
    scope = Scope()
    scope.cancel.set()
    sandbox: Any = Counting()
    with run_scope(scope), pytest.raises(RunStopped, match="cancelled"):
        UnitTests(PROBLEM, sandbox=sandbox).score("?", [path(FENCED.format(RIGHT))])
    assert sandbox.programs == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("entry_point", "a b"),
        ("entry_point", "x); import os"),
        ("entry_point", "def"),
        ("test", ""),
    ],
)
def test_a_problem_that_cannot_be_tested_is_refused(name: str, value: str) -> None:
    fields = {name: value}
    with pytest.raises(ConfigError, match=name):
        replace(PROBLEM, **fields)
