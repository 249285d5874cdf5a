"""The first node: an empty tree, and the thresholds that earlier runs have left."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from langgraph.types import Overwrite

from forethought.nodes.controller import Controller
from forethought.nodes.policies import policy_of
from forethought.nodes.state import SearchInput, SearchRuntime, begun, settings
from forethought.nodes.steps import opened, shared_out
from forethought.stores import ThresholdKey, ThresholdStore
from forethought.thoughts import ROOT, Plan


@dataclass(frozen=True, slots=True)
class Start:
    """Prepares the root. With `init="store"` the draft may begin at once; otherwise the target owes
    the root all its thoughts (SpecSearch's initialisation)."""

    store: ThresholdStore | None
    key: ThresholdKey
    controller: Controller

    def __call__(self, state: SearchInput, runtime: SearchRuntime) -> dict[str, Any]:
        config = settings(runtime)
        begin = begun(state, config)
        thresholds: dict[int, float] = {}
        if config.init == "store" and self.store is not None:
            thresholds = self.store.warm_start(replace(self.key, task=config.task))
        if policy_of(config).needs_threshold and 1 not in thresholds:
            step = shared_out([ROOT], Plan(1, num_drafts=0, num_large=0), config)
        else:
            step = opened([ROOT], 1, config=config, controller=self.controller)
        return {
            **begin,
            **step,
            "plans": Overwrite(step["plans"]),
            "run_id": uuid.uuid4().hex,
            "candidates": Overwrite([]),
            "finished": [],
            "thresholds": Overwrite(thresholds),
        }
