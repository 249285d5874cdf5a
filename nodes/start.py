"""The first node: an empty tree, and the thresholds that earlier runs have left."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

from forethought.errors import SearchError
from forethought.nodes.state import SearchInput, SearchRuntime, settings
from forethought.nodes.steps import Rules, opened, shared_out
from forethought.stores import ThresholdKey, ThresholdStore
from forethought.thoughts import ROOT, Plan


@dataclass(frozen=True, slots=True)
class Start:
    """Prepares the root. With `init="store"` the draft may begin at once; otherwise the target owes
    the root all its thoughts (SpecSearch's initialisation)."""

    store: ThresholdStore | None
    key: ThresholdKey
    rules: Rules

    def __call__(self, state: SearchInput, runtime: SearchRuntime) -> dict[str, Any]:
        config = settings(runtime)
        if not state["question"].strip():
            raise SearchError("the question is empty: give some text to think about")
        thresholds: dict[int, float] = {}
        if config.init == "store" and self.store is not None:
            thresholds = self.store.warm_start(replace(self.key, task=config.task))
        if self.rules.policy(config).needs_threshold and 1 not in thresholds:
            step = shared_out([ROOT], Plan(1, num_drafts=0, num_large=0), config)
        else:
            step = opened([ROOT], 1, config=config, rules=self.rules)
        return step | {
            "started_at": time.time(),
            "run_id": uuid.uuid4().hex,
            "candidates": [],
            "finished": [],
            "thresholds": thresholds,
            "stop": None,
            "answer": None,
        }
