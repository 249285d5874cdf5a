"""The quality of evaluators for readers: tables, report.md, results.json, reliability plots.

Knows how figures are drawn; refuses to know how they came about. What is undefined is a dash.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from forethought.bench.plots import plotting
from forethought.bench.quality import Group, Quality, Ranking, Reliability
from forethought.bench.tables import DASH, Section, as_markdown, write_files

SCHEMA: Final = 1
_PLOTS_IN_A_ROW = 4
_PLOT_INCHES = 2.6
_TITLE_WIDTH = 26
_TICKS = (0, 0.5, 1)


def sections(qualities: Sequence[Quality]) -> list[Section]:
    """The figures by topic, one row per evaluator."""
    return [_ranks(qualities), _probabilities(qualities), _choices(qualities), _costs(qualities)]


def write_report(
    folder: Path, qualities: Sequence[Quality], *, facts: dict[str, Any], has_plots: bool
) -> None:
    """Write report.md and results.json, and with plots reliability.png and reliability.svg.

    `facts` are JSON-able data on how the figures were made.

    Raises:
        MissingExtra: plots are wanted, and matplotlib is not installed.
    """
    results = {"schema": SCHEMA, **facts, "evaluators": [asdict(one) for one in qualities]}
    parts = [f"# Quality of evaluators\n\n{_sizes(qualities[0])}\n"]
    parts += [as_markdown(section) for section in sections(qualities)]
    if has_plots:
        draw_reliability(folder, qualities)
        parts.append("![Reliability, before and after calibration](reliability.png)\n")
    write_files(folder, results, parts)


def draw_reliability(folder: Path, qualities: Sequence[Quality]) -> None:
    """One figure: the share of right steps by score, above before and below after calibration, a
    column per evaluator; the larger a point, the more steps it stands for.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    num_columns = min(len(qualities), _PLOTS_IN_A_ROW)
    num_rows = 2 * -(-len(qualities) // num_columns)
    size = num_columns * _PLOT_INCHES, num_rows * _PLOT_INCHES
    figure = plotting().Figure(figsize=size, layout="constrained")
    grid = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    for number, one in enumerate(qualities):
        block, column = divmod(number, num_columns)
        before, after = grid[2 * block][column], grid[2 * block + 1][column]
        _draw(before, one.raw, "\n".join(textwrap.wrap(one.evaluator, _TITLE_WIDTH)))
        _draw(after, one.calibrated, "calibrated")
    figure.supxlabel("score")
    figure.supylabel("share of steps in right answers")
    for ending in ("png", "svg"):
        figure.savefig(folder / f"reliability.{ending}", dpi=150)


def _draw(axes: Any, found: Reliability | None, title: str) -> None:
    axes.set_visible(True)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=_TICKS, yticks=_TICKS)
    axes.set_title(title, fontsize="small")
    axes.plot((0, 1), (0, 1), color="0.7", linewidth=1)
    if found is None:
        axes.text(0.5, 0.5, "undefined", ha="center", va="center")
        return
    total = sum(one.count for one in found.bins)
    xs, ys = [one.score for one in found.bins], [one.share_right for one in found.bins]
    axes.plot(xs, ys, color="tab:blue", linewidth=1, alpha=0.3)
    axes.scatter(xs, ys, s=[8 + 120 * one.count / total for one in found.bins], color="tab:blue")
    error = f"error {found.calibration_error:.3f}\nBrier {found.brier:.3f}"
    axes.text(0.04, 0.96, error, va="top", fontsize="x-small")


def _sizes(one: Quality) -> str:
    return (
        f"{one.num_questions} questions, {one.num_chains} chains, {one.num_steps} steps. A step "
        f"counts as right where its chain's answer is. {DASH} is undefined: one outcome only."
    )


def _ranks(qualities: Sequence[Quality]) -> Section:
    about = (
        "Pairs: share of pairs of a right and a wrong answer to one question in which the right "
        "one's last step scores higher, with a 95 % bootstrap interval by question and, in "
        "parentheses, their number. AUC: the same over all chains' last steps, and over all steps, "
        "across questions."
    )
    columns = ("evaluator", "pairs", "95 %", "of draft", "of target", "AUC last", "AUC steps")
    rows = []
    for one in qualities:
        found = one.ranking.get("all")
        aucs = (found.auc_last, found.auc_steps) if found else (None, None)
        own = [_pairs(one, group) for group in ("draft", "target")]
        interval = found.interval if found else None
        shown = DASH if interval is None else f"{interval[0]:.2f}..{interval[1]:.2f}"
        rows.append((one.evaluator, _pairs(one, "all"), shown, *own, *map(_number, aucs)))
    return Section("Right against wrong answers", about, columns, rows)


def _probabilities(qualities: Sequence[Quality]) -> Section:
    about = (
        "Scores read as the probability that the step is right: Brier score and expected "
        "calibration error, before and after a calibration fitted on other questions."
    )
    columns = ("evaluator", "Brier", "calibrated", "error", "calibrated")
    rows = []
    for one in qualities:
        raw, after = one.raw, one.calibrated
        brier = _number(raw.brier), _number(after.brier if after else None)
        error = _number(raw.calibration_error), _number(after.calibration_error if after else None)
        rows.append((one.evaluator, *brier, *error))
    return Section("Scores as probabilities", about, columns, rows)


def _choices(qualities: Sequence[Quality]) -> Section:
    about = (
        "Accuracy when one of a question's drafts is chosen: the highest last score, a vote "
        "weighted by it, a plain majority, one at random, one by who knows."
    )
    names = ("highest", "weighted", "majority", "mean", "any")
    rows = []
    for one in qualities:
        best = one.best_of
        sizes = (DASH, DASH) if best is None else (f"{best.num_samples:.1f}", best.num_questions)
        shown = [DASH if best is None else f"{getattr(best, name):.1%}" for name in names]
        rows.append((one.evaluator, *map(str, sizes), *shown))
    columns = ("evaluator", "drafts", "questions", *names)
    return Section("Choosing among drafts", about, columns, rows)


def _costs(qualities: Sequence[Quality]) -> Section:
    about = (
        "Per different thought: time by the clock, and prompt tokens computed, the question's own "
        "spread over its thoughts. Thoughts of the model that reads count as if it had not "
        "written them."
    )
    rows = [
        (one.evaluator, f"{one.cost.ms_per_thought:.1f}", f"{one.cost.tokens_per_thought:.1f}")
        for one in qualities
    ]
    return Section("Cost of a thought", about, ("evaluator", "ms", "tokens"), rows)


def _pairs(one: Quality, group: Group) -> str:
    found: Ranking | None = one.ranking.get(group)
    return _number(found.pairs) + f" ({found.num_pairs})" if found else DASH


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"
