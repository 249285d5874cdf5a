"""The draft writes candidates for every open path of the beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.model import Model
from forethought.nodes.state import SearchRuntime, SearchState, entries_of, node_scope, tell
from forethought.nodes.writing import write_thoughts
from forethought.prompts import task_named


@dataclass(frozen=True, slots=True)
class Draft:
    """m * N candidates per open path, in one batch (SpecSearch, draft step)."""

    model: Model

    def __call__(self, state: SearchState, runtime: SearchRuntime) -> dict[str, Any]:
        config = runtime.context
        counts = dict.fromkeys(state["frontier"], config.draft_multiplier * config.tree_width)
        tell(runtime, "drafting", depth=state["depth"], count=sum(counts.values()))
        with node_scope(state, config) as scope:
            thoughts = write_thoughts(
                state,
                model=self.model,
                source="draft",
                counts=counts,
                config=config,
                task=task_named(config.task),
            )
        tell(runtime, "proposed", thoughts=thoughts)
        return {
            "candidates": thoughts,
            "ledger": entries_of(scope, "drafted"),
            "stop": scope.stop_reason(),
        }
