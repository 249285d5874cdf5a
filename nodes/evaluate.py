"""All candidates without a score get one, in one batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from forethought.errors import PromptTooLong, RemoteError
from forethought.evaluators import Evaluator
from forethought.evaluators.asking import scores_of
from forethought.model import RunStopped
from forethought.nodes.controller import Controller
from forethought.nodes.state import (
    SearchRuntime,
    SearchState,
    cost,
    cut_short,
    node_scope,
    parent_path,
    settings,
    tell,
)


@dataclass(frozen=True, slots=True)
class Evaluate:
    """V(z) for every candidate z in its context, by its last step (OpenR's aggregation)."""

    evaluator: Evaluator
    controller: Controller

    def __call__(self, state: SearchState, runtime: SearchRuntime) -> dict[str, Any]:
        new = [thought for thought in state["candidates"] if thought.score is None]
        if not new or state["stop"]:
            return {}
        paths = [[*parent_path(state, thought.parent), thought] for thought in new]
        tell(runtime, "scoring", depth=state["depth"], count=len(new))
        with node_scope(state, settings(runtime)) as scope:
            try:
                scores = scores_of(self.evaluator, state["question"], paths)
            except RunStopped as stopped:
                return cost(scope, "scored") | {"stop": stopped.reason}
            except (PromptTooLong, RemoteError) as error:
                return cut_short(state, runtime, error)
        self.controller.observe("scored", num_thoughts=len(new), seconds=scope.meter.seconds())
        scored = [replace(t, score=s) for t, s in zip(new, scores, strict=True)]
        tell(runtime, "scored", thoughts=scored)
        return cost(scope, "scored") | {"candidates": [t.verdict for t in scored]}
