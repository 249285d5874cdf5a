"""One chain is picked, or none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from forethought.config_cot import CotConfig
from forethought.errors import PromptTooLong
from forethought.evaluators.voting import majority
from forethought.model import RunStopped
from forethought.nodes.cot_state import CotRuntime, CotState, cot_settings
from forethought.nodes.selection import Selector, picked
from forethought.nodes.state import entries_of, full_context, node_scope, tell
from forethought.prompts import task_named
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class ChooseChain:
    """The number of the best chain, by the selector in one pass over all of them, or by a rule that
    asks no model (Speculative Chain-of-Thought, draft selection, and its ablations). A lone chain
    that may not be refused is picked without a pass."""

    selector: Selector

    def __call__(self, state: CotState, runtime: CotRuntime) -> dict[str, Any]:
        config, thoughts = cot_settings(runtime), state["thoughts"]
        if config.selector != "model" or (len(thoughts) == 1 and not config.correction):
            return decided(runtime, thoughts, chosen_without(thoughts, config), [])
        tell(runtime, "scoring", depth=1, count=len(thoughts))
        with node_scope(state, config) as scope:
            try:
                texts = [thought.text for thought in thoughts]
                shares = self.selector.shares(state["question"], texts)
            except RunStopped as stopped:
                return {"stop": stopped.reason, "ledger": entries_of(scope, "scored")}
            except PromptTooLong as error:
                return full_context(error, has_thoughts=True)
        scored = [replace(t, score=s) for t, s in zip(thoughts, shares[:-1], strict=True)]
        tell(runtime, "scored", thoughts=scored)
        choice = picked(shares, bias=config.all_wrong_bias, correction=config.correction)
        return decided(runtime, scored, choice, shares) | {"ledger": entries_of(scope, "scored")}


def chosen_without(thoughts: list[Thought], config: CotConfig) -> int:
    """The first chain's number, or that of the most frequent answer."""
    if config.selector != "majority":
        return 1
    return majority([thought.text for thought in thoughts], task_named(config.task)) + 1


def decided(
    runtime: CotRuntime, thoughts: list[Thought], choice: int, shares: list[float]
) -> dict[str, Any]:
    """The update that `choice` makes; the chain with that number is accepted, the others are
    rejected."""
    marked = [
        thought.marked("accepted" if number == choice else "rejected")
        for number, thought in enumerate(thoughts, 1)
    ]
    tell(runtime, "chosen", choice=choice, shares=shares)
    tell(runtime, "decided", thoughts=marked)
    return {"thoughts": marked, "choice": choice, "shares": shares}
