"""How a step begins: which paths are open, and how their thoughts are shared out between draft and
target. Every node that ends a step uses it.
"""

from __future__ import annotations

from typing import Any

from forethought.config import SearchConfig
from forethought.nodes.controller import Controller
from forethought.nodes.policies import policy_of
from forethought.thoughts import ROOT, Plan


def opened(
    frontier: list[int],
    depth: int,
    *,
    config: SearchConfig,
    controller: Controller,
    num_finished: int = 0,
) -> dict[str, Any]:
    """The update that opens a step for the paths in `frontier`, their thoughts to be at `depth`.

    Where nothing is drafted the target owes each path its N thoughts.
    """
    num_drafts = policy_of(config).num_drafts(config)
    num_large = max(config.extra_large_thoughts, config.tree_width - num_drafts)
    plan = Plan(depth, num_drafts, num_large if num_drafts else 0)
    if num_drafts and frontier and config.controller == "on":
        plan = controller.plan(
            plan, num_paths=len(frontier), num_finished=num_finished, config=config
        )
    return shared_out(frontier, plan, config)


def first_step(
    thresholds: dict[int, float], config: SearchConfig, controller: Controller
) -> dict[str, Any]:
    """The update that opens the first step: where a threshold is needed and there is none, the
    target owes the root all its thoughts (SpecSearch's initialisation)."""
    if policy_of(config).needs_threshold and 1 not in thresholds:
        return shared_out([ROOT], Plan(1, num_drafts=0, num_large=0), config)
    return opened([ROOT], 1, config=config, controller=controller)


def shared_out(frontier: list[int], plan: Plan, config: SearchConfig) -> dict[str, Any]:
    """The update that opens a step under `plan`; no step is planned where no path is open."""
    owed = {} if plan.num_drafts else dict.fromkeys(frontier, config.tree_width)
    plans = [plan] if frontier else []
    return {"frontier": frontier, "depth": plan.depth, "needs": owed, "plans": plans}
