"""How the target brings a path to its end: the task's answer cue, gone on from greedily."""

from __future__ import annotations

from dataclasses import replace

from forethought.config import SamplingParams
from forethought.model import Completion, Model
from forethought.prompts import Task

_ANSWER_TOKENS = 64
_CODE_TOKENS = 512


def forced_end(model: Model, task: Task, prompt: list[int]) -> Completion | None:
    """The final answer that `model` gives behind `prompt`, cue included in text and tokens; None
    where the context has no room for one, or the run may not write any more."""
    cue = model.encode(task.answer_cue)
    limit = _CODE_TOKENS if "```" in task.answer_cue else _ANSWER_TOKENS
    limit = min(limit, model.context_size - len(prompt) - len(cue) - 1)
    if limit < 1:
        return None
    params = SamplingParams(
        temperature=0.0, max_tokens=limit, stop=(task.answer_close,), keep_stop=True
    )
    (completion,) = model.generate([prompt + cue], params)
    if not completion.text.strip():
        return None
    return replace(
        completion, text=task.answer_cue + completion.text, tokens=cue + completion.tokens
    )
