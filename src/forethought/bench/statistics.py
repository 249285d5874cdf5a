"""What repeated measurements say: intervals and ratios. Knows numbers, and not what they measure.

All draws are seeded, so that the same runs give the same report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from forethought.config import require, require_at_least, require_between

Interval = tuple[float, float]

_NUM_RESAMPLES: Final = 2000
_INTERVAL: Final = (2.5, 97.5)  # per cent
_Z: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A sum over a sum, its 95 per cent interval (None below two pairs), and how many pairs."""

    value: float
    interval: Interval | None
    num_pairs: int


def wilson(num_right: int, num: int) -> Interval:
    """The 95 per cent interval of a share of `num` tries, `num_right` of which succeeded.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference": unlike the
    normal approximation it stays within [0, 1] and has a width where all succeed or none.

    Raises:
        ConfigError: `num` is below 1, or `num_right` is not in 0..num.
    """
    require_at_least("num", num, 1)
    require_between("num_right", num_right, (0, num))
    share, z2 = num_right / num, _Z**2
    middle = (share + z2 / (2 * num)) / (1 + z2 / num)
    half = _Z * math.sqrt(share * (1 - share) / num + z2 / (4 * num**2)) / (1 + z2 / num)
    return max(0.0, middle - half), min(1.0, middle + half)


def ratio_of_sums(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """sum(above) / sum(below), which long problems decide as they decide the time that is waited;
    with the percentile bootstrap interval over pairs (Efron and Tibshirani 1993, chapter 13).

    Raises:
        ConfigError: the numbers are not in pairs, there are none, or those below are not above 0.
    """
    require(
        len(above) == len(below) > 0, f"{len(above)} numbers over {len(below)}: give one for one"
    )
    require(min(below) > 0, f"all numbers below must be above 0, not {min(below)}")
    interval = ratio_interval(above, below)
    return Ratio(math.fsum(above) / math.fsum(below), interval, len(above))


def ratio_interval(above: Sequence[float], below: Sequence[float]) -> Interval | None:
    """Percentiles of sum(above) / sum(below), pairs drawn with replacement; None below two pairs,
    which say nothing of others."""
    over, under = np.asarray(above, float), np.asarray(below, float)
    if len(under) < 2:
        return None
    drawn = np.random.default_rng(0).integers(0, len(under), (_NUM_RESAMPLES, len(under)))
    low, high = np.percentile(over[drawn].sum(axis=1) / under[drawn].sum(axis=1), _INTERVAL)
    return float(low), float(high)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values, in [0, 1], do not exceed, interpolated linearly.

    Raises:
        ConfigError: there are no values, or `share` is not in [0, 1].
    """
    require(len(values) > 0, "no values have no quantile")
    require_between("share", share, (0.0, 1.0))
    return float(np.quantile(np.asarray(values, float), share))
