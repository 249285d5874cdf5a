"""What process reward models were trained to read.

Each solution stands in the very form of its model's own code, which the constants below name; steps
are given without white space at the ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from forethought.model import Message


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
