"""Pictures of a benchmark, as PNG and SVG: accuracy against time, speed-ups, depths."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from forethought.bench.figures import Figures
from forethought.errors import MissingExtra

_COLOURS: Final = 10  # of matplotlib's cycle, C0 to C9
_MARKERS: Final = "osD^v*P"
_DEPTH_PANELS: Final = (
    ("acceptance", "drafts accepted"),
    ("mean_threshold", "threshold"),
    ("mean_score", "score of thoughts kept"),
)


def plotting() -> Any:
    """The module of matplotlib's figures, which draw without a display and without global state.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise MissingExtra(
            "matplotlib is not installed: pip install 'forethought[bench]', or give --no-plots"
        ) from error


def draw(folder: Path, rows: Sequence[Figures]) -> list[str]:
    """Draw what the figures hold into `folder`; returns the pictures' names without ending.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    names = ["accuracy_latency"]
    _save(folder, names[0], _accuracy(rows))
    if any(row.speed_ups for row in rows):
        names.append("speed_up")
        _save(folder, names[-1], _speed_ups(rows))
    if any(row.by_depth for row in rows):
        names.append("by_depth")
        _save(folder, names[-1], _depths(rows))
    return names


def _accuracy(rows: Sequence[Figures]) -> Any:
    figure = plotting().Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        low, high = row.accuracy_interval
        axes.errorbar(
            row.median_seconds,
            row.accuracy,
            # rounding may put an end a hair on the wrong side
            yerr=[[max(0.0, row.accuracy - low)], [max(0.0, high - row.accuracy)]],
            label=row.method,
            capsize=3,
            **_style(place),
        )
    axes.set(xlabel="median seconds a problem", ylabel="accuracy, 95 %", ylim=(-0.02, 1.02))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    _legend(figure, axes)
    return figure


def _speed_ups(rows: Sequence[Figures]) -> Any:
    baselines = list(dict.fromkeys(name for row in rows for name in row.speed_ups))
    figure = plotting().Figure(figsize=(7.0, 1.2 + 0.35 * len(rows) * len(baselines)))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(baselines), 1, squeeze=False, sharex=True)
    for axes, baseline in zip(panels[:, 0], baselines, strict=True):
        for place, row in enumerate(rows):
            if ratio := row.speed_ups.get(baseline):
                low, high = ratio.interval or (ratio.value, ratio.value)
                error = [[max(0.0, ratio.value - low)], [max(0.0, high - ratio.value)]]
                colour = f"C{place % _COLOURS}"
                axes.barh(row.method, ratio.value, xerr=error, color=colour, capsize=3)
        axes.axvline(1.0, color="0.3", linewidth=1)
        axes.invert_yaxis()
        axes.set_title(f"speed-up against {baseline}, 95 %", fontsize="small")
    return figure


def _depths(rows: Sequence[Figures]) -> Any:
    figure = plotting().Figure(figsize=(10.0, 3.6), layout="constrained")
    panels = figure.subplots(1, len(_DEPTH_PANELS))
    for axes, (name, title) in zip(panels, _DEPTH_PANELS, strict=True):
        for place, row in enumerate(rows):
            points = [
                (at.depth, value) for at in row.by_depth if (value := getattr(at, name)) is not None
            ]
            if points:
                axes.plot(*zip(*points, strict=True), label=row.method, **_style(place))
        axes.set(title=title, xlabel="depth", ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure, *panels)
    return figure


def _legend(figure: Any, *panels: Any) -> None:
    """One legend for all panels, below them."""
    handles: dict[str, Any] = {}
    for axes in panels:
        found, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize="small"
        )


def _style(place: int) -> dict[str, Any]:
    return {"color": f"C{place % _COLOURS}", "marker": _MARKERS[place % len(_MARKERS)]}


def _save(folder: Path, name: str, figure: Any) -> None:
    for ending in ("png", "svg"):
        figure.savefig(folder / f"{name}.{ending}", dpi=150)
