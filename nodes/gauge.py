"""The draft answers the question by itself a few times, to tell whether it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from forethought.model import Model
from forethought.nodes.state import (
    SearchRuntime,
    SearchState,
    cost,
    node_scope,
    settings,
    tell,
)
from forethought.nodes.steps import Rules, first_step
from forethought.nodes.trust import agreement
from forethought.prompts import task_named

_NUM_ANSWERS: Final = 3
_LENGTH: Final = 2  # longest thoughts


@dataclass(frozen=True, slots=True)
class Gauge:
    """Whole answers in one batch, whose agreement the controller takes in before it plans the first
    step. They are not used as thoughts: what the draft says with confidence is what is in doubt."""

    model: Model
    rules: Rules

    def __call__(self, state: SearchState, runtime: SearchRuntime) -> dict[str, Any]:
        config = settings(runtime)
        task = task_named(config.task)
        tell(runtime, "gauging", count=_NUM_ANSWERS)
        params = replace(
            config.sampling(seed=config.seed),
            max_tokens=_LENGTH * config.thought_tokens,
            keep_stop=False,
            logprob=False,
        )
        with node_scope(state, config) as scope:
            prompt = task.opening(self.model, state["question"])
            completions = self.model.generate([prompt] * _NUM_ANSWERS, params)
        stopped = scope.stop_reason()
        if not stopped:
            share = agreement([task.find_answer(one.text) for one in completions])
            self.rules.controller.trust.observe(task.name, share)
        step = first_step(state["thresholds"], config, self.rules)
        return step | cost(scope, "drafted") | {"stop": stopped}
