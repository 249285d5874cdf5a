"""The one place where drafts are accepted or rejected, and where the threshold moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.config import SearchConfig
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
    pool = [t.score for t in candidates if t.source == "target" and t.score is not None]
    if config.estimator_pool == "large_plus_accepted":
        pool += [t.score for t in candidates if t.status == "accepted" and t.score is not None]
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
        drafts.sort(key=lambda t: t.score or 0.0, reverse=True)
        for rank, draft in enumerate(drafts):
            is_kept = rank < config.tree_width and (draft.score or 0.0) >= beta
            decided[draft.id] = draft.marked("accepted" if is_kept else "rejected")
    return decided


def needs(state: SearchState, decided: dict[int, Thought], config: SearchConfig) -> dict[int, int]:
    """Thoughts that the target owes each parent: W - A replacements and the extra ones.

    W is N, or with `refill="beam"` the beam's open places where they are fewer. A counts draws: a
    text that the draft drew three times is one thought, accepted three times.
    """
    open_places = config.beam_width - len(state["finished"])
    wanted = min(config.tree_width, open_places if config.refill == "beam" else config.tree_width)
    owed = {}
    for parent in state["frontier"]:
        accepted = [t for t in decided.values() if t.parent == parent and t.status == "accepted"]
        num_kept = min(wanted, sum(t.num_draws for t in accepted))
        count = wanted - num_kept + config.extra_large_thoughts
        if count > 0:
            owed[parent] = count
    return owed
