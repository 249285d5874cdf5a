"""How fast a pair could be at best, and where a search method loses what it does not reach.

With the method's seconds per drafted token c, and n tokens that the target's search writes, the
whole tree written by the draft, with decisions that cost nothing, takes n c. The seconds T of a run
split without a rest into

    T =   n c                   the ideal
        + (n' - n) c            a tree of another size: n' = kept + revised tokens
        + rejected c            draft waste
        + scored seconds        scoring
        + revised (t - c)       target corrections, at the price t of a token in the target's search
        + revised (t' - t)      small batches: the price t' of a token as the target wrote it here
        + the rest              overhead: time outside the engines

The speed-up over the target's search, which takes T0 seconds, is T0 / T, and its bound T0 / (n c).
"""

from __future__ import annotations

from dataclasses import dataclass

from forethought.config import require_at_least


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over a method's runs: written tokens (see `Run`), and seconds of drafting, of scoring,
    of the target's `writing`, and by the `wall` clock."""

    kept: int
    rejected: int
    revised: int
    drafting: float
    scoring: float
    writing: float
    wall: float

    def __post_init__(self) -> None:
        for name in ("kept", "rejected", "revised", "drafting", "scoring", "writing", "wall"):
            require_at_least(name, getattr(self, name), 0)


@dataclass(frozen=True, slots=True)
class Prices:
    """Seconds per written token: `draft`ed; `target`'s in the search that it writes alone, and
    `revised` in this one (None where it wrote nothing); `scored`, over all thoughts of the method,
    and `scored_alone` over those of the target's search."""

    draft: float
    target: float
    revised: float | None
    scored: float
    scored_alone: float

    def break_even(self) -> float:
        """The share of drafted tokens that must be accepted for a speed-up of 1, each rejected one
        being written anew by the target and scored again; below 0 speculation always pays here,
        above 1 it cannot."""
        anew = (self.target if self.revised is None else self.revised) + self.scored
        saved = self.target + self.scored_alone - self.draft - self.scored
        return 1.0 - saved / anew


@dataclass(frozen=True, slots=True)
class Losses:
    """Seconds over the ideal, by cause; a negative one is a gain. See the module's formula."""

    tree: float
    waste: float
    scoring: float
    corrections: float
    batches: float
    overhead: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The best speed-up over the target's search that the prices allow, the one measured, and the
    share of the former that the latter is; `ideal` seconds and what was lost over them."""

    speed_up: float
    measured: float
    reached: float
    acceptance: float
    ideal: float
    losses: Losses
    prices: Prices


def bound(method: Spent, alone: Spent) -> Bound | None:
    """The bound of a method against the target's search `alone`, over the same problems; None where
    either is not what its name says: nothing was drafted, or the target wrote nothing."""
    drafted = method.kept + method.rejected
    if not drafted or not alone.revised or not method.drafting or not method.wall:
        return None
    price = method.drafting / drafted
    target = alone.writing / alone.revised
    ideal = alone.revised * price
    losses = Losses(
        tree=(method.kept + method.revised - alone.revised) * price,
        waste=method.rejected * price,
        scoring=method.scoring,
        corrections=method.revised * (target - price),
        batches=method.writing - method.revised * target,
        overhead=method.wall - method.drafting - method.scoring - method.writing,
    )
    prices = Prices(
        draft=price,
        target=target,
        revised=method.writing / method.revised if method.revised else None,
        scored=method.scoring / (drafted + method.revised),
        scored_alone=alone.scoring / alone.revised,
    )
    return Bound(
        speed_up=alone.wall / ideal,
        measured=alone.wall / method.wall,
        reached=ideal / method.wall,
        acceptance=method.kept / drafted,
        ideal=ideal,
        losses=losses,
        prices=prices,
    )
