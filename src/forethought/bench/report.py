"""A benchmark for readers: report.md, pictures, results.json (schema in docs/benchmarks.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from forethought.bench.bound import Bound
from forethought.bench.figures import ROLES, AtDepth, Chains, Figures
from forethought.bench.plots import draw
from forethought.bench.results import SCHEMA
from forethought.bench.statistics import Interval
from forethought.bench.tables import DASH, Section, as_markdown, write_files

_CAPTIONS: Final = {
    "accuracy_latency": "Accuracy against time",
    "speed_up": "Speed-ups",
    "by_depth": "Acceptance, thresholds and scores by depth",
}
_AT_DEPTH: Final[tuple[tuple[str, str, Callable[[AtDepth], float | None]], ...]] = (
    ("Acceptance by depth", "Share of scored drafts accepted.", lambda at: at.acceptance),
    ("Score by depth", "Mean score of the thoughts kept.", lambda at: at.mean_score),
    ("Threshold by depth", "Mean over runs of beta.", lambda at: at.mean_threshold),
)


def write_results(
    folder: Path, rows: Sequence[Figures], *, facts: dict[str, Any], has_plots: bool
) -> None:
    """Write results.json and report.md, and with plots the pictures.

    `facts` are JSON-able data on how the figures were made.

    Raises:
        MissingExtra: plots are wanted, and matplotlib is not installed.
    """
    results = {"schema": SCHEMA, **facts, "methods": {row.method: asdict(row) for row in rows}}
    parts = [_head(rows, facts)]
    parts += [as_markdown(section) for section in sections(rows)]
    parts += [_bound_in_words(row.method, row.bound) for row in rows if row.bound]
    for name in draw(folder, rows) if has_plots else []:
        parts.append(f"![{_CAPTIONS[name]}]({name}.png)\n")
    write_files(folder, results, parts)


def sections(rows: Sequence[Figures]) -> list[Section]:
    """The figures by topic, one row per method; topics without any are left out."""
    found = [_accuracy(rows), _speed_ups(rows), _tokens(rows), _writers(rows)]
    found += [_by_depth(rows, *topic) for topic in _AT_DEPTH]
    found += [_prices(rows), _losses(rows), _chains(rows), _choices(rows)]
    return [section for section in found if section.rows]


def _head(rows: Sequence[Figures], facts: dict[str, Any]) -> str:
    settings = facts.get("settings", {})
    machine, versions = (
        ", ".join(f"{name} {value}" for name, value in settings.get(part, {}).items())
        for part in ("machine", "versions")
    )
    lines = [f"`{facts['command']}`"] if "command" in facts else []
    lines += [f"Problems: {rows[0].num_problems}; all methods on each, in rotating order."]
    lines += [f"Machine: {machine}."] if machine else []
    lines += [f"Versions: {versions}."] if versions else []
    lines += [f"Written {facts['date']}."] if "date" in facts else []
    return "# Benchmark\n\n" + "\n\n".join(lines) + "\n"


def _accuracy(rows: Sequence[Figures]) -> Section:
    about = (
        "Accuracy with its 95 % Wilson interval. Seconds of a problem by the clock, model load and "
        f"grading left out; outside: share of it in which no engine was busy. {DASH} is undefined."
    )
    columns = ("method", "right", "accuracy", "95 %", "median s", "p90 s", "total s", "outside")
    cells = [
        (
            row.method,
            f"{row.num_right}/{row.num_problems}",
            f"{row.accuracy:.1%}",
            _interval(row.accuracy_interval, "{:.0%}"),
            f"{row.median_seconds:.2f}",
            f"{row.p90_seconds:.2f}",
            f"{row.total_seconds:.1f}",
            f"{row.outside_share:.1%}",
        )
        for row in rows
    ]
    return Section("Accuracy and time", about, columns, cells)


def _speed_ups(rows: Sequence[Figures]) -> Section:
    about = (
        "The baseline's seconds over the method's: ratio of sums, with a 95 % bootstrap interval "
        "over problems. Above 1 the method is faster."
    )
    cells = [
        (row.method, name, f"{ratio.value:.2f}", _interval(ratio.interval, "{:.2f}"))
        for row in rows
        for name, ratio in row.speed_ups.items()
    ]
    return Section("Speed-up", about, ("method", "against", "speed-up", "95 %"), cells)


def _tokens(rows: Sequence[Figures]) -> Section:
    about = "Tokens computed and sampled, by what for; those from the cache are left out."
    cells = [
        (
            row.method,
            *(
                f"{row.tokens[role].prompt_tokens + row.tokens[role].generated_tokens:,}"
                for role in ROLES
            ),
        )
        for row in rows
    ]
    return Section("Tokens", about, ("method", *ROLES), cells)


def _writers(rows: Sequence[Figures]) -> Section:
    about = (
        "Share of scored drafts accepted, mean score of the thoughts kept, and the target's share "
        "of the tokens on the answers' paths and of all that were written; why runs ended."
    )
    columns = ("method", "accepted", "score", "target, paths", "target, all", "ends")
    cells = [
        (
            row.method,
            _number(row.acceptance, "{:.1%}"),
            _number(row.mean_score, "{:.3f}"),
            _number(row.target_share_of_paths, "{:.1%}"),
            _number(row.target_share_of_all, "{:.1%}"),
            ", ".join(f"{reason} {count}" for reason, count in row.ends.items()),
        )
        for row in rows
    ]
    return Section("Who wrote", about, columns, cells)


def _by_depth(
    rows: Sequence[Figures], title: str, about: str, of: Callable[[AtDepth], float | None]
) -> Section:
    found = {row.method: {at.depth: of(at) for at in row.by_depth} for row in rows}
    told = {name: own for name, own in found.items() if any(v is not None for v in own.values())}
    depths = sorted({depth for own in told.values() for depth in own})
    cells = [
        (name, *(_number(own.get(depth), "{:.2f}") for depth in depths))
        for name, own in told.items()
    ]
    return Section(title, about, ("method", *map(str, depths)), cells)


def _prices(rows: Sequence[Figures]) -> Section:
    about = (
        "Milliseconds per written token at the batch sizes of the runs: drafted, by the target "
        "alone in its beam search, by the target here, and scored. The bound is the speed-up over "
        "that beam search if the draft wrote all of its tokens and decisions cost nothing; even at "
        "is the share of drafted tokens that must be accepted for a speed-up of 1 where each "
        "rejected one is written anew."
    )
    columns = (
        "method",
        "drafted",
        "alone",
        "revised",
        "scored",
        "bound",
        "measured",
        "reached",
        "accepted",
        "even at",
    )
    cells = []
    for name, one in _bounds(rows):
        prices = one.prices
        spent = (prices.draft, prices.target, prices.revised, prices.scored)
        ratios = f"{one.speed_up:.2f}", f"{one.measured:.2f}", f"{one.reached:.0%}"
        ends = f"{one.acceptance:.0%}", f"{prices.break_even():.0%}"
        shown = [_number(price and 1000 * price, "{:.1f}") for price in spent]
        cells.append((name, *shown, *ratios, *ends))
    return Section("The bound", about, columns, cells)


def _losses(rows: Sequence[Figures]) -> Section:
    about = (
        "Where the seconds went, in per cent of all: the ideal, a tree of another size, rejected "
        "drafts, scoring, tokens that the target wrote at its full batch's price, what smaller "
        "batches cost it on top, and time outside the engines. A negative share is a gain."
    )
    names = ("tree", "waste", "scoring", "corrections", "batches", "overhead")
    cells = []
    for name, one in _bounds(rows):
        wall = one.ideal / one.reached
        shares = [one.ideal, *(getattr(one.losses, loss) for loss in names)]
        cells.append((name, *(f"{share / wall:.1%}" for share in shares), f"{wall:.1f}"))
    columns = (
        "method",
        "ideal",
        "tree",
        "draft waste",
        "scoring",
        "corrections",
        "small batches",
        "overhead",
        "seconds",
    )
    return Section("Where the time went", about, columns, cells)


def _chains(rows: Sequence[Figures]) -> Section:
    about = (
        "Whole chains of thought, means over problems: tokens of the answer's path, the target's "
        "share of them, how many a second of the clock gave, and engine seconds before the final "
        "answer was written, with target-greedy's over them (95 %)."
    )
    columns = ("method", "tokens", "target", "tokens/s", "thinking s", "speed-up", "95 %")
    cells = []
    for row, one in _chain_figures(rows):
        ratio = one.think_speed_up
        cells.append(
            (
                row.method,
                f"{one.output_tokens:.1f}",
                _number(row.target_share_of_paths, "{:.1%}"),
                _number(one.tokens_per_second, "{:.1f}"),
                f"{one.think_seconds:.2f}",
                _number(ratio.value if ratio else None, "{:.2f}"),
                _interval(ratio.interval if ratio else None, "{:.2f}"),
            )
        )
    return Section("Chains of thought", about, columns, cells)


def _choices(rows: Sequence[Figures]) -> Section:
    about = (
        "Problems on which a right chain was picked, of those with one, and on which all were "
        "called wrong, of those without; mean tokens of the longest chain, and of what the target "
        "thought by itself."
    )
    columns = ("method", "right picked", "", "all wrong", "", "longest", "thought again")
    cells = []
    for row, one in _chain_figures(rows):
        if found := one.choices:
            cells.append(
                (
                    row.method,
                    f"{found.num_right}/{found.num_solvable}",
                    _number(found.picked_right, "{:.0%}"),
                    f"{found.num_recognised}/{found.num_unsolvable}",
                    _number(found.recognised, "{:.0%}"),
                    _number(one.longest_draft, "{:.1f}"),
                    _number(one.thought_again, "{:.1f}"),
                )
            )
    return Section("Which chain was picked", about, columns, cells)


def _chain_figures(rows: Sequence[Figures]) -> list[tuple[Figures, Chains]]:
    """Nothing where only baselines wrote whole chains."""
    if not any(row.chains and row.graph for row in rows):
        return []
    return [(row, row.chains) for row in rows if row.chains]


def _bound_in_words(method: str, one: Bound) -> str:
    is_hopeless = one.prices.break_even() > 1.0
    verdict = " At these prices no acceptance rate makes it pay." if is_hopeless else ""
    return (
        f"{method}: this pair on this machine could reach a speed-up of {one.speed_up:.2f} over "
        f"the target's beam search; {one.measured:.2f} is {one.reached:.0%} of it.{verdict}\n"
    )


def _bounds(rows: Sequence[Figures]) -> list[tuple[str, Bound]]:
    return [(row.method, row.bound) for row in rows if row.bound]


def _interval(interval: Interval | None, form: str) -> str:
    return DASH if interval is None else "..".join(form.format(end) for end in interval)


def _number(value: float | None, form: str) -> str:
    return DASH if value is None else form.format(value)
