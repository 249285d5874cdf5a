"""Prompts and answer patterns, by task. Words that a model reads stand here, in `prompts_cot`, and
in `prompts_prm`.

The worked examples are our own; they show the models the form of a thought (short, one step, closed
by a blank line), which matters more to small models than any instruction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import BaseModel, Field

from forethought.config import require
from forethought.model import Message, Reader


def trimmed(text: str) -> str:
    """A text without white space around it; its first line keeps its indentation, for it may be
    the first of a function's body."""
    return text.lstrip("\r\n").rstrip()


class Grade(BaseModel):
    """A grade for the last step of a solution."""

    grade: int = Field(ge=0, le=9, description="0: certainly wrong, 9: certainly correct")


@dataclass(frozen=True, slots=True)
class Task:
    """What a kind of question asks of the models.

    `delimiter` ends a thought, on decoded text, and so do `other_ends`. `answer_pattern` finds the
    final answer (the last match, group 1); a thought that matches it ends its path where
    `answer_ends_path`. `answer_cue` opens a forced answer, `answer_close` ends it.
    `answers_compare`: whether two answers mean the same can be told from their texts. `beginning`
    opens every answer, with the last block of code of the question in the place of "{code}"; a path
    is what follows. `judge_question` follows a path that the judge is to score, to be answered by
    one of `judge_yes` or `judge_no`, told by their first tokens; `digit_question` does the same for
    a judge that goes on with one digit, 0 to 9. `review` is what a chat model is told that judges
    in a conversation of its own, where it is asked for `review_word` (`review_yes` or `review_no`,
    in any case) or for `review_grade`.
    """

    name: str
    system: str
    examples: tuple[tuple[str, str], ...]
    answer_pattern: str
    answer_cue: str
    answer_close: str
    answer_ends_path: bool = True
    answers_compare: bool = True
    beginning: str = ""
    delimiter: str = "\n\n"
    other_ends: tuple[str, ...] = ()
    judge_question: str = "Check: the step above is"
    judge_yes: tuple[str, ...] = (" correct",)
    judge_no: tuple[str, ...] = (" incorrect", " wrong", " not")
    digit_question: str = "Check: from 0 (wrong) to 9 (correct), the step above gets a "
    review: str = (
        "You check solutions that are written step by step. Judge the last step alone: is it "
        "correct, given the problem and the steps before it?"
    )
    review_word: str = "Is the last step correct? Answer with one word: Yes or No."
    review_yes: tuple[str, ...] = ("yes",)
    review_no: tuple[str, ...] = ("no",)
    review_grade: str = "Grade the last step from 0 (certainly wrong) to 9 (certainly correct)."

    def messages(self, question: str) -> list[Message]:
        """The conversation that opens on a question."""
        turns: list[Message] = [{"role": "system", "content": self.system}]
        for asked, answered in self.examples:
            turns.append({"role": "user", "content": asked})
            turns.append({"role": "assistant", "content": answered})
        turns.append({"role": "user", "content": question})
        return turns

    def opening(self, reader: Reader, question: str) -> list[int]:
        """Token ids of the conversation that opens on a question, and of the answer's beginning."""
        opened = reader.chat(self.messages(question))
        if not self.beginning:
            return opened
        shown = re.findall(_CODE, question, re.DOTALL)
        return opened + reader.encode(
            self.beginning.format(code=shown[-1].rstrip() if shown else "")
        )

    def review_messages(self, question: str, steps: list[str], ask: str) -> list[Message]:
        """The conversation in which a chat model judges the last of `steps`; `ask` closes it."""
        parts = [f"Problem:\n{question}"]
        *before, last = (step.strip() for step in steps)
        if before:
            parts.append("Steps before:\n" + "\n\n".join(before))
        parts += [f"Last step:\n{last}", ask]
        return [
            {"role": "system", "content": self.review},
            {"role": "user", "content": "\n\n".join(parts)},
        ]

    def find_answer(self, text: str) -> str | None:
        """The final answer stated in `text`, or None."""
        matches = re.findall(self.answer_pattern, text, re.DOTALL)
        return trimmed(matches[-1]) if matches else None

    def answer_of(self, text: str) -> str:
        """A path's final answer; its last paragraph where it states none in the task's form."""
        stated = self.find_answer(text)
        if stated:
            return stated
        paragraphs = [part.strip() for part in text.split(self.delimiter) if part.strip()]
        return paragraphs[-1] if paragraphs else ""


