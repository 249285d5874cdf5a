"""What of a run's answer is settled: it is told at once, and never taken back.

A thought is committed when every path that may still become the answer begins with it. The texts of
the `committed` events, one after the other, are the answer's text.
"""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from forethought.nodes.state import RunState, tell
from forethought.prompts import trimmed
from forethought.thoughts import Thought, path_to


def commit(state: RunState, runtime: Runtime[Any], path: list[Thought]) -> dict[str, Any]:
    """Tell what `path`, which the answer will begin with, adds to the text told before; the update.

    White space at the end is kept back until words follow it: an answer's text has none at its
    ends.
    """
    told, text = state["committed"], ""
    for thought in path:
        text += thought.text
        if len(text) > told and (new := trimmed(text)[told:]):
            tell(runtime, "committed", thought=thought, text=new, offset=told)
            told += len(new)
    return {"committed": told}


def shared(ends: list[int], tree: list[Thought]) -> list[Thought]:
    """The thoughts with which all paths to `ends` begin; none where there is no path."""
    paths = [path_to(end, tree) for end in ends]
    levels = zip(*paths, strict=False)
    return [level[0] for level in levels if len({thought.id for thought in level}) == 1]


def leaves(tree: list[Thought]) -> list[int]:
    """The ends of all paths of a tree that nothing was decided against."""
    alive = [thought for thought in tree if thought.status not in ("rejected", "pruned")]
    parents = {thought.parent for thought in alive}
    return [thought.id for thought in alive if thought.id not in parents]
