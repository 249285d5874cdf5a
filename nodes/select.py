"""Which thoughts the next step continues and which paths have ended, by beam or by tree search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langgraph.types import Overwrite

from forethought.config import SearchConfig
from forethought.nodes.commits import commit, leaves, shared
from forethought.nodes.mcts import walk
from forethought.nodes.rules import best, is_unbeatable
from forethought.nodes.state import SearchRuntime, SearchState, is_spent, settings, tell
from forethought.nodes.steps import Rules, opened
from forethought.thoughts import ROOT, SearchStop, Thought


@dataclass(frozen=True, slots=True)
class Select:
    """Beam search keeps the best B - F of the pool, F the finished paths; terminal ones among them
    are finished (OpenR, `SearchTree.beam_search`). MCTS walks on, to the next leaf
    (`nodes.mcts`). Everything decided enters the tree, once."""

    rules: Rules

    def __call__(self, state: SearchState, runtime: SearchRuntime) -> dict[str, Any]:
        config = settings(runtime)
        if state["stop"]:
            return {}
        chosen = keep_best(state, config) if config.search == "beam" else grow(state, config)
        tell(runtime, "selected", thoughts=chosen.thoughts)
        tree = [*state["thoughts"], *chosen.thoughts]
        ends = chosen.frontier + chosen.finished if config.search == "beam" else leaves(tree)
        step = opened(
            chosen.frontier,
            chosen.depth,
            config=config,
            rules=self.rules,
            num_finished=len(chosen.finished),
        )
        return {
            **step,
            **commit(state, runtime, shared(ends, tree)),
            "thoughts": chosen.thoughts,
            "candidates": Overwrite([]),
            "finished": chosen.finished,
            "stop": limit_reached(state, chosen, config),
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided: `thoughts` enter the tree, those after `frontier` are written next, at
    `depth`, and the paths to `finished` have ended."""

    thoughts: list[Thought]
    frontier: list[int]
    depth: int
    finished: list[int]


def keep_best(state: SearchState, config: SearchConfig) -> Choice:
    """The beam's choice."""
    chosen = choose(state, config)
    is_over = any(is_unbeatable(t, config) for t in chosen)
    return Choice(
        thoughts=[settle(t, chosen) for t in state["candidates"]],
        frontier=[t.id for t in chosen if not (is_over or t.is_terminal)],
        depth=state["depth"] + 1,
        finished=state["finished"] + [t.id for t in chosen if t.is_terminal],
    )


def grow(state: SearchState, config: SearchConfig) -> Choice:
    """The tree's choice: all that was accepted stays, and the next leaf is expanded."""
    kept = choose(state, config) if config.is_early(state["depth"]) else state["candidates"]
    settled = [settle(t, kept) for t in state["candidates"]]
    tree = [*state["thoughts"], *settled]
    frontier, finished = walk(tree, state["finished"], tried=state["frontier"], config=config)
    unbeatable = [t.id for t in settled if t.status == "final" and is_unbeatable(t, config)]
    if unbeatable:
        frontier, finished = [], [*finished, *unbeatable]
    depths = {ROOT: 0} | {t.id: t.depth for t in tree}
    return Choice(
        settled, frontier, 1 + max((depths[leaf] for leaf in frontier), default=0), finished
    )


def choose(state: SearchState, config: SearchConfig) -> list[Thought]:
    """The pool's best thoughts, as many as the beam has open places, or one where it is to be
    committed at once; older first where equal."""
    pool = [t for t in state["candidates"] if t.status in ("accepted", "revised")]
    early = config.is_early(state["depth"])
    num_open = 1 if early else config.beam_width - len(state["finished"])
    places = best([t.score or 0.0 for t in pool], num_open)
    return [pool[place] for place in places]


def settle(thought: Thought, chosen: list[Thought]) -> Thought:
    """A candidate's last status."""
    if thought.status == "rejected":
        return thought
    if all(thought.id != one.id for one in chosen):
        return thought.marked("pruned")
    return thought.marked("final") if thought.is_terminal else thought


def limit_reached(state: SearchState, chosen: Choice, config: SearchConfig) -> SearchStop | None:
    """`limit` where paths are open and the depth or the run's tokens are used up."""
    is_over = chosen.depth > config.max_depth or is_spent(state, config)
    return "limit" if chosen.frontier and is_over else None
