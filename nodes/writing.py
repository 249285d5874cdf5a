"""How either model writes next thoughts for the beam: one batch for all parents.

Shared by the draft node and the revise node; it decides nothing.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from forethought.config import SearchConfig
from forethought.evaluators import path_tokens
from forethought.model import Completion, Model
from forethought.nodes.state import SearchState, next_id, parent_path
from forethought.prompts import Task
from forethought.thoughts import Source, Thought

# a draw's place in the run's seed: depths are below 2**16, attempts below 2**4
_DEPTH_SHIFT, _ATTEMPT_SHIFT = 8, 4


def write_thoughts(
    state: SearchState,
    *,
    model: Model,
    source: Source,
    counts: dict[int, int],
    config: SearchConfig,
    task: Task,
    attempt: int = 0,
) -> list[Thought]:
    """`counts[parent]` candidate thoughts per parent, all sampled in one batch.

    Thoughts that are blank or were cut off are dropped, and siblings of the same text are merged
    (OpenR, `envs/base_env.py`), so fewer may come back.
    """
    opening = model.chat(task.messages(state["question"]))
    parents = [parent for parent, count in counts.items() for _ in range(count)]
    starts = {
        parent: opening + path_tokens(model, parent_path(state, parent)) for parent in counts
    }
    draw = (state["depth"] << _DEPTH_SHIFT) + (attempt << _ATTEMPT_SHIFT) + (source == "target")
    params = replace(config.sampling(seed=(config.seed << 24) + draw), stop=(task.delimiter,))
    completions = model.generate([starts[parent] for parent in parents], params)
    drawn = list(zip(parents, completions, strict=True))
    return merge_draws(drawn, state=state, model=model, source=source, task=task)


def merge_draws(
    drawn: list[tuple[int, Completion]],
    *,
    state: SearchState,
    model: Model,
    source: Source,
    task: Task,
) -> list[Thought]:
    """Thoughts of the usable draws; a text that a parent's draws repeat is one thought."""
    ids = itertools.count(next_id(state))
    # the target may write again what was rejected: its thoughts are not tested
    alive = [t for t in state["candidates"] if t.status != "rejected"]
    known = {(t.parent, t.text.strip()) for t in alive}
    thoughts: dict[tuple[int, str], Thought] = {}
    for parent, completion in drawn:
        key = (parent, completion.text.strip())
        if not key[1] or completion.finish_reason not in ("stop", "eos") or key in known:
            continue
        if first := thoughts.get(key):
            thoughts[key] = replace(
                first, num_draws=first.num_draws + 1, usage=first.usage + completion.usage
            )
            continue
        thoughts[key] = Thought(
            id=next(ids),
            parent=parent,
            depth=state["depth"],
            text=completion.text,
            tokens=completion.tokens,
            vocabulary=model.vocabulary,
            source=source,
            is_terminal=ends_path(completion, task),
            usage=completion.usage,
        )
    return list(thoughts.values())


def ends_path(completion: Completion, task: Task) -> bool:
    """Whether a thought is its path's last: the model ended, or it states the answer."""
    stated = task.answer_ends_path and task.find_answer(completion.text) is not None
    return completion.finish_reason == "eos" or stated
