"""How a step begins: which paths are open, and how their thoughts are shared out between draft and
target. Every node that ends a step uses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from forethought.config import SearchConfig
from forethought.nodes.controller import Controller
from forethought.nodes.policies import AcceptancePolicy, policy_of
from forethought.thoughts import ROOT, Plan


@dataclass(frozen=True, slots=True)
class Rules:
    """What one graph's nodes decide by beside a run's settings: measured costs, and a policy of the
    graph's own in the place of the one that the settings name."""

    controller: Controller = field(default_factory=Controller)
    own_policy: AcceptancePolicy | None = None

    def policy(self, config: SearchConfig) -> AcceptancePolicy:
        """The rule by which drafts are accepted."""
        return self.own_policy or policy_of(config)

    def want_gauge(self, config: SearchConfig) -> bool:
        """Whether the draft is to be gauged before the first step is opened."""
        drafts = self.policy(config).num_drafts(config) > 0
        return drafts and self.controller.wants_gauge(config)


def opened(
    frontier: list[int],
    depth: int,
    *,
    config: SearchConfig,
    rules: Rules,
    num_finished: int = 0,
) -> dict[str, Any]:
    """The update that opens a step for the paths in `frontier`, their thoughts to be at `depth`.

    Where nothing is drafted the target owes each path its N thoughts.
    """
    num_drafts = rules.policy(config).num_drafts(config)
    num_large = max(config.extra_large_thoughts, config.tree_width - num_drafts)
    plan = Plan(depth, num_drafts, num_large if num_drafts else 0)
    if num_drafts and frontier and config.controller == "on":
        plan = rules.controller.plan(
            plan, num_paths=len(frontier), num_finished=num_finished, config=config
        )
    return shared_out(frontier, plan, config)


def first_step(thresholds: dict[int, float], config: SearchConfig, rules: Rules) -> dict[str, Any]:
    """The update that opens the first step: where a threshold is needed and there is none, the
    target owes the root all its thoughts (SpecSearch's initialisation)."""
    if rules.policy(config).needs_threshold and 1 not in thresholds:
        return shared_out([ROOT], Plan(1, num_drafts=0, num_large=0), config)
    return opened([ROOT], 1, config=config, rules=rules)


def shared_out(frontier: list[int], plan: Plan, config: SearchConfig) -> dict[str, Any]:
    """The update that opens a step under `plan`; no step is planned where no path is open."""
    early_width = config.early_width if config.is_early(plan.depth) else None
    width = early_width or config.tree_width
    owed = {} if plan.num_drafts else dict.fromkeys(frontier, width)
    plans = [plan] if frontier else []
    return {"frontier": frontier, "depth": plan.depth, "needs": owed, "plans": plans}
