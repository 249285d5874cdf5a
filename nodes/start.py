"""The first node: an empty tree, and the thresholds that earlier runs have left."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from langgraph.types import Overwrite

from forethought.nodes.state import SearchInput, SearchRuntime, begun, settings
from forethought.nodes.steps import Rules, first_step
from forethought.stores import ThresholdKey, ThresholdStore
from forethought.thoughts import ROOT


@dataclass(frozen=True, slots=True)
class Start:
    """Prepares the root, and opens the first step unless the draft is to be gauged before. With
    `init="store"` the draft may begin at once."""

    store: ThresholdStore | None
    key: ThresholdKey
    rules: Rules

    def __call__(self, state: SearchInput, runtime: SearchRuntime) -> dict[str, Any]:
        config = settings(runtime)
        begin = begun(state, config)
        thresholds: dict[int, float] = {}
        if config.init == "store" and self.store is not None:
            thresholds = self.store.warm_start(replace(self.key, task=config.task))
        if self.rules.want_gauge(config):
            step = {"frontier": [ROOT], "depth": 1, "needs": {}, "plans": []}
        else:
            step = first_step(thresholds, config, self.rules)
        return {
            **begin,
            **step,
            "plans": Overwrite(step["plans"]),
            "run_id": uuid.uuid4().hex,
            "candidates": Overwrite([]),
            "finished": [],
            "thresholds": Overwrite(thresholds),
        }
