"""Tables of figures, for the terminal and for report.md, and the files of a report; what is
undefined is a dash."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

DASH: Final = "-"
_NAME_WIDTH: Final = 24


@dataclass(frozen=True, slots=True)
class Section:
    """A table and what its columns mean."""

    title: str
    about: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def as_table(section: Section) -> Table:
    """A section for the terminal."""
    table = Table(box=SIMPLE_HEAD, title=section.title, title_justify="left")
    longest = max((len(row[0]) for row in section.rows), default=0)
    for number, column in enumerate(section.columns):
        table.add_column(
            column,
            justify="right" if number else "left",
            overflow="fold",
            min_width=None if number else min(longest, _NAME_WIDTH),
        )
    for row in section.rows:
        table.add_row(*map(Text, row))
    return table


def as_markdown(section: Section) -> str:
    """A section for report.md."""
    rule = ["---"] + ["---:"] * (len(section.columns) - 1)
    lines = (section.columns, rule, *section.rows)
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## {section.title}\n\n{section.about}\n\n{table}\n"


def write_files(folder: Path, results: Mapping[str, Any], parts: Sequence[str]) -> None:
    """Write JSON-able `results` to results.json, and the `parts` of a report to report.md."""
    text = json.dumps(results, indent=2, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text("\n".join(parts), encoding="utf-8")
