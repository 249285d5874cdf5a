"""How either model writes next thoughts for the beam: one batch for all parents.

Shared by the draft node and the revise node; it decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from forethought.config import SearchConfig
from forethought.evaluators import path_tokens
from forethought.model import Completion, Model, Usage
from forethought.nodes.state import SearchState, next_id, parent_path
from forethought.prompts import Task, task_named
from forethought.thoughts import Source, Thought

# a draw's place in the run's seed: depths are below 2**16, attempts below 2**4
_RUN_SHIFT, _DEPTH_SHIFT, _ATTEMPT_SHIFT = 24, 8, 4


@dataclass(frozen=True, slots=True)
class Writer:
    """One model in the role of `source`."""

    model: Model
    source: Source

    def write(
        self, state: SearchState, config: SearchConfig, *, counts: dict[int, int], attempt: int = 0
    ) -> list[Thought]:
        """`counts[parent]` candidate thoughts per parent, all sampled in one batch.

        Thoughts that are blank or were cut off are dropped, and siblings of the same text are
        merged (OpenR, `envs/base_env.py`), so fewer may come back.
        """
        task = task_named(config.task)
        opening = task.opening(self.model, state["question"])
        starts = {
            parent: opening + path_tokens(self.model, parent_path(state, parent))
            for parent in counts
        }
        parents = [parent for parent, count in counts.items() for _ in range(count)]
        params = replace(
            config.sampling(seed=self._seed(state, config, attempt)),
            stop=(task.delimiter, *task.other_ends),
        )
        completions = self.model.generate([starts[parent] for parent in parents], params)
        # the target may write again what was rejected: its thoughts are not tested
        alive = [t for t in state["candidates"] if t.status != "rejected"]
        known = {(t.parent, t.text.strip()) for t in alive}
        drawn: dict[tuple[int, str], list[Completion]] = {}
        for parent, completion in zip(parents, completions, strict=True):
            key = (parent, completion.text.strip())
            if key[1] and completion.finish_reason in ("stop", "eos") and key not in known:
                drawn.setdefault(key, []).append(completion)
        return [
            self._thought(number, state["depth"], parent, draws, task)
            for number, ((parent, _), draws) in enumerate(drawn.items(), next_id(state))
        ]

    def _seed(self, state: SearchState, config: SearchConfig, attempt: int) -> int:
        draw = (state["depth"] << _DEPTH_SHIFT) + (attempt << _ATTEMPT_SHIFT)
        return (config.seed << _RUN_SHIFT) + draw + (self.source == "target")

    def _thought(
        self, number: int, depth: int, parent: int, draws: list[Completion], task: Task
    ) -> Thought:
        first = draws[0]
        return Thought(
            id=number,
            parent=parent,
            depth=depth,
            text=first.text,
            tokens=first.tokens,
            vocabulary=self.model.vocabulary,
            source=self.source,
            is_terminal=ends_path(first, task),
            usage=sum((draw.usage for draw in draws), Usage()),
            num_draws=len(draws),
            logprob=first.logprob,
        )


def ends_path(completion: Completion, task: Task) -> bool:
    """Whether a thought is its path's last: the model ended, or it states the answer."""
    stated = task.answer_ends_path and task.find_answer(completion.text) is not None
    return completion.finish_reason == "eos" or stated
