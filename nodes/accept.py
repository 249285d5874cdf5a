"""The one place where drafts are accepted or rejected, and where the threshold moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.config import SearchConfig
from forethought.nodes.policies import AcceptancePolicy
from forethought.nodes.rules import is_unbeatable, n_best, owed, threshold_pool
from forethought.nodes.state import SearchRuntime, SearchState, settings, tell
from forethought.nodes.steps import Rules
from forethought.nodes.thresholds import next_threshold
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class Accept:
    """Reject a draft iff V(z) < beta^(k); keep the N best; then update beta (SpecSearch, 1.3-1.4).

    Runs once after the drafts were scored, when it says what the target owes, and once after the
    target's thoughts were scored, when it sets beta^(k+1). Target thoughts are not tested. Under
    another policy than SpecSearch's its own test stands in place of the threshold's.
    """

    rules: Rules

    def __call__(self, state: SearchState, runtime: SearchRuntime) -> dict[str, Any]:
        if state["stop"]:
            return {"needs": {}}
        config = settings(runtime)
        proposed = [t for t in state["candidates"] if t.status == "proposed"]
        drafted = not state["needs"]
        if drafted:
            decided = judge_drafts(state, config, self.rules.policy(config))
            due = needs(state, decided, config)
            self._observe(decided)
        else:
            decided, due = {t.id: t.marked("revised") for t in proposed}, {}
        candidates = [decided.get(t.id, t) for t in state["candidates"]]
        tell(runtime, "decided", thoughts=list(decided.values()))
        verdicts = [t.verdict for t in decided.values()]
        update: dict[str, Any] = {"candidates": verdicts, "needs": due}
        if not due:
            depth = state["depth"] + 1
            beta = next_beta(state, candidates, config)
            tell(runtime, "threshold", depth=depth, beta=beta)
            update["thresholds"] = {} if beta is None else {depth: beta}
        return update

    def _observe(self, decided: dict[int, Thought]) -> None:
        accepted = [t.num_draws for t in decided.values() if t.status == "accepted"]
        self.rules.controller.observe_acceptance(
            sum(accepted), sum(t.num_draws for t in decided.values())
        )


def next_beta(state: SearchState, candidates: list[Thought], config: SearchConfig) -> float | None:
    """beta^(k+1), k the depth in work; None where nothing is known yet.

    Where no score came in, an earlier run's value for the next depth is the best that is known.
    A tree that MCTS grows comes to a depth again and again: its own beta then moves on.
    """
    depth, thresholds = state["depth"], state["thresholds"]
    scored = [(t, t.score) for t in candidates if t.score is not None]
    pool = threshold_pool(
        [score for t, score in scored if t.source == "target"],
        [score for t, score in scored if t.status == "accepted"],
        config,
    )
    if not pool and depth + 1 in thresholds:
        return thresholds[depth + 1]
    before = threshold_at(thresholds, depth)
    if config.search == "mcts":
        before = thresholds.get(depth + 1, before)
    return next_threshold(before, pool, config)


def threshold_at(thresholds: dict[int, float], depth: int) -> float | None:
    """beta^(k), or that of the deepest shallower depth that has one; None where none has."""
    known = [k for k in thresholds if k <= depth]
    return thresholds[max(known)] if known else None


def judge_drafts(
    state: SearchState, config: SearchConfig, policy: AcceptancePolicy
) -> dict[int, Thought]:
    """Every draft by id, accepted or rejected; at most N accepted per parent."""
    beta = threshold_at(state["thresholds"], state["depth"])
    decided: dict[int, Thought] = {}
    for parent in state["frontier"]:
        drafts = [t for t in state["candidates"] if t.parent == parent and t.score is not None]
        # what a person has decided stands
        stands = [
            t.status == "accepted" or (t.status == "proposed" and policy.accepts(t, beta, config))
            for t in drafts
        ]
        kept = n_best([t.score or 0.0 for t in drafts], stands, config)
        for place, draft in enumerate(drafts):
            decided[draft.id] = draft.marked("accepted" if place in kept else "rejected")
    return decided


def needs(state: SearchState, decided: dict[int, Thought], config: SearchConfig) -> dict[int, int]:
    """Thoughts that the target owes each parent, by the step's plan and what was accepted.

    Accepted are counted by draws: a text that the draft drew three times is one thought, accepted
    three times. Nothing is owed where one of them is the answer already.
    """
    kept = [t for t in decided.values() if t.status == "accepted"]
    if any(is_unbeatable(t, config) for t in kept):
        return {}
    accepted = dict.fromkeys(state["frontier"], 0)
    for thought in kept:
        accepted[thought.parent] += thought.num_draws
    missing = owed([*accepted.values()], config, num_finished=len(state["finished"]))
    counts = [count + state["plans"][-1].num_large for count in missing]
    return {parent: count for parent, count in zip(accepted, counts, strict=True) if count}
