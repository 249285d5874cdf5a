"""Prompts and answer patterns: what counts as an answer in a model's own words."""

from __future__ import annotations

import re
import time

import pytest

from forethought.engine import ScriptedModel
from forethought.errors import ConfigError
from forethought.prompts import (
    CODE,
    COMPLETE,
    GENERAL,
    MATH,
    TASKS,
    Task,
    code_question,
    task_named,
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So \boxed{42}.", "42"),
        (r"\boxed{ 42 }", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\sqrt{\frac{1}{2}}}", r"\sqrt{\frac{1}{2}}"),
        (r"$\boxed{\text{3 and } x_{1}}$ {not this}", r"\text{3 and } x_{1}"),
        ("\\boxed{1\n2}", "1\n2"),
        (r"first \boxed{1}, no: \boxed{2}", "2"),
        (r"\boxed{-5}", "-5"),
        (r"\boxed{}", ""),
        (r"\boxed{42", None),
        (r"\boxed{\frac{1}{2}", None),
        ("boxed{42}", None),
        ("the answer is 42", None),
        ("", None),
    ],
)
def test_math_answers_stand_in_the_last_box(text: str, answer: str | None) -> None:
    assert MATH.find_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("```python\nprint(1)\n```", "print(1)"),
        ("```\nprint(1)\n```", "print(1)"),
        ("```python3\nprint(1)```", "print(1)"),
        ("```c++\nint x;\n```", "int x;"),
        ("```python \nprint(1)\n```", "print(1)"),
        ("```python\na = 1\n\nb = 2\n```", "a = 1\n\nb = 2"),
        ("```python\ndraft\n```\nbetter:\n```python\nfinal\n```", "final"),
        ("Use `x` inline.", None),
        ("```python\nunfinished", None),
    ],
)
def test_code_answers_are_the_last_whole_fenced_block(text: str, answer: str | None) -> None:
    assert CODE.find_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("    return 1\n```", "    return 1"),
        ("\n    a = 1\n\n    return a\n```\nThat is all.", "    a = 1\n\n    return a"),
        ("    return 1\n", "    return 1"),
        ('    return "```"\n```', '    return "```"'),
        ("    return 1\n\n# Test", "    return 1"),
        ("    return 1\n\nprint", "    return 1"),
        ("    print(1)\n    # so\n```", "    print(1)\n    # so"),
    ],
)
def test_a_completion_is_what_stands_before_the_blocks_end(text: str, answer: str) -> None:
    assert COMPLETE.find_answer(text) == answer


def test_an_answer_begins_with_the_code_that_is_to_be_completed() -> None:
    model = ScriptedModel(lambda *_: "")
    question = code_question('def one():\n    """Return 1."""\n')
    shown = model.decode(COMPLETE.opening(model, question))
    assert shown.endswith('assistant: ```python\ndef one():\n    """Return 1."""\n')
    assert model.decode(COMPLETE.opening(model, "Add two.")).endswith("assistant: ```python\n\n")
    assert MATH.opening(model, question) == model.chat(MATH.messages(question))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Answer: Paris", "Paris"),
        ("We know this.\nAnswer: Paris\n", "Paris"),
        ("**Answer:** Paris", "Paris"),
        ("- Answer: Paris", "Paris"),
        ("Answer:\nParis", "Paris"),
        ("Answer: Rome\n\nAnswer: Paris", "Paris"),
        ("Answer: -5", "-5"),
        ("Answer: $5", "$5"),
        ("Answer: (a) and (b)", "(a) and (b)"),
        ("Answer: .5", ".5"),
        ("The Answer: Paris", None),
        ("No answer here.", None),
    ],
)
def test_general_answers_stand_on_the_last_line_that_says_so(text: str, answer: str | None) -> None:
    assert GENERAL.find_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("One.\n\nTwo.\n\n", "Two."),
        ("One.\n\n \n\n", "One."),
        ("All of it", "All of it"),
        ("One.\n\n\\boxed{}", "\\boxed{}"),
        ("", ""),
        (" \n\n ", ""),
    ],
)
def test_a_path_that_states_no_answer_is_answered_by_its_last_paragraph(
    text: str, answer: str
) -> None:
    assert MATH.answer_of(text) == answer


@pytest.mark.parametrize("task", [MATH, CODE, GENERAL], ids=lambda task: task.name)
def test_a_forced_answer_is_found_by_the_tasks_own_pattern(task: Task) -> None:
    assert task.answer_of(f"A thought.\n\n{task.answer_cue}x = 5\n{task.answer_close}") == "x = 5"


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_hundred_thousand_characters_are_searched_at_once(task: Task) -> None:
    started = time.perf_counter()
    for text in (
        "\\boxed{" * 9,
        "{" * 100_000,
        "```" * 30_000,
        "Answer:\n" * 12_000,
        "\n" * 100_000,
    ):
        task.answer_of(text)
    task.answer_of("\\boxed{" + "a{b}" * 25_000)
    assert time.perf_counter() - started < 20.0


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_conversation_alternates_and_ends_with_the_question(task: Task) -> None:
    turns = task.messages("Why?")
    assert turns[0] == {"role": "system", "content": task.system}
    assert turns[-1] == {"role": "user", "content": "Why?"}
    roles = [turn["role"] for turn in turns[1:]]
    assert roles == ["user", "assistant"] * len(task.examples) + ["user"]
    assert all(turn["content"].strip() for turn in turns)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_examples_show_thoughts_that_end_in_the_tasks_form(task: Task) -> None:
    for _, answered in task.examples:
        thoughts = [part for part in re.split(f"(?<={task.delimiter})", answered) if part]
        assert task.find_answer(thoughts[-1]) is not None
        assert all(one.strip() and task.find_answer(one) is None for one in thoughts[:-1])
        assert len(thoughts) > 1 or task.name == "code", "a program is one thought"


def test_a_question_is_passed_on_as_it_is() -> None:
    question = "What is {x} + %s?\n\nassistant: <|im_end|> \\boxed{1}"
    assert MATH.messages(question)[-1]["content"] == question


def test_tasks_are_known_by_name() -> None:
    assert {name: task.name for name, task in TASKS.items()} == {n: n for n in TASKS}
    assert [*map(task_named, TASKS)] == [MATH, CODE, COMPLETE, GENERAL]
    known = "math, code, complete, general"
    with pytest.raises(ConfigError, match=f"task must be one of {known}, not 'Math'"):
        task_named("Math")
