"""One chain is picked, or none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from forethought.config_cot import CotConfig
from forethought.errors import PromptTooLong, RemoteError
from forethought.evaluators.voting import majority
from forethought.model import RunStopped
from forethought.nodes.commits import commit
from forethought.nodes.cot_state import CotRuntime, CotState, cot_settings
from forethought.nodes.selection import Selector, picked
from forethought.nodes.state import cost, lost, node_scope, tell
from forethought.prompts import task_named
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class ChooseChain:
    """The number of the best chain, by the selector in one pass over all of them, or by a rule that
    asks no model (Speculative Chain-of-Thought, draft selection, and its ablations). A lone chain
    that may not be refused is picked without a pass."""

    selector: Selector

    def __call__(self, state: CotState, runtime: CotRuntime) -> dict[str, Any]:
        config, chains = cot_settings(runtime), state["chains"]
        if config.selector != "model" or (len(chains) == 1 and not config.correction):
            return decided(state, runtime, chains, chosen_without(chains, config), [])
        tell(runtime, "scoring", depth=1, count=len(chains))
        with node_scope(state, config) as scope:
            try:
                texts = [chain.text for chain in chains]
                shares = self.selector.shares(state["question"], texts)
            except RunStopped as stopped:
                return cost(scope, "scored") | {"stop": stopped.reason}
            except PromptTooLong:
                return {"stop": "limit"}
            except RemoteError as error:
                return {"stop": lost(chains, runtime, error)}
        scored = [replace(t, score=s) for t, s in zip(chains, shares[:-1], strict=True)]
        tell(runtime, "scored", thoughts=scored)
        choice = picked(shares, bias=config.all_wrong_bias, correction=config.correction)
        return decided(state, runtime, scored, choice, shares) | cost(scope, "scored")


def chosen_without(chains: list[Thought], config: CotConfig) -> int:
    """The first chain's number, or that of the most frequent answer."""
    if config.selector != "majority":
        return 1
    return majority([chain.text for chain in chains], task_named(config.task)) + 1


def decided(
    state: CotState, runtime: CotRuntime, chains: list[Thought], choice: int, shares: list[float]
) -> dict[str, Any]:
    """The update that `choice` makes; the chain with that number is accepted, and committed, the
    others are rejected."""
    marked = [
        chain.marked("accepted" if number == choice else "rejected")
        for number, chain in enumerate(chains, 1)
    ]
    tell(runtime, "chosen", choice=choice, shares=shares)
    tell(runtime, "decided", thoughts=marked)
    told = commit(state, runtime, marked[choice - 1 : choice])
    return told | {"chains": marked, "choice": choice, "shares": shares}
