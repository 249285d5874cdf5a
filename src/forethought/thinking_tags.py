"""Think tags: a reasoning model's prompt ends inside exactly one open think block.

Older templates of DeepSeek-R1-Distill leave the opening tag to the model, newer ones and QwQ's
write it, Qwen3's leaves it out, or writes an empty block to switch thinking off. Tags are looked
for in decoded text, where they look the same under every vocabulary. They must be visible there,
as they are in the published files of these models, where a tag is one token but no control token.
"""

from __future__ import annotations

from typing import Final

from forethought.config import Reasoning
from forethought.model import Message, Model
from forethought.prompts import Task

OPEN: Final = "<think>"
CLOSE: Final = "</think>"


def is_reasoning_model(model: Model) -> bool:
    """Whether the model was trained with think tags, told by its vocabulary: the tag is one token
    there. Fine-tunes that share a vocabulary but do not think are not told apart."""
    return len(model.encode(OPEN, special=True)) == 1


def has_think_tags(model: Model, reasoning: Reasoning) -> bool:
    """Whether `model` thinks between tags: as the setting says, or by its vocabulary ("auto")."""
    return is_reasoning_model(model) if reasoning == "auto" else reasoning == "on"


def request(instructions: str, question: str) -> list[Message]:
    """One turn of the user's with both: reasoning models are asked without a system turn and
    without worked examples (model card of DeepSeek-R1)."""
    return [{"role": "user", "content": f"{instructions}\n\n{question}"}]


def opening_of(model: Model, task: Task, question: str, reasoning: Reasoning) -> list[int]:
    """The prompt behind which `model` thinks about a question; worked examples, which have no
    thinking in them, only where it does so without tags."""
    if not has_think_tags(model, reasoning):
        return task.opening(model, question)
    return opened_prompt(model, request(task.system, question), is_reasoning=True)


def opened_prompt(model: Model, messages: list[Message], *, is_reasoning: bool) -> list[int]:
    """Token ids of the conversation, the assistant's turn opened; with `is_reasoning` also one
    think block, whether or not the template opens it or closes an empty one. No start token is
    added to the template's.

    Raises:
        ConfigError: the template refuses these messages.
    """
    tokens = model.chat(messages)
    return with_open_block(model, tokens) if is_reasoning else tokens


def with_open_block(model: Model, tokens: list[int]) -> list[int]:
    """A prompt whose assistant's turn was opened, ending inside exactly one think block."""
    tail = ""
    for start in reversed(range(len(tokens))):
        # a control token, decoded to nothing, opens the turn: what stands before is not ours
        if not model.decode(tokens[start : start + 1]):
            break
        tail = "".join(model.decode(tokens[start:]).split())
        if tail == OPEN:
            return tokens
        if tail == OPEN + CLOSE:
            tokens = tokens[:start]
            break
        if len(tail) > len(OPEN + CLOSE):
            break
    return tokens + model.encode(f"{OPEN}\n", special=True)


def is_closed(text: str) -> bool:
    """Whether the think block that `text` began in has ended in it."""
    return CLOSE in text


def closing(text: str) -> str:
    """What closes the think block that `text` began in; nothing where it is closed."""
    if is_closed(text):
        return ""
    return f"{CLOSE}\n\n" if text.endswith("\n") else f"\n{CLOSE}\n\n"


def closed(text: str) -> str:
    """`text` with the think block that it began in closed, at its end where it was not."""
    return text + closing(text)


def thinking_of(text: str) -> str:
    """What stands in the think block that `text` began in, without white space at the ends."""
    return text.partition(CLOSE)[0].strip()


def conclusion_of(text: str) -> str:
    """What stands behind the think block that `text` began in; nothing where it is open."""
    return text.partition(CLOSE)[2].strip()
