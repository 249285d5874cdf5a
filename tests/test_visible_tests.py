"""Code against the examples that its question shows; the questions here are our own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from evaluator_contract import Subject, contract_test
from plain_paths import path
from test_sandbox import is_isolated

from forethought.engine import ScriptedModel
from forethought.evaluators import Judge, Parts, VisibleTests, build_evaluator
from forethought.evaluators.sandbox import Limits, Outcome, Sandbox
from forethought.evaluators.visible_tests import examples_in, whole_code
from forethought.model import RunStopped, Scope, run_scope
from forethought.prompts import CODE, COMPLETE, MATH, code_question
from forethought.thoughts import Thought

isolated = pytest.mark.skipif(not is_isolated(), reason="this system grants no namespaces")

PROMPT = '''from typing import List


def evens(numbers: List[int]) -> List[int]:
    """The even numbers, in order.

    >>> evens([1, 2, 4])
    [2, 4]
    >>> evens([])
    []
    """
'''
QUESTION = code_question(PROMPT)
RIGHT = "def evens(numbers):\n    return [n for n in numbers if n % 2 == 0]"
BODY = "    return [n for n in numbers if n % 2 == 0]"
HALF = "def evens(numbers):\n    return []"
FENCED = "So the whole is\n```python\n{}\n```"
OPEN = "So the whole is\n```python\n{}"


@dataclass
class Noting:
    """Scores every path 0.25, and notes which it was asked for."""

    name: str = "noting"
    asked: list[list[str]] = field(default_factory=list)

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        self.asked.append(["".join(t.text for t in one) for one in paths])
        return [0.25] * len(paths)


def test_examples_are_those_of_the_docstring() -> None:
    for question in (QUESTION, PROMPT, "Write it.\n\n" + QUESTION):
        found = examples_in(question)
        assert found is not None
        assert found.prompt.strip() == PROMPT.strip()
        assert found.pairs == (("evens([1, 2, 4])\n", "[2, 4]\n"), ("evens([])\n", "[]\n"))


@pytest.mark.parametrize(
    "question",
    [
        "How many apples are left?",
        "def f(x):\n    '''No examples.'''",
        "def f(x:\n    '''\n    >>> f(1)\n    2\n    '''",
        "def f(x):\n    '''\n    >>>f(1)\n    2\n    '''",
        "def f(x):\n    '''\n    f(x) == 2\n    f(1) == x\n    g(1) == 2\n    f(1) -> 3 - 1 = 2'''",
        "def f(x):\n    '''\n    f(1)(2) == 2\n    f(1 == 2\n    a.f(1) == 2'''",
        "def f(x):\n    '''\n    >>> f(0)\n    Traceback (most recent call last):\n    V: x'''",
        "\0",
    ],
)
def test_what_shows_no_example_that_python_reads_has_none(question: str) -> None:
    assert examples_in(question) is None


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("f([1, 2]) == 3", ("f([1, 2])\n", "3\n")),
        ("    f(1)  ==  'a'", ("f(1)\n", "'a'\n")),
        ("f(1) => true", ("f(1)\n", "True\n")),
        ("f(-1) ==> False", ("f(-1)\n", "False\n")),
        ("f(1, y=[]) ➞ []", ("f(1, y=[])\n", "[]\n")),
        ("f('a (b)') -> None", ("f('a (b)')\n", "None\n")),
        ('f(15)   # returns "db"', ("f(15)\n", "'db'\n")),
        (">>> f(1) => 2", ("f(1)\n", "2\n")),
    ],
)
def test_calls_that_are_written_out_with_their_value_are_examples(
    line: str, pair: tuple[str, str]
) -> None:
    found = examples_in(f'def f(x, y=0):\n    """What f is.\n\n    Examples:\n    {line}\n    """')
    assert found is not None
    assert found.pairs == (pair,)


def test_an_example_with_a_line_break_in_a_string_is_read_as_it_is_written() -> None:
    found = examples_in('def f(x):\n    """\n    >>> f("a\\nb")\n    \'b\\na\'\n    """')
    assert found is not None
    assert found.pairs == (('f("a\\nb")\n', "'b\\na'\n"),)


@isolated
@pytest.mark.parametrize(
    ("code", "score"),
    [
        (RIGHT, 1.0),
        (BODY, 1.0),
        (HALF, 0.5),
        ("def evens(numbers):\n    return {}", 0.0),
        ("def evens(numbers):\n    raise SystemExit(0)", 0.0),
        ("def evens(numbers:", 0.0),
        ("def odds(numbers):\n    pass", 0.0),
        ("import sys\nsys.exit(0)", 0.0),
        ("while True: pass", 0.0),
        ("print('held 2')\nimport sys\nsys.exit(0)", 0.0),
        ("def print(*_): pass\n" + RIGHT, 0.0),
        ("def evens(numbers):\n    print('seen')\n    return []", 0.0),
    ],
)
def test_the_score_is_the_share_of_examples_that_hold(code: str, score: float) -> None:
    sandbox = Sandbox(Limits(cpu_seconds=1, wall_seconds=20.0))
    evaluator = VisibleTests(Noting(), sandbox)
    assert evaluator.score(QUESTION, [path(FENCED.format(code))]) == [score]


