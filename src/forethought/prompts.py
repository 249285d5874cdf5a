"""Prompts and answer patterns, by task. Words that a model reads stand here and in `prompts_cot`.

The worked examples are our own; they show the models the form of a thought (short, one step, closed
by a blank line), which matters more to small models than any instruction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import BaseModel, Field

from forethought.config import require
from forethought.model import Message


class Grade(BaseModel):
    """A grade for the last step of a solution."""

    grade: int = Field(ge=0, le=9, description="0: certainly wrong, 9: certainly correct")


@dataclass(frozen=True, slots=True)
class Task:
    """What a kind of question asks of the models.

    `delimiter` ends a thought, on decoded text. `answer_pattern` finds the final answer (the last
    match, group 1); a thought that matches it ends its path where `answer_ends_path`. `answer_cue`
    opens a forced answer, `answer_close` ends it. `judge_question` follows a path that the judge is
    to score, to be answered by one of `judge_yes` or `judge_no`, each told by its first token;
    `digit_question` does the same for a judge that goes on with one digit, 0 to 9. `review` is what
    a chat model is told that judges in a conversation of its own, where it is asked for
    `review_word` (`review_yes` or `review_no`, in any case) or for `review_grade`.
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
        # the first line of code keeps its indentation: it may be a function's body alone
        return matches[-1].lstrip("\r\n").rstrip() if matches else None

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


# to a server that cannot be made to go on with a begun answer
GO_ON = (
    "Go on with your solution exactly where it stops. Write only its next step, and do not repeat "
    "anything."
)


def code_question(prompt: str) -> str:
    """The question that a function's signature and docstring pose."""
    return f"Complete this function:\n\n```python\n{prompt.strip()}\n```"


TASKS = {task.name: task for task in (MATH, CODE, GENERAL)}


def task_named(name: str) -> Task:
    """The task preset called `name`.

    Raises:
        ConfigError: there is none.
    """
    require(name in TASKS, f"task must be one of {', '.join(TASKS)}, not {name!r}")
    return TASKS[name]


# What process reward models were trained to read. Each solution stands in the very form of its
# model's own code, which the constants below name; steps are given without white space at the ends.


@dataclass(frozen=True, slots=True)
class StepTags:
    """A solution as one text, every step closed by a tag that the model goes on from with `good` or
    `bad`.

    `closing` is the tag as it stands behind a step, `between` what parts it from the next step.
    `tag`, `good` and `bad` are each one token; `token_ids` are theirs in the vocabulary that the
    model was trained with, and None takes those that a model has.
    """

    name: str
    closing: str
    between: str
    tag: str
    good: str
    bad: str
    token_ids: tuple[int, int, int] | None = None

    def text(self, question: str, steps: list[str]) -> str:
        """What the model reads, up to the tag of the last step."""
        return f"{question} " + self.between.join(step + self.closing for step in steps)


@dataclass(frozen=True, slots=True)
class StepTurns:
    """A solution as a conversation: every step is a turn of the user's, which the assistant answers
    with `good` or `bad`, each one token. `token_ids` as in `StepTags`."""

    name: str
    good: str = "+"
    bad: str = "-"
    token_ids: tuple[int, int] | None = None

    def messages(self, question: str, steps: list[str]) -> list[Message]:
        """The conversation up to the last step; all steps before it count as good."""
        turns: list[Message] = [{"role": "user", "content": f"{question} {steps[0]}"}]
        for step in steps[1:]:
            turns.append({"role": "assistant", "content": self.good})
            turns.append({"role": "user", "content": step})
        return turns


@dataclass(frozen=True, slots=True)
class StepMarks:
    """A solution whose steps are closed by a mark, where a head reads the model's hidden state.

    `mark` is a control token or plain text; `last_only` keeps the last of its tokens. The state of
    its last token is read, which is `token_id` in the vocabulary that the model was trained with
    (None: any). With `system`, the question is a turn of a chat and the steps the assistant's; else
    the question stands as text behind `start`, a control token (None: the model's own start token,
    if any), and is followed by `after_question`.
    """

    name: str
    mark: str
    is_control: bool = False
    last_only: bool = False
    system: str | None = None
    start: str | None = None
    after_question: str = ""
    token_id: int | None = None

    def messages(self, question: str) -> list[Message]:
        """The conversation that opens on a question, for a format with `system`."""
        return [
            {"role": "system", "content": self.system or ""},
            {"role": "user", "content": question},
        ]


# model card of peiyi9979/math-shepherd-mistral-7b-prm; OpenR prm/infer_fns.py
MATH_SHEPHERD = StepTags(
    name="math-shepherd",
    closing=" ки",
    between="\n",
    tag="ки",
    good="+",
    bad="-",
    token_ids=(12902, 648, 387),
)

# openreasoner/Math-psa on Qwen2.5-Math: OpenR prm/infer_fns.py and reason/inference/rm_call.py
MATH_PSA = StepTags(
    name="math-psa",
    closing=" \n\n\n\n\n",
    between=" ",
    tag=" \n\n\n\n\n",
    good=" +",
    bad=" -",
    token_ids=(76325, 488, 481),
)

# RLHFlow/Llama3.1-8B-PRM-*-Data: RLHF-Reward-Modeling math-rm/prm_evaluate.py. Both read the same
# form; the steps that one was trained on were lines ("Step 1: ..."), those of the other paragraphs.
RLHFLOW_MISTRAL = StepTurns(name="rlhflow-mistral", token_ids=(10, 12))
RLHFLOW_DEEPSEEK = StepTurns(name="rlhflow-deepseek", token_ids=(10, 12))

# model card of Qwen/Qwen2.5-Math-PRM-7B; Qwen2.5-Math-7B-PRM800K reads the same
QWEN_MATH_PRM = StepMarks(
    name="qwen-math-prm",
    mark="<extra_0>",
    is_control=True,
    system="Please reason step by step, and put your final answer within \\boxed{}.",
    token_id=151651,
)

# Skywork-o1-Open-PRM on Qwen2.5-Math: prepare_input of its inference code, with the step token of
# RSD (arXiv 2501.19324); the model card's own example has "\n" (id 198)
SKYWORK_PRM = StepMarks(
    name="skywork-prm",
    mark="\n\n",
    last_only=True,
    start="<|endoftext|>",
    after_question="\n",
    token_id=271,
)

# TRL's PRMTrainer.tokenize_row with its default separator; a tokenizer's start token that it does
# not add by itself has to be given as `start`
TRL_PRM = StepMarks(name="trl-prm", mark="\n")


@dataclass(frozen=True, slots=True)
class PlainSteps:
    """A solution as the question and its steps, each closed by `delimiter`; after any of them the
    model says `good` or `bad`, told by their first tokens."""

    good: str = "+"
    bad: str = "-"
    delimiter: str = "\n\n"


# what `forethought train prm` trains
SMALL_PRM = PlainSteps()
