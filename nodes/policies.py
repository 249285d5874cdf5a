"""Rules by which drafts are accepted, behind one protocol; `nodes.accept` alone applies them."""

from __future__ import annotations

import random
from typing import ClassVar, Protocol

from forethought.config import PolicyName, SearchConfig
from forethought.nodes.rules import passes
from forethought.thoughts import Thought


class AcceptancePolicy(Protocol):
    """Says how much is drafted and which drafts stand.

    `needs_threshold`: nothing can be decided before the target's scores have set beta, so the
    target writes the root's thoughts.
    """

    needs_threshold: ClassVar[bool] = False

    def num_drafts(self, config: SearchConfig) -> int:
        """Drafts wanted per open path: m * N; 0 leaves every thought to the target."""
        return config.draft_multiplier * config.tree_width

    def accepts(self, draft: Thought, beta: float | None, config: SearchConfig) -> bool:
        """Whether a scored draft stands; `beta` is the threshold at its depth, None if unset."""
        ...


class EmaThreshold(AcceptancePolicy):
    """SpecSearch: accepted iff V(z) >= beta^(k), beta the moving average of `nodes.thresholds`."""

    needs_threshold = True

    def accepts(self, draft: Thought, beta: float | None, config: SearchConfig) -> bool:
        """Raises ValueError where no threshold was ever set."""
        if beta is None:
            raise ValueError(f"draft {draft.id} is to be tested before beta was set")
        return passes(draft.score or 0.0, beta)


class FixedThreshold(AcceptancePolicy):
    """RSD and SpecReason: accepted iff V(z) >= `threshold`, at every depth, the first included."""

    def accepts(self, draft: Thought, beta: float | None, config: SearchConfig) -> bool:
        """By score alone."""
        return passes(draft.score or 0.0, config.threshold)


class RandomAcceptance(AcceptancePolicy):
    """Ablation: accepted with the chance `draft_share`, whatever the score."""

    def accepts(self, draft: Thought, beta: float | None, config: SearchConfig) -> bool:
        """By a draw that the run's seed and the thought fix."""
        return random.Random(f"{config.seed}/{draft.id}").random() < config.draft_share  # noqa: S311


class Always(AcceptancePolicy):
    """The draft alone writes, as far as it writes anything: the other end of the scale."""

    def accepts(self, draft: Thought, beta: float | None, config: SearchConfig) -> bool:
        """Always."""
        return True


class FixedShare(Always):
    """Ablation ("simple large-model engagement"): the draft writes `draft_share` of each path's N
    thoughts, untested, and the target the rest."""

    def num_drafts(self, config: SearchConfig) -> int:
        """The draft's part of N, rounded to whole thoughts."""
        return round(config.draft_share * config.tree_width)


class Never(AcceptancePolicy):
    """The target writes everything: the autoregressive baseline."""

    def num_drafts(self, config: SearchConfig) -> int:
        """None."""
        return 0

    def accepts(self, draft: Thought, beta: float | None, config: SearchConfig) -> bool:
        """Never."""
        return False


_POLICIES: dict[PolicyName, AcceptancePolicy] = {
    "ema": EmaThreshold(),
    "fixed": FixedThreshold(),
    "random": RandomAcceptance(),
    "share": FixedShare(),
    "always": Always(),
    "never": Never(),
}


def policy_of(config: SearchConfig) -> AcceptancePolicy:
    """The rule that the settings name."""
    return _POLICIES[config.policy]
