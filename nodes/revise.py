"""The target writes whole thoughts from the parent: replacements, extra ones, and the root's."""

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

_ATTEMPTS = 3  # OpenR gives a node up after three fruitless tries


@dataclass(frozen=True, slots=True)
class Revise:
    """What the target owes each parent, in one batch; not an edit of the rejected text, and not
    shown it (SpecSearch, correction step). A parent left with nothing at all is tried again."""

    model: Model
    controller: Controller

    def __call__(self, state: SearchState, runtime: SearchRuntime) -> dict[str, Any]:
        config, counts = settings(runtime), state["needs"]
        tell(runtime, "revising", depth=state["depth"], count=sum(counts.values()))
        writer, working = Writer(self.model, "target"), state.copy()
        with node_scope(state, config) as scope:
            try:
                for attempt in range(_ATTEMPTS):
                    new = writer.write(working, config, counts=counts, attempt=attempt)
                    working["candidates"] = working["candidates"] + new
                    alive = {t.parent for t in working["candidates"] if t.status != "rejected"}
                    counts = {parent: n for parent, n in counts.items() if parent not in alive}
                    if not counts or scope.stop_reason():
                        break
            except (PromptTooLong, RemoteError) as error:
                return cut_short(state, runtime, error)
        num_thoughts, seconds = sum(state["needs"].values()), scope.meter.seconds()
        self.controller.observe("revised", num_thoughts=num_thoughts, seconds=seconds)
        known = len(state["candidates"])
        tell(runtime, "proposed", thoughts=working["candidates"][known:])
        return {
            **cost(scope, "revised"),
            "candidates": working["candidates"][known:],
            "stop": scope.stop_reason(),
        }
