"""Questions kept apart, to judge what was trained on questions that it has not seen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from forethought.chains import Chain
from forethought.config import require

_HELD_OUT = 10  # one question in so many


@dataclass(frozen=True, slots=True)
class Split:
    """The chains to learn from, `kept`, and those of other questions, `held`."""

    kept: list[Chain]
    held: list[Chain]


def split_by_question(chains: list[Chain]) -> Split:
    """About a tenth of the questions held out. A question's side is its own: it depends neither on
    the order nor on the other questions.

    Raises:
        ConfigError: no question falls on one of the sides.
    """
    kept = [chain for chain in chains if not _is_held_out(chain.question)]
    held = [chain for chain in chains if _is_held_out(chain.question)]
    require(
        bool(held and kept), f"{len(chains)} chains are too few to hold questions out: add more"
    )
    return Split(kept, held)


def _is_held_out(question: str) -> bool:
    return hashlib.sha256(question.encode()).digest()[0] % _HELD_OUT == 0
