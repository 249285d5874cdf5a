"""The target thinks by itself where no chain of the draft's is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.errors import PromptTooLong, RemoteError
from forethought.model import Model
from forethought.nodes.commits import commit
from forethought.nodes.cot_state import CotRuntime, CotState, cot_settings
from forethought.nodes.state import cost, lost, node_scope, tell
from forethought.nodes.whole_chains import ChainWriter


@dataclass(frozen=True, slots=True)
class ThinkAgain:
    """One greedy chain of the target's, from the question alone: it never sees the drafts
    (Speculative Chain-of-Thought, error correction)."""

    model: Model

    def __call__(self, state: CotState, runtime: CotRuntime) -> dict[str, Any]:
        config, chains = cot_settings(runtime), state["chains"]
        tell(runtime, "revising", depth=1, count=1)
        with node_scope(state, config) as scope:
            try:
                writer = ChainWriter(self.model, "target")
                own = writer.greedy(state["question"], config, number=len(chains) + 1)
            except PromptTooLong:
                if not chains:
                    raise
                return {"stop": "limit"}
            except RemoteError as error:
                return {"stop": lost(chains, runtime, error)}
        own = [thought.marked("revised") for thought in own]
        tell(runtime, "decided", thoughts=own)
        return {
            **cost(scope, "revised"),
            **commit(state, runtime, own),
            "chains": chains + own,
            "stop": scope.stop_reason(),
        }
