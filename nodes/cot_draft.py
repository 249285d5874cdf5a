"""How a run of Speculative Chain-of-Thought begins, and the chains that the draft writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.model import Model
from forethought.nodes.cot_state import CotRuntime, CotState, cot_settings
from forethought.nodes.selection import Selector
from forethought.nodes.state import SearchInput, begun, cost, node_scope, tell
from forethought.nodes.whole_chains import ChainWriter
from forethought.prompts import task_named


@dataclass(frozen=True, slots=True)
class StartChains:
    """An empty state. What cannot work is told before anything is drafted.

    Raises:
        SearchError: the question is empty.
        ConfigError: there is no such task, or the selector cannot write the numbers.
    """

    selector: Selector

    def __call__(self, state: SearchInput, runtime: CotRuntime) -> dict[str, Any]:
        config = cot_settings(runtime)
        task_named(config.task)
        begin = begun(state, config)
        if config.selector == "model":
            self.selector.numbers(config.num_chains + 1)
        return begin | {"chains": [], "choice": None, "shares": []}


@dataclass(frozen=True, slots=True)
class DraftChains:
    """n whole chains of thought in one batch; one that is finished leaves the batch by itself, one
    that was cut at its limit is offered as it is (Speculative Chain-of-Thought, drafting)."""

    model: Model

    def __call__(self, state: CotState, runtime: CotRuntime) -> dict[str, Any]:
        config = cot_settings(runtime)
        tell(runtime, "drafting", depth=1, count=config.num_chains)
        with node_scope(state, config) as scope:
            chains = ChainWriter(self.model, "draft").drafts(state["question"], config)
        tell(runtime, "proposed", thoughts=chains)
        return {
            **cost(scope, "drafted"),
            "chains": chains,
            "stop": scope.stop_reason(),
        }
