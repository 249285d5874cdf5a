"""The target thinks by itself where no chain of the draft's is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.errors import PromptTooLong
from forethought.model import Model
from forethought.nodes.cot_state import CotRuntime, CotState, cot_settings
from forethought.nodes.state import entries_of, full_context, node_scope, tell
from forethought.nodes.whole_chains import ChainWriter


@dataclass(frozen=True, slots=True)
class ThinkAgain:
    """One greedy chain of the target's, from the question alone: it never sees the drafts
    (Speculative Chain-of-Thought, error correction)."""

    model: Model

    def __call__(self, state: CotState, runtime: CotRuntime) -> dict[str, Any]:
        config, thoughts = cot_settings(runtime), state["thoughts"]
        tell(runtime, "revising", depth=1, count=1)
        with node_scope(state, config) as scope:
            try:
                writer = ChainWriter(self.model, "target")
                own = writer.greedy(state["question"], config, number=len(thoughts) + 1)
            except PromptTooLong as error:
                return full_context(error, has_thoughts=bool(thoughts))
        own = [thought.marked("revised") for thought in own]
        tell(runtime, "decided", thoughts=own)
        return {
            "thoughts": thoughts + own,
            "ledger": entries_of(scope, "revised"),
            "stop": scope.stop_reason(),
        }
