"""Keeps speculation from losing: decides from measured costs how many drafts a step is worth.

Live and shared by the runs of one graph; never in the state. What it decides is written to the
state as a `Plan`, so that a run can be read afterwards.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Final

from forethought.config import SearchConfig
from forethought.nodes.rules import pools
from forethought.nodes.trust import Trust
from forethought.prompts import task_named
from forethought.thoughts import Plan, Role

_DECAY: Final = 0.9  # what a new observation leaves of the weight of the earlier ones
_FIXED_SHARE: Final = 0.25  # of a call's time: assumed until calls of other sizes were seen
_FIXED_WEIGHT: Final = 0.3  # of that assumption, in observations
_PRIOR: Final = (1.0, 2.0)  # accepted, drafted: before anything was tested
_STEPS_BETWEEN_TRIALS: Final = 8
_MARGIN: Final = 0.02  # less than that is noise: the settings stand


@dataclass(frozen=True, slots=True)
class Line:
    """Seconds of a call for n thoughts: `fixed` + `each` * n; nothing for none."""

    fixed: float
    each: float

    def seconds(self, num_thoughts: float) -> float:
        """For `num_thoughts` at once."""
        return self.fixed + self.each * num_thoughts if num_thoughts > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """What drafting, scoring and writing by the target cost."""

    drafted: Line
    scored: Line
    revised: Line

    def alone(self, num_thoughts: float) -> float:
        """Seconds of a step whose thoughts are all the target's."""
        return self.revised.seconds(num_thoughts) + self.scored.seconds(num_thoughts)


@dataclass(frozen=True, slots=True)
class Step:
    """A step to be planned: `num_paths` open paths, whose accepted thoughts are counted in
    `num_pools`; `wanted` of a pool leave nothing to replace (`rules.pools`). A draft is accepted
    with the chance `acceptance`; `likeness` in [0, 1] says how far the drafts of a step fare alike,
    their intra-class correlation: 0 independently, 1 all or none."""

    num_paths: int
    num_pools: int
    wanted: int
    acceptance: float
    likeness: float = 0.0


