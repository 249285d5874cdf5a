"""Monte Carlo tree search's choice: which thought is expanded next, which paths were walked.

As OpenR's `vanila_mcts` (`reason/guided_search/tree.py`): every walk starts at the root and goes
down to a path's end, expanding the leaf it meets; the end's value is backed up to all its
ancestors. All counts follow from the list of ends, so nothing else is kept: going down again after
an expansion leads to the same leaf, now with children.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Final

from forethought.config import SearchConfig
from forethought.thoughts import ROOT, Thought

_PB_C_BASE: Final = 19652
_PB_C_INIT: Final = 1.25


def puct(value: float, prior: float, *, num_parent: int, num_child: int) -> float:
    """A child's worth to the walk, `num_*` the visits so far.

    Q + (ln((N_parent + c_base + 1) / c_base) + c_init) * sqrt(N_parent) / (N_child + 1) * prior
    """
    explore = math.log((num_parent + _PB_C_BASE + 1) / _PB_C_BASE) + _PB_C_INIT
    return value + explore * math.sqrt(num_parent) / (num_child + 1) * prior


def priors(siblings: list[Thought]) -> list[float]:
    """exp of the mean token log-probability, normalised over siblings; equal where one has none."""
    known = [thought.logprob for thought in siblings if thought.logprob is not None]
    if len(known) < len(siblings):
        return [1 / len(siblings)] * len(siblings)
    weights = [math.exp(logprob) for logprob in known]
    return [weight / sum(weights) for weight in weights]


class Tree:
    """What is known of a tree of thoughts after the walks to `ends`, ids in order."""

    def __init__(self, thoughts: list[Thought], ends: list[int], config: SearchConfig) -> None:
        self._by_id = {t.id: t for t in thoughts if t.status not in ("rejected", "pruned")}
        self._children: dict[int, list[Thought]] = defaultdict(list)
        for thought in self._by_id.values():
            self._children[thought.parent].append(thought)
        self._max_depth = config.max_depth
        self._visits: dict[int, int] = defaultdict(int)
        self._sums: dict[int, float] = defaultdict(float)
        for end in ends:
            self.back_up(end)

    def back_up(self, end: int) -> None:
        """Add the end's value and one visit to it and all its ancestors."""
        value, at = self._end_value(end), end
        while True:
            self._visits[at] += 1
            self._sums[at] += value
            if at == ROOT:
                return
            at = self._by_id[at].parent

    def descend(self) -> int:
        """The leaf that the next walk comes to."""
        at = ROOT
        while children := self._children[at]:
            shares = priors(children)
            worth = [
                self._worth(child, share) for child, share in zip(children, shares, strict=True)
            ]
            at = children[worth.index(max(worth))].id
        return at

    def can_grow(self, leaf: int) -> bool:
        """Whether thoughts may follow the leaf."""
        if leaf == ROOT:
            return True
        thought = self._by_id[leaf]
        return not thought.is_terminal and thought.depth < self._max_depth

    def _worth(self, child: Thought, prior: float) -> float:
        num_parent, num_child = self._visits[child.parent], self._visits[child.id]
        value = self._sums[child.id] / num_child if num_child else child.score or 0.0
        return puct(value, prior, num_parent=num_parent, num_child=num_child)

    def _end_value(self, end: int) -> float:
        """The score of a path's end; 0 for one that could have gone on, and nothing came."""
        return 0.0 if self.can_grow(end) else self._by_id[end].score or 0.0


def walk(
    thoughts: list[Thought], ends: list[int], *, tried: list[int], config: SearchConfig
) -> tuple[list[int], list[int]]:
    """Walk until a leaf is to be expanded or `num_paths` paths are walked.

    Args:
        thoughts: the tree, what was just decided included.
        ends: of the paths walked so far.
        tried: leaves that were expanded in vain if they are leaves still.

    Returns:
        The leaf to expand, if any, and the ends of all paths walked by then.
    """
    tree, ends = Tree(thoughts, ends, config), list(ends)
    barren = {*tried, *ends}
    while len(ends) < config.num_paths:
        leaf = tree.descend()
        if tree.can_grow(leaf) and leaf not in barren:
            return [leaf], ends
        tree.back_up(leaf)
        ends.append(leaf)
    return [], ends