@isolated
@pytest.mark.parametrize("end", ["\n```", ""])
def test_a_completion_is_tried_behind_what_it_completes(end: str) -> None:
    evaluator = VisibleTests(Noting(), beginning="```\n")
    assert evaluator.score(QUESTION, [path(BODY + end)]) == [1.0]


@isolated
def test_values_that_are_written_otherwise_are_the_same() -> None:
    prompt = (
        'def pair(word):\n    """\n    >>> pair("a")\n    ("a",  1.0)\n'
        '    >>> pair("b")\n    ["b", 1]\n    """\n'
    )
    code = "def pair(word):\n    return (word, 1.0)"
    evaluator = VisibleTests(Noting())
    assert evaluator.score(code_question(prompt), [path(FENCED.format(code))]) == [0.5]


@dataclass
class Counting:
    """Stands in for the sandbox."""

    programs: list[str] = field(default_factory=list)

    def run(self, program: str) -> Outcome:
        self.programs.append(program)
        return Outcome("passed", 0, "\nheld 1\n", "", 0.01, True)


def test_unfinished_code_is_scored_by_the_other_evaluator_in_one_call() -> None:
    other, sandbox = Noting(), Counting()
    used: Any = sandbox
    paths = [
        path("Keep what divides by two.\n\n", is_terminal=False),
        path(FENCED.format(RIGHT), is_terminal=False),
        path(OPEN.format("def evens(numbers):\n\n"), is_terminal=False),
        path(OPEN.format("def evens(numbers):\n    found = []\n\n"), "    return found\n```"),
        path(FENCED.format(RIGHT) + "\nor\n", OPEN.format(RIGHT), is_terminal=False),
    ]
    scores = VisibleTests(other, used).score(QUESTION, paths)
    assert scores == [0.25, 0.5, 0.25, 0.5, 0.25]
    assert len(other.asked) == 1
    assert len(other.asked[0]) == 3
    assert len(sandbox.programs) == 2


def test_an_ended_path_without_code_is_worth_nothing() -> None:
    other, sandbox = Noting(), Counting()
    used: Any = sandbox
    paths = [path("It cannot be done."), path("So:\n```python"), path("```python\n```")]
    assert VisibleTests(other, used).score(QUESTION, paths) == [0.0, 0.0, 0.0]
    assert (other.asked, sandbox.programs) == ([], [])


def test_without_examples_all_is_scored_by_the_other_evaluator() -> None:
    other = Noting()
    paths = [path(FENCED.format(RIGHT)), path("No code.")]
    assert VisibleTests(other).score("How many?", paths) == [0.25, 0.25]


def test_the_same_code_runs_once() -> None:
    sandbox = Counting()
    used: Any = sandbox
    paths = [path(text, FENCED.format(RIGHT)) for text in ("One.\n\n", "Two.\n\n")]
    assert VisibleTests(Noting(), used).score(QUESTION, paths) == [0.5, 0.5]
    assert len(sandbox.programs) == 1


@pytest.mark.parametrize(
    ("texts", "is_terminal", "code"),
    [
        (["a\n```python\nx = 1\n```"], False, "x = 1"),
        (["a\n```python\nx = 1\n"], False, None),
        (["a\n```python\nx = 1\n"], True, "x = 1"),
        (["a\n```\nx = 1\n```\nb\n```\ny = 2\n```"], True, "y = 2"),
        (["words"], False, None),
        (["words"], True, ""),
        (["the ``` fence and ``` again"], True, ""),
    ],
)
def test_code_is_whole_once_its_block_is_closed_or_the_path_has_ended(
    texts: list[str], is_terminal: bool, code: str | None
) -> None:
    assert whole_code(path(*texts, is_terminal=is_terminal)) == code


def test_a_cancelled_run_starts_no_program() -> None:
    scope, sandbox = Scope(), Counting()
    scope.cancel.set()
    used: Any = sandbox
    with run_scope(scope), pytest.raises(RunStopped, match="cancelled"):
        VisibleTests(Noting(), used).score(QUESTION, [path(FENCED.format(RIGHT))])
    assert sandbox.programs == []


def test_its_name_in_the_registry_has_the_judge_for_unfinished_code() -> None:
    model = ScriptedModel(lambda *_: "", name="large")
    found = build_evaluator("visible-tests", Parts(None, model, CODE))
    assert found == VisibleTests(Judge(model, CODE))
    found = build_evaluator("visible-tests", Parts(None, model, COMPLETE))
    assert found == VisibleTests(Judge(model, COMPLETE), beginning="```\n")
    assert found.name == "visible-tests(judge:large)"


def model(judge: Any) -> ScriptedModel:
    return ScriptedModel(lambda *_: "", judge=judge)


def by_length(prompt: str) -> list[float]:
    share = (len(prompt) * 7 + sum(map(ord, prompt))) % 997 / 997
    return [share, 1.0 - share]


test_visible_tests_keep_the_contract = contract_test(
    [
        Subject(
            "visible-tests",
            lambda: VisibleTests(Judge(model(by_length), MATH)),
            broken=(lambda: VisibleTests(Judge(model(lambda _: [0.0, 0.0]), MATH)),),
        )
    ]
)


def test_code_that_ends_late_is_ended() -> None:
    sandbox: Any = replace(Sandbox(), limits=Limits(wall_seconds=1.0))
    if is_isolated():
        code = "import time\ntime.sleep(30)"
        assert VisibleTests(Noting(), sandbox).score(QUESTION, [path(FENCED.format(code))]) == [0.0]
