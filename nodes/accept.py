"""The one place where drafts are accepted or rejected, and where the threshold moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.config import SearchConfig
from forethought.nodes.rules import accepted, num_owed, threshold_pool
from forethought.nodes.state import SearchRuntime, SearchState, settings, tell
from forethought.nodes.thresholds import next_threshold
from forethought.thoughts import Thought


@dataclass(frozen=True, slots=True)
class Accept:
    """Reject a draft iff V(z) < beta^(k); keep the N best; then update beta (SpecSearch, 1.3-1.4).

    Runs once after the drafts were scored, when it says what the target owes, and once after the
    target's thoughts were scored, when it sets beta^(k+1). Target thoughts are not tested.
    """

    def __call__(self, state: SearchState, runtime: SearchRuntime) -> dict[str, Any]:
        if state["stop"]:
            return {"needs": {}}
        config = settings(runtime)
        proposed = [t for t in state["candidates"] if t.status == "proposed"]
        drafted = not state["needs"]
        if drafted:
            decided = judge_drafts(state, config)
            owed = needs(state, decided, config)
        else:
            decided, owed = {t.id: t.marked("revised") for t in proposed}, {}
        candidates = [decided.get(t.id, t) for t in state["candidates"]]
        tell(runtime, "decided", thoughts=list(decided.values()))
        update: dict[str, Any] = {"candidates": candidates, "needs": owed}
        if not owed:
            update["thresholds"] = updated_thresholds(state, candidates, config)
            beta = update["thresholds"].get(state["depth"] + 1)
            tell(runtime, "threshold", depth=state["depth"] + 1, beta=beta)
        return update


def updated_thresholds(
    state: SearchState, candidates: list[Thought], config: SearchConfig
) -> dict[int, float]:
    """Thresholds by depth with beta^(k+1) set, k the depth in work.

    Where no score came in, an earlier run's value for the next depth is the best that is known.
    """
    depth, thresholds = state["depth"], dict(state["thresholds"])
    scored = [(t, t.score) for t in candidates if t.score is not None]
    pool = threshold_pool(
        [score for t, score in scored if t.source == "target"],
        [score for t, score in scored if t.status == "accepted"],
        config,
    )
    if not pool and depth + 1 in thresholds:
        return thresholds
    beta = next_threshold(thresholds.get(depth), pool, config)
    return thresholds if beta is None else {**thresholds, depth + 1: beta}


def judge_drafts(state: SearchState, config: SearchConfig) -> dict[int, Thought]:
    """Every proposed draft by id, accepted or rejected; at most N accepted per parent."""
    beta = state["thresholds"][state["depth"]]
    decided: dict[int, Thought] = {}
    for parent in state["frontier"]:
        drafts = [t for t in state["candidates"] if t.parent == parent and t.score is not None]
        kept = accepted([t.score or 0.0 for t in drafts], beta, config)
        for place, draft in enumerate(drafts):
            decided[draft.id] = draft.marked("accepted" if place in kept else "rejected")
    return decided


def needs(state: SearchState, decided: dict[int, Thought], config: SearchConfig) -> dict[int, int]:
    """Thoughts that the target owes each parent.

    Accepted are counted by draws: a text that the draft drew three times is one thought, accepted
    three times.
    """
    owed = {}
    for parent in state["frontier"]:
        own = [t for t in decided.values() if t.parent == parent and t.status == "accepted"]
        num_accepted = sum(t.num_draws for t in own)
        count = num_owed(num_accepted, config, num_finished=len(state["finished"]))
        if count > 0:
            owed[parent] = count
    return owed