# one level of braces inside the box, as in \boxed{\frac{1}{2}}
_BOXED = r"\\boxed\{\s*((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
_CODE = r"```[^\n`]*\n(.*?)```"

MATH = Task(
    name="math",
    system=(
        "Solve the problem step by step. Write short steps, separated by blank lines, and put the "
        "final answer within \\boxed{}."
    ),
    examples=(
        (
            "A baker made 24 rolls in the morning and 18 in the afternoon. She sold 30 of them and "
            "packed the rest in bags of 4. How many bags did she fill?",
            "The baker made 24 + 18 = 42 rolls in all.\n\n"
            "After selling 30 of them, 42 - 30 = 12 rolls are left.\n\n"
            "In bags of 4, these fill 12 / 4 = 3 bags.\n\n"
            "The answer is \\boxed{3}.",
        ),
    ),
    answer_pattern=_BOXED,
    answer_cue="The answer is \\boxed{",
    answer_close="}",
)

CODE = Task(
    name="code",
    system=(
        "Answer programming tasks with Python code: the whole function and the imports that it "
        "needs, without docstring and comments, in one fenced code block and nothing else."
    ),
    examples=(
        (
            "Complete this function:\n\n```python\ndef longest_run(numbers):\n"
            '    """Return how long the longest run of equal numbers is.\n\n'
            '    >>> longest_run([3, 5, 5, 3])\n    2\n    """\n```',
            "```python\ndef longest_run(numbers):\n    longest = 0\n    current = 0\n"
            "    for i, number in enumerate(numbers):\n"
            "        if i > 0 and number == numbers[i - 1]:\n            current += 1\n"
            "        else:\n            current = 1\n"
            "        longest = max(longest, current)\n    return longest\n```",
        ),
    ),
    answer_pattern=_CODE,
    answer_cue="```python\n",
    answer_close="\n```",
    answers_compare=False,
    delimiter="\n```",  # a block is one thought: only whole code can be tried
)

# a function whose head and docstring are given: the model goes on behind them, as in the files that
# it was trained on, which small models do far better than writing the whole (docs/results.md)
_TRIALS = ("\n#", "\nprint")  # at the margin begins what tries the function; it runs as it stands
COMPLETE = Task(
    name="complete",
    system="You complete Python functions. Write the whole function in one fenced code block.",
    examples=(),
    answer_pattern=rf"\A(.*?)(?:\n```|{'|'.join(map(re.escape, _TRIALS))}|\Z)",
    answer_cue="",
    answer_close="\n```",
    delimiter="\n```",
    other_ends=_TRIALS,
    answers_compare=False,
    beginning="```python\n{code}\n",
)

GENERAL = Task(
    name="general",
    system=(
        "Think about the question step by step. Write short steps, separated by blank lines, and "
        "end with one line that begins with 'Answer:'."
    ),
    examples=(),
    answer_pattern=r"(?m:^[^\w\n]*Answer:[\s*_]*)([^\n]+)",
    answer_cue="Answer:",
    answer_close="\n",
)


CONVERSATION = (
    "The conversation so far:\n\n{earlier}\n\nThink about what to answer to the last message:\n\n"
    "{last}"
)
TOOLS = "{question}\n\nTools that may be called afterwards:\n{tools}"
SPEAK = "Now give the final answer to my last message, in the form that was asked for."
# to a server that cannot be made to go on with a begun answer
GO_ON = (
    "Go on with your solution exactly where it stops. Write only its next step, and do not repeat "
    "anything."
)


def code_question(prompt: str) -> str:
    """The question that a function's signature and docstring pose."""
    return f"Complete this function:\n\n```python\n{prompt.strip()}\n```"


TASKS = {task.name: task for task in (MATH, CODE, COMPLETE, GENERAL)}


def task_named(name: str) -> Task:
    """The task preset called `name`.

    Raises:
        ConfigError: there is none.
    """
    require(name in TASKS, f"task must be one of {', '.join(TASKS)}, not {name!r}")
    return TASKS[name]
