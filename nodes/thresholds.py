"""The rejection threshold beta: estimators over target scores, and their moving average.

SpecSearch (Wang et al., ICML 2025): beta^(k+1) = theta * beta^(k) + (1 - theta) * Theta(V_p^(k)),
with V_p^(k) the scores of the thoughts that the target wrote at depth k.
"""

from __future__ import annotations

import math
import statistics

from forethought.config import Estimator, SearchConfig


def estimate(scores: list[float], estimator: Estimator, *, ucb_c: float = 1.0) -> float:
    """Theta over a non-empty list of scores in [0, 1].

    `ucb` is mean + c * s / sqrt(n) with s the sample standard deviation; the mean where n = 1.
    """
    if estimator == "max":
        return max(scores)
    mean = statistics.fmean(scores)
    if estimator == "mean" or len(scores) == 1:
        return mean
    return mean + ucb_c * statistics.stdev(scores) / math.sqrt(len(scores))


def next_threshold(beta: float | None, scores: list[float], config: SearchConfig) -> float | None:
    """beta^(k+1) from beta^(k) and the pool's scores at depth k.

    Without an earlier beta it is Theta0 of the scores; without scores, beta stays as it is.
    """
    if not scores:
        return beta
    if beta is None:
        initial = config.init_estimator or config.theta_estimator
        return estimate(scores, initial, ucb_c=config.ucb_c)
    value = estimate(scores, config.theta_estimator, ucb_c=config.ucb_c)
    return config.theta * beta + (1 - config.theta) * value