def expected_seconds(plan: Plan, step: Step, costs: Costs) -> float:
    """Of a step with `plan.num_drafts` drafts and `plan.num_large` thoughts of the target per path.

    Accepted drafts are beta-binomial; what is missing is replaced in one call of the target,
    which is saved only if no pool misses anything.
    """
    num_drafts = step.num_paths * plan.num_drafts
    chances = beta_binomial(num_drafts // step.num_pools, step.acceptance, step.likeness)
    missing = sum(p * max(0, step.wanted - k) for k, p in enumerate(chances))
    owed = step.num_pools * missing + step.num_paths * plan.num_large
    is_called = 1.0 if plan.num_large else 1 - sum(chances[step.wanted :]) ** step.num_pools
    seconds = costs.drafted.seconds(num_drafts) + costs.scored.seconds(num_drafts)
    if is_called <= 0:
        return seconds
    return seconds + is_called * costs.alone(owed / is_called)


def beta_binomial(num: int, chance: float, alike: float = 0.0) -> list[float]:
    """P(k of `num`) for k = 0..num, each with `chance`, correlated by `alike`; binomial at 0."""
    if alike >= 1:
        return [1 - chance, *[0.0] * (num - 1), chance] if num else [1.0]
    chances = [1.0]
    for drawn in range(num):  # every draw that was accepted makes the next likelier (Polya's urn)
        scale = 1 - alike + alike * drawn
        hits = [p * (chance * (1 - alike) + alike * k) / scale for k, p in enumerate(chances)]
        misses = [p - hit for p, hit in zip(chances, hits, strict=True)]
        chances = [hit + miss for hit, miss in zip([0.0, *hits], [*misses, 0.0], strict=True)]
    return chances


def likeness(steps: float, drafts: float, shares: float, squares: float) -> float:
    """How far a step's drafts fare alike, in [0, 1]: the intra-class correlation, by moments, from
    sums over steps of their drafts, of the shares that were accepted, and of these squared."""
    if steps <= 1 or drafts <= steps:
        return 0.0
    mean, num = shares / steps, drafts / steps
    independent = mean * (1 - mean) / num
    if independent <= 0:
        return 0.0
    variance = squares / steps - mean**2
    return min(1.0, max(0.0, (variance / independent - 1) / (num - 1)))


class RunningLine:
    """A straight line through observations (number of thoughts, seconds), the latest counting most.

    Where all calls had the same size, a fixed share of their time is assumed not to depend on it.
    """

    def __init__(self) -> None:
        self._sums = [0.0] * 5  # weight, n, n^2, s, n * s

    def observe(self, num_thoughts: int, seconds: float) -> None:
        """Take one call in."""
        row = (1.0, num_thoughts, num_thoughts**2, seconds, num_thoughts * seconds)
        self._sums = [_DECAY * old + new for old, new in zip(self._sums, row, strict=True)]

    def line(self) -> Line | None:
        """Weighted least squares; None before anything was observed."""
        weight, n, nn, s, ns = self._sums
        if weight == 0:
            return None
        fixed_s = _FIXED_SHARE * s / weight  # seconds of a call for no thought
        weight, s = weight + _FIXED_WEIGHT, s + _FIXED_WEIGHT * fixed_s
        each = max(0.0, (weight * ns - n * s) / (weight * nn - n * n))
        return Line(max(0.0, (s - each * n) / weight), each)


class Controller:
    """Plans steps by what calls have cost and how many drafts were accepted; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[Role, RunningLine] = {
            role: RunningLine() for role in ("drafted", "scored", "revised")
        }
        self._accepted, self._drafted = _PRIOR
        self._shares = [0.0] * 4  # steps, drafts, shares accepted, and their squares, decayed
        self._num_alone = 0
        self.trust = Trust()

    def wants_gauge(self, config: SearchConfig) -> bool:
        """Whether the run that begins is to have its draft gauged, where it drafts at all."""
        task = task_named(config.task)
        can_be = config.controller == "on" and config.min_agreement > 0 and task.answers_compare
        return can_be and self.trust.is_due(task.name, config.min_agreement)

    def observe(self, role: Role, *, num_thoughts: int, seconds: float) -> None:
        """Take in one node's call for `num_thoughts` thoughts, which took `seconds`."""
        if num_thoughts > 0:
            with self._lock:
                self._lines[role].observe(num_thoughts, seconds)

    def observe_acceptance(self, num_accepted: int, num_drafted: int) -> None:
        """Take in how a step's drafts fared."""
        with self._lock:
            self._accepted = _DECAY * self._accepted + num_accepted
            self._drafted = _DECAY * self._drafted + num_drafted
            share = num_accepted / max(1, num_drafted)
            row = (1.0, num_drafted, share, share**2)
            self._shares = [_DECAY * old + new for old, new in zip(self._shares, row, strict=True)]

    def plan(self, given: Plan, *, num_paths: int, num_finished: int, config: SearchConfig) -> Plan:
        """The cheapest plan that still considers N thoughts per path, or `given`, the settings'
        own, where costs are unknown or nothing is gained. Nothing is drafted by a draft that is not
        trusted.

        Now and then it tries drafting again, so that a draft that got better is noticed.
        """
        share = self.trust.mean(config.task)
        given = replace(given, agreement=share)
        if share is not None and share < config.min_agreement:
            return replace(given, num_drafts=0, num_large=0)
        with self._lock:
            lines = {role: line.line() for role, line in self._lines.items()}
            acceptance = self._accepted / self._drafted
            drafted, scored, revised = lines["drafted"], lines["scored"], lines["revised"]
            if drafted is None or scored is None or revised is None:
                return given
            costs = Costs(drafted, scored, revised)
            counted = pools(num_paths, config, num_finished)
            step = Step(num_paths, *counted, acceptance, likeness(*self._shares))
            best = cheapest(given, step, costs, config)
            self._num_alone = 0 if best.num_drafts else self._num_alone + 1
            if self._num_alone > _STEPS_BETWEEN_TRIALS:
                self._num_alone = 0
                best = replace(best, num_drafts=given.num_drafts, num_large=given.num_large)
            return best


def cheapest(given: Plan, step: Step, costs: Costs, config: SearchConfig) -> Plan:
    """The plan of the least expected time among those by which at least N thoughts per path are
    considered, up to `given.num_drafts` of them drafts; `given` where it is no dearer."""
    width = config.tree_width
    options = [
        replace(given, num_drafts=drafts, num_large=max(given.num_large, width - drafts))
        for drafts in range(1, given.num_drafts + 1)
    ]
    alone = costs.alone(step.num_paths * width)
    times = [(expected_seconds(plan, step, costs), plan) for plan in [given, *options]]
    seconds, best = min(times, key=lambda timed: timed[0])
    if times[0][0] <= (1 + _MARGIN) * seconds:
        seconds, best = times[0]
    if alone < (1 - _MARGIN) * seconds:
        seconds, best = alone, replace(given, num_drafts=0, num_large=0)
    return replace(best, seconds=seconds, seconds_alone=alone, acceptance=step.acceptance)
