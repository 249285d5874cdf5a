"""The draft writes candidates for every open path of the beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.errors import PromptTooLong, RemoteError
from forethought.model import Model
from forethought.nodes.controller import Controller
from forethought.nodes.state import (
    SearchRuntime,
    SearchState,
    cost,
    cut_short,
    node_scope,
    settings,
    tell,
)
from forethought.nodes.writing import Writer


@dataclass(frozen=True, slots=True)
class Draft:
    """As many candidates per open path as the step's plan says, in one batch (SpecSearch, draft
    step)."""

    model: Model
    controller: Controller

    def __call__(self, state: SearchState, runtime: SearchRuntime) -> dict[str, Any]:
        config = settings(runtime)
        counts = dict.fromkeys(state["frontier"], state["plans"][-1].num_drafts)
        tell(runtime, "drafting", depth=state["depth"], count=sum(counts.values()))
        with node_scope(state, config) as scope:
            try:
                thoughts = Writer(self.model, "draft").write(state, config, counts=counts)
            except (PromptTooLong, RemoteError) as error:
                return cut_short(state, runtime, error)
        num_thoughts, seconds = sum(counts.values()), scope.meter.seconds()
        self.controller.observe("drafted", num_thoughts=num_thoughts, seconds=seconds)
        tell(runtime, "proposed", thoughts=thoughts)
        return {
            **cost(scope, "drafted"),
            "candidates": thoughts,
            "stop": scope.stop_reason(),
        }
