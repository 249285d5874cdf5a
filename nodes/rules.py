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


def accepted(scores: Sequence[float], beta: float, config: SearchConfig) -> list[int]:
    """Places of one parent's drafts that are accepted, the best first.

    A draft is rejected iff V(z) < beta^(k); of the others the N best stay.
    """
    return [place for place in best(scores, config.tree_width) if scores[place] >= beta]


def num_owed(num_accepted: int, config: SearchConfig, *, num_finished: int) -> int:
    """Thoughts that the target owes a parent: W - A replacements and the extra ones.

    W is N, or with `refill="beam"` the beam's open places where they are fewer; A, the drafts that
    were accepted, counts for W at most.
    """
    wanted = config.tree_width
    if config.refill == "beam":
        wanted = min(wanted, config.beam_width - num_finished)
    return wanted - min(wanted, num_accepted) + config.extra_large_thoughts


def threshold_pool(
    target: Sequence[float], accepted: Sequence[float], config: SearchConfig
) -> list[float]:
    """The scores that move beta: the target's, by choice with those of accepted drafts."""
    return [*target, *accepted] if config.estimator_pool == "large_plus_accepted" else [*target]
