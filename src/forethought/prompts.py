"""All prompts and answer patterns, by task. No other file holds words that a model reads.

The worked examples are our own; they show the models the form of a thought (short, one step, closed
by a blank line), which matters more to small models than any instruction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from forethought.config import require
from forethought.model import Message


@dataclass(frozen=True, slots=True)
class Task:
    """What a kind of question asks of the models.

    `delimiter` ends a thought, on decoded text. `answer_pattern` finds the final answer (the last
    match, group 1); a thought that matches it ends its path where `answer_ends_path`. `answer_cue`
    opens a forced answer, `answer_close` ends it. `judge_question` follows a path that the judge is
    to score, to be answered by one of `judge_yes` or `judge_no`, each told by its first token.
    """

    name: str
    system: str
    examples: tuple[tuple[str, str], ...]
    answer_pattern: str
    answer_cue: str
    answer_close: str
    answer_ends_path: bool = True
    delimiter: str = "\n\n"
    judge_question: str = "Check: the step above is"
    judge_yes: tuple[str, ...] = (" correct",)
    judge_no: tuple[str, ...] = (" incorrect", " wrong", " not")

    def messages(self, question: str) -> list[Message]:
        """The conversation that opens on a question."""
        turns: list[Message] = [{"role": "system", "content": self.system}]
        for asked, answered in self.examples:
            turns.append({"role": "user", "content": asked})
            turns.append({"role": "assistant", "content": answered})
        turns.append({"role": "user", "content": question})
        return turns

    def find_answer(self, text: str) -> str | None:
        """The final answer stated in `text`, or None."""
        matches = re.findall(self.answer_pattern, text, re.DOTALL)
        return matches[-1].strip() if matches else None

    def answer_of(self, text: str) -> str:
        """A path's final answer; its last paragraph where it states none in the task's form."""
        stated = self.find_answer(text)
        if stated:
            return stated
        paragraphs = [part.strip() for part in text.split(self.delimiter) if part.strip()]
        return paragraphs[-1] if paragraphs else ""


# one level of braces inside the box, as in \boxed{\frac{1}{2}}
_BOXED = r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
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
        "Solve the programming task step by step. Write short steps of reasoning, separated by "
        "blank lines; then give the whole solution in one fenced code block without blank lines."
    ),
    examples=(),
    answer_pattern=_CODE,
    answer_cue="```python\n",
    answer_close="```",
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

TASKS = {task.name: task for task in (MATH, CODE, GENERAL)}


def task_named(name: str) -> Task:
    """The task preset called `name`.

    Raises:
        ConfigError: there is none.
    """
    require(name in TASKS, f"task must be one of {', '.join(TASKS)}, not {name!r}")
    return TASKS[name]
