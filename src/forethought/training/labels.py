"""What a step is taken to be worth when an evaluator is trained on it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forethought.chains import Chain
from forethought.config import require

Labels = Literal["outcome", "hard", "soft"]
LABELS: tuple[Labels, ...] = ("outcome", "hard", "soft")


def step_labels(chains: list[Chain], labels: Labels) -> NDArray[np.float64]:
    """One value in [0, 1] per step of all chains, one chain after another.

    `outcome` is whether the chain's final answer is right. `soft` is the share of roll-outs from
    the step that end right, `hard` whether any does (Math-Shepherd, Wang et al. 2024, equations 3
    and 4).

    Raises:
        ConfigError: a step has no roll-outs, and the labels need them.
    """
    if labels == "outcome":
        return np.array([float(chain.is_right) for chain in chains for _ in chain.steps])
    values = [step.value for chain in chains for step in chain.steps]
    missing = sum(value is None for value in values)
    require(
        not missing,
        f"{missing} of {len(values)} steps have no roll-outs, which {labels} labels need: make "
        "them with `forethought train sample --rollouts`",
    )
    known = np.array(values, np.float64)
    return known if labels == "soft" else (known > 0).astype(np.float64)
