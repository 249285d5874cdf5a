"""How a step begins: which paths are open, and how their thoughts are shared out between draft and
target. Every node that ends a step uses it.
"""

from __future__ import annotations

from typing import Any

from forethought.config import SearchConfig
from forethought.nodes.controller import Controller
from forethought.nodes.policies import policy_of
from forethought.nodes.rules import num_wanted
from forethought.thoughts import Plan


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
        wanted = num_wanted(config, num_finished)
        plan = controller.plan(plan, num_paths=len(frontier), wanted=wanted, config=config)
    return shared_out(frontier, plan, config)


def shared_out(frontier: list[int], plan: Plan, config: SearchConfig) -> dict[str, Any]:
    """The update that opens a step under `plan`; no step is planned where no path is open."""
    owed = {} if plan.num_drafts else dict.fromkeys(frontier, config.tree_width)
    plans = [plan] if frontier else []
    return {"frontier": frontier, "depth": plan.depth, "needs": owed, "plans": plans}
