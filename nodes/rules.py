"""SpecSearch's rules on plain scores: which drafts stay, what the target owes, what moves beta.

Nodes apply them to thoughts, and `forethought.bench.simulation` to made-up ones. How beta moves is
in `forethought.nodes.thresholds`. Sections are those of Wang et al., ICML 2025, as far as known.
"""

from __future__ import annotations

from collections.abc import Sequence

from forethought.config import SearchConfig


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


def num_wanted(config: SearchConfig, num_finished: int) -> int:
    """W: accepted thoughts per path that leave nothing to replace: N, or with `refill="beam"` the
    beam's open places where they are fewer."""
    if config.search == "mcts" or config.refill == "width":
        return config.tree_width
    return min(config.tree_width, config.beam_width - num_finished)


def num_owed(num_accepted: int, *, wanted: int, num_large: int) -> int:
    """Thoughts that the target owes a parent: W - A replacements and `num_large` beside them; A,
    the drafts that were accepted, counts for W at most."""
    return max(0, wanted - num_accepted) + num_large


def threshold_pool(
    target: Sequence[float], accepted: Sequence[float], config: SearchConfig
) -> list[float]:
    """The scores that move beta: the target's, by choice with those of accepted drafts."""
    return [*target, *accepted] if config.estimator_pool == "large_plus_accepted" else [*target]
