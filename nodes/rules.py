"""SpecSearch's rules on plain scores: which drafts stay, what the target owes, what moves beta.

Nodes apply them to thoughts, and `forethought.bench.simulation` to made-up ones. How beta moves is
in `forethought.nodes.thresholds`. Sections are those of Wang et al., ICML 2025, as far as known.
"""

from __future__ import annotations

from collections.abc import Sequence

from forethought.config import SearchConfig
from forethought.thoughts import Thought


def best(scores: Sequence[float], count: int) -> list[int]:
    """Places of the `count` highest scores, the highest first; the earlier one where equal."""
    return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[:count]


def passes(score: float, beta: float) -> bool:
    """A draft is rejected iff V(z) < beta^(k)."""
    return score >= beta


def n_best(scores: Sequence[float], stands: Sequence[bool], config: SearchConfig) -> list[int]:
    """Places of the N best of one parent's drafts among those that stand, the best first."""
    return [place for place in best(scores, len(scores)) if stands[place]][: config.tree_width]


def accepted(scores: Sequence[float], beta: float, config: SearchConfig) -> list[int]:
    """Places of one parent's drafts that SpecSearch accepts, the best first: of those that pass,
    the N best."""
    return n_best(scores, [passes(score, beta) for score in scores], config)


def pools(num_paths: int, config: SearchConfig, num_finished: int = 0) -> tuple[int, int]:
    """In how many pools accepted thoughts are counted, and W, those of a pool that leave nothing to
    replace: N on every path, or with `refill="beam"` the beam's open places over all of them."""
    if config.search == "mcts" or config.refill == "width":
        return num_paths, config.tree_width
    return 1, min(num_paths * config.tree_width, config.beam_width - num_finished)


def owed(accepted: Sequence[int], config: SearchConfig, *, num_finished: int = 0) -> list[int]:
    """Replacements that the target owes each parent, by how many of each one's drafts were
    accepted: W - A of its pool, where A is less, shared out evenly, the earlier parents first."""
    num_pools, wanted = pools(len(accepted), config, num_finished)
    if num_pools > 1:
        return [max(0, wanted - count) for count in accepted]
    each, rest = divmod(max(0, wanted - sum(accepted)), max(1, len(accepted)))
    return [each + (place < rest) for place in range(len(accepted))]


def is_unbeatable(thought: Thought, config: SearchConfig) -> bool:
    """A path has ended here with a score of 1: no other can have a better one, so that where the
    best is the answer nothing more is to be written."""
    return config.answer_by == "best" and thought.is_terminal and thought.score == 1.0


def threshold_pool(
    target: Sequence[float], accepted: Sequence[float], config: SearchConfig
) -> list[float]:
    """The scores that move beta: the target's, by choice with those of accepted drafts."""
    return [*target, *accepted] if config.estimator_pool == "large_plus_accepted" else [*target]
