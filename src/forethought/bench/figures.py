"""The runs of a benchmark in figures, one row per method. What cannot be told is None."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from forethought.bench.bound import Bound, Spent, bound
from forethought.bench.methods import Method
from forethought.bench.runs import Depth, Run
from forethought.bench.selections import Choices, counted
from forethought.bench.statistics import Interval, Ratio, quantile, ratio_of_sums, wilson
from forethought.bench.systems import BASELINES, CHAIN_BASELINES
from forethought.model import NO_USAGE, Usage
from forethought.thoughts import EndReason, Role

ROLES: Final = ("draft kept", "draft rejected", "scored", "revised", "answered")


@dataclass(frozen=True, slots=True)
class AtDepth:
    """One depth over all runs that reached it: `acceptance` of scored draws of the draft,
    `mean_score` of the thoughts kept, `mean_threshold` by run."""

    depth: int
    num_runs: int
    acceptance: float | None
    mean_score: float | None
    mean_threshold: float | None


@dataclass(frozen=True, slots=True)
class Chains:
    """Whole chains of thought over all problems, in means: `output_tokens` of an answer's path, how
    many of them a second of the clock gave, and the seconds of thinking: of the engines, before the
    final answer was written. `think_speed_up` is the target's thinking by itself over the method's.

    Where one of several chains was picked, `choices` says how well, `longest_draft` is the length
    of a problem's longest chain, and `thought_again` what the target wrote by itself, in tokens.
    """

    output_tokens: float
    tokens_per_second: float | None
    think_seconds: float
    think_speed_up: Ratio | None
    choices: Choices | None
    longest_draft: float | None
    thought_again: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """One method over all problems, and the `graph` that it runs, if any. `accuracy` in [0, 1] with
    its 95 per cent interval; seconds by the clock, a problem's median and 90th percentile, and all
    together; `tokens` by role, computed, cached and sampled; `target_share` of the tokens on the
    answers' paths, and of all that were written; `ends` counts why runs ended; `speed_ups` are by
    the label of a baseline, and `bound`, of a search, is against the target's beam search; `chains`
    is of all methods but searches."""

    method: str
    about: str
    graph: str | None
    evaluator: str | None
    num_problems: int
    num_right: int
    accuracy: float
    accuracy_interval: Interval
    median_seconds: float
    p90_seconds: float
    total_seconds: float
    outside_share: float
    tokens: dict[str, Usage]
    acceptance: float | None
    mean_score: float | None
    target_share_of_paths: float | None
    target_share_of_all: float | None
    ends: dict[EndReason, int]
    by_depth: list[AtDepth]
    speed_ups: dict[str, Ratio]
    bound: Bound | None
    chains: Chains | None


def figures(methods: Sequence[Method], runs: Sequence[Run]) -> list[Figures]:
    """The figures of every method that has runs, in order; all must have run the same problems."""
    by_method = {m.label: [run for run in runs if run.method == m.label] for m in methods}
    return [_figures(method, methods, by_method) for method in methods if by_method[method.label]]


def baseline_of(method: Method, methods: Iterable[Method], name: str) -> Method | None:
    """The method of system `name` to hold `method` against: the one with its evaluator, else the
    first; None where none was run, or it is `method` itself."""
    ran = [one for one in methods if one.system.name == name]
    found = next((one for one in ran if one.spec == method.spec), ran[0] if ran else None)
    return None if found == method else found


def spent(runs: Iterable[Run]) -> Spent:
    """Sums over runs, for the bound."""
    own = list(runs)
    writing = _seconds(own, "revised") + _seconds(own, "answered")
    return Spent(
        kept=sum(run.kept for run in own),
        rejected=sum(run.rejected for run in own),
        revised=sum(run.revised for run in own),
        drafting=_seconds(own, "drafted"),
        scoring=_seconds(own, "scored"),
        writing=writing,
        wall=sum(run.seconds for run in own),
    )


def _figures(
    method: Method, methods: Sequence[Method], by_method: Mapping[str, list[Run]]
) -> Figures:
    own = by_method[method.label]
    seconds = [run.seconds for run in own]
    num_right = sum(run.is_right for run in own)
    depths = [depth for run in own for depth in run.depths]
    on_path = [sum(run.on_path.get(source, 0) for run in own) for source in ("draft", "target")]
    written = [sum(run.kept + run.rejected for run in own), sum(run.revised for run in own)]
    is_search = method.system.asks_evaluator
    names = BASELINES if is_search else (*BASELINES, *CHAIN_BASELINES)
    baselines = {name: baseline_of(method, methods, name) for name in names}
    target_search = baselines["ar-beam"] if is_search else None
    return Figures(
        method=method.label,
        about=method.system.about,
        graph=method.system.graph.name if method.system.graph else None,
        evaluator=method.spec,
        num_problems=len(own),
        num_right=num_right,
        accuracy=num_right / len(own),
        accuracy_interval=wilson(num_right, len(own)),
        median_seconds=quantile(seconds, 0.5),
        p90_seconds=quantile(seconds, 0.9),
        total_seconds=sum(seconds),
        outside_share=_share(sum(run.outside_seconds for run in own), sum(seconds)) or 0.0,
        tokens=_tokens(own),
        acceptance=_acceptance(depths),
        mean_score=_mean_score(depths),
        target_share_of_paths=_share(on_path[1], sum(on_path)),
        target_share_of_all=_share(written[1], sum(written)),
        ends={
            reason: count
            for reason in get_args(EndReason)
            if (count := sum(run.end == reason for run in own))
        },
        by_depth=_by_depth(own),
        speed_ups={
            one.label: ratio
            for one in baselines.values()
            if one is not None and (ratio := _ratio(own, by_method[one.label], _wall))
        },
        bound=_bound(own, by_method[target_search.label]) if target_search else None,
        chains=None if is_search else _chains(own, baselines["target-greedy"], by_method),
    )


def _chains(
    own: list[Run], alone: Method | None, by_method: Mapping[str, list[Run]]
) -> Chains | None:
    met = [run.chosen for run in own if run.chosen]
    num_tokens = sum(sum(run.on_path.values()) for run in own)
    again = sum(run.spent.get("revised", NO_USAGE).generated_tokens for run in own)
    longest = sum(max(one.lengths, default=0) for one in met)
    return Chains(
        output_tokens=num_tokens / len(own),
        tokens_per_second=_share(num_tokens, sum(run.seconds for run in own)),
        think_seconds=sum(map(_thinking, own)) / len(own),
        think_speed_up=_ratio(own, by_method[alone.label], _thinking) if alone else None,
        choices=counted((m.rights, m.choice) for m in met if m.choice) if met else None,
        longest_draft=_share(longest, len(met)),
        thought_again=again / len(own) if met else None,
    )


def _wall(run: Run) -> float:
    return run.seconds


def _thinking(run: Run) -> float:
    """Engine seconds before the final answer, as `Ledger.think_phase_seconds`."""
    return sum(usage.seconds for role, usage in run.spent.items() if role != "answered")


def _paired(own: list[Run], other: list[Run]) -> tuple[list[Run], list[Run]]:
    """The runs of both on the problems that both have run, in one order."""
    others = {run.problem: run for run in other}
    shared = [run for run in own if run.problem in others]
    return shared, [others[run.problem] for run in shared]


def _ratio(own: list[Run], baseline: list[Run], of: Callable[[Run], float]) -> Ratio | None:
    """The baseline's seconds over one's own; None where there are none to compare."""
    mine, theirs = (list(map(of, runs)) for runs in _paired(own, baseline))
    return ratio_of_sums(theirs, mine) if mine and min(mine) > 0.0 else None


def _bound(own: list[Run], baseline: list[Run]) -> Bound | None:
    mine, theirs = _paired(own, baseline)
    return bound(spent(mine), spent(theirs))


def _tokens(runs: list[Run]) -> dict[str, Usage]:
    """Usage by role, that of drafting split by what became of it."""
    drafted = _used(runs, "drafted")
    rejected = sum((run.rejected_usage for run in runs), NO_USAGE)
    kept = Usage(
        drafted.prompt_tokens - rejected.prompt_tokens,
        drafted.cached_tokens - rejected.cached_tokens,
        drafted.generated_tokens - rejected.generated_tokens,
        max(0.0, drafted.seconds - rejected.seconds),
    )
    rest: tuple[Role, ...] = ("scored", "revised", "answered")
    usages = (kept, rejected, *(_used(runs, role) for role in rest))
    return dict(zip(ROLES, usages, strict=True))


def _used(runs: list[Run], role: Role) -> Usage:
    return sum((run.spent.get(role, NO_USAGE) for run in runs), NO_USAGE)


def _seconds(runs: list[Run], role: Role) -> float:
    return _used(runs, role).seconds


def _by_depth(runs: list[Run]) -> list[AtDepth]:
    numbers = sorted({depth.depth for run in runs for depth in run.depths})
    groups = {n: [d for run in runs for d in run.depths if d.depth == n] for n in numbers}
    return [_at_depth(number, group) for number, group in groups.items()]


def _at_depth(number: int, group: list[Depth]) -> AtDepth:
    thresholds = [depth.threshold for depth in group if depth.threshold is not None]
    return AtDepth(
        depth=number,
        num_runs=len(group),
        acceptance=_acceptance(group),
        mean_score=_mean_score(group),
        mean_threshold=_share(sum(thresholds), len(thresholds)),
    )


def _acceptance(depths: list[Depth]) -> float | None:
    return _share(sum(d.num_accepted for d in depths), sum(d.num_drafted for d in depths))


def _mean_score(depths: list[Depth]) -> float | None:
    return _share(sum(d.sum_scores for d in depths), sum(d.num_scored for d in depths))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
