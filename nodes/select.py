"""Beam search's choice: which thoughts the next step continues, which paths have ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.config import SearchConfig
from forethought.nodes.rules import best
from forethought.nodes.state import SearchRuntime, SearchState, settings, tell
from forethought.thoughts import SearchStop, Thought


@dataclass(frozen=True, slots=True)
class Select:
    """The best B - F of the pool, F the finished paths; terminal ones among them are finished
    (OpenR, `SearchTree.beam_search`). Everything decided enters the tree, once."""

    def __call__(self, state: SearchState, runtime: SearchRuntime) -> dict[str, Any]:
        config = settings(runtime)
        if state["stop"]:
            return {}
        chosen = choose(state, config)
        thoughts = [settle(t, chosen) for t in state["candidates"]]
        frontier = [t.id for t in chosen if not t.is_terminal]
        tell(runtime, "selected", thoughts=thoughts)
        owes_all = config.policy == "never"
        return {
            "thoughts": thoughts,
            "candidates": [],
            "finished": state["finished"] + [t.id for t in chosen if t.is_terminal],
            "frontier": frontier,
            "depth": state["depth"] + 1,
            "needs": dict.fromkeys(frontier, config.tree_width) if owes_all else {},
            "stop": limit_reached(state, config) if frontier else None,
        }


def choose(state: SearchState, config: SearchConfig) -> list[Thought]:
    """The pool's best thoughts, as many as the beam has open places; older first where equal."""
    pool = [t for t in state["candidates"] if t.status in ("accepted", "revised")]
    places = best([t.score or 0.0 for t in pool], config.beam_width - len(state["finished"]))
    return [pool[place] for place in places]


def settle(thought: Thought, chosen: list[Thought]) -> Thought:
    """A candidate's last status."""
    if thought.status == "rejected":
        return thought
    if all(thought.id != one.id for one in chosen):
        return thought.marked("pruned")
    return thought.marked("final") if thought.is_terminal else thought


def limit_reached(state: SearchState, config: SearchConfig) -> SearchStop | None:
    """`limit` where the depth or the run's tokens are used up."""
    num_tokens = sum(entry.usage.generated_tokens for entry in state["ledger"])
    if state["depth"] >= config.max_depth or num_tokens >= config.max_tokens:
        return "limit"
    return None
