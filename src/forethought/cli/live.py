"""What a reader sees of a run: a tree that grows, or lines, and the ledger at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from forethought.cli.opening import Served
from forethought.model import NO_USAGE, Usage
from forethought.solve import Solution
from forethought.thoughts import ROOT, Ledger, Status, Thought

_STYLES: dict[Status, str] = {
    "proposed": "dim",
    "accepted": "green",
    "rejected": "red",
    "revised": "blue",
    "pruned": "bright_black",
    "final": "bold green",
}
_REFRESH_PER_SECOND = 4
_TEXT_WIDTH = 78


@dataclass(slots=True)
class View:
    """What the events of a run say so far."""

    thoughts: dict[int, Thought] = field(default_factory=dict)
    activity: str = "reading the question"
    threshold: str | None = None
    started: float = field(default_factory=time.monotonic)
    engines: tuple[Served, ...] = ()
    before: Usage = NO_USAGE

    def receive(self, event: dict[str, Any]) -> None:
        """Take one event in."""
        for thought in event.get("thoughts", ()):
            self.thoughts[thought.id] = thought
        if "count" in event:
            self.activity = f"{event['event']} {event['count']} thoughts of step {event['depth']}"
        if event["event"] == "threshold":
            beta = event["beta"]
            self.threshold = "none yet" if beta is None else f"{beta:.3f}"

    def watch(self, *engines: Served) -> None:
        """Count the tokens of these engines from now on."""
        self.engines, self.before = engines, _counted(engines)
        self.started = time.monotonic()

    def status_line(self) -> str:
        """Activity, threshold where the graph has one, tokens per second and time."""
        seconds = time.monotonic() - self.started
        spent = _counted(self.engines).generated_tokens - self.before.generated_tokens
        threshold = "" if self.threshold is None else f" · threshold {self.threshold}"
        rate = spent / max(seconds, 0.001)
        return f"{self.activity}{threshold} · {rate:.0f} tokens/s · {seconds:.1f} s"


class LiveTree:
    """A rich tree redrawn in place; frames are drawn beside the run, not between its steps."""

    def __init__(self) -> None:
        self._view = View()
        self._live = Live(
            get_renderable=self._render,
            console=Console(),
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> LiveTree:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)
        if self._view.thoughts and error is None:
            Console().print(thought_tree(self._view.thoughts))

    def watch(self, *engines: Served) -> None:
        """Show these engines' speed."""
        self._view.watch(*engines)

    def receive(self, event: dict[str, Any]) -> None:
        """Take one event in; the next frame shows it."""
        self._view.receive(event)

    def _render(self) -> Group:
        height = max(5, Console().size.height - 4)
        tree = thought_tree(dict(self._view.thoughts), newest=height)
        return Group(tree, Text(self._view.status_line(), style="bold"))


class PlainTree:
    """A line for every decision, for pipes and logs."""

    def __init__(self, *, is_silent: bool = False) -> None:
        self._view = View()
        self._is_silent = is_silent
        self._console = Console(highlight=False, soft_wrap=True)

    def __enter__(self) -> PlainTree:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def watch(self, *engines: Served) -> None:
        """Show these engines' speed."""
        self._view.watch(*engines)

    def receive(self, event: dict[str, Any]) -> None:
        """Print what was decided."""
        self._view.receive(event)
        if self._is_silent:
            return
        if event["event"] in ("decided", "selected"):
            if event["event"] == "selected":
                self._console.print(self._view.status_line(), markup=False)
            for thought in event["thoughts"]:
                if event["event"] == "decided" or thought.status in ("pruned", "final"):
                    self._console.print(f"  {thought.depth}. ", thought_line(thought))


def thought_tree(thoughts: dict[int, Thought], *, newest: int | None = None) -> Tree:
    """The thoughts as a tree; with `newest`, only paths to that many of the newest ones."""
    tree = Tree("question", guide_style="bright_black")
    shown = set(thoughts)
    if newest is not None and len(thoughts) > newest:
        shown = set()
        for number in sorted(thoughts, reverse=True)[:newest]:
            while number in thoughts and number not in shown:
                shown.add(number)
                number = thoughts[number].parent
    nodes = {ROOT: tree}
    for number in sorted(shown):
        thought = thoughts[number]
        nodes[number] = nodes[thought.parent].add(thought_line(thought))
    return tree


def thought_line(thought: Thought) -> Text:
    """Who wrote it, how it fared, its score, and how it begins."""
    score = "  …  " if thought.score is None else f"{thought.score:.3f}"
    words = " ".join(thought.text.split())
    if len(words) > _TEXT_WIDTH:
        words = words[: _TEXT_WIDTH - 1] + "…"
    line = Text(f"{thought.source:6} {thought.status:8} {score} ", style=_STYLES[thought.status])
    return line.append(words, style="default" if thought.status != "pruned" else "bright_black")


def print_solution(solution: Solution) -> None:
    """The path, the answer and the ledger."""
    console, answer = wide_console(), solution.answer
    console.print(Panel(Text(answer.text or "(nothing was written)"), title="path", expand=False))
    end = "" if answer.finish_reason == "answer" else f"  ({answer.finish_reason} reached)"
    console.print(Text.assemble(("answer  ", "bold"), (answer.answer or "none", "bold green"), end))
    console.print(ledger_table(answer.ledger))
    console.print(Text(summary(solution), style="default"))


def wide_console() -> Console:
    """As wide as the terminal; in a file, as wide as the tables need."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def ledger_table(ledger: Ledger) -> Table:
    """Tokens and seconds by role."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("role")
    table.add_column("model")
    for name in ("computed", "cached", "sampled", "seconds"):
        table.add_column(name, justify="right")
    for entry in ledger.entries:
        if entry.role == "drafted":
            _add(table, "draft kept", entry.model, ledger.kept)
            _add(table, "draft rejected", entry.model, ledger.rejected)
        else:
            _add(table, entry.role, entry.model, entry.usage)
    _add(table, "total", "", ledger.total)
    return table


def summary(solution: Solution) -> str:
    """Wall time, time outside the engines, acceptance and share of kept thoughts drafted."""
    ledger = solution.answer.ledger
    drafts = [t for t in solution.thoughts if t.source == "draft"]
    kept = [t for t in drafts if t.status != "rejected"]
    share = ledger.outside_seconds / max(ledger.wall_seconds, 1e-9)
    accepted = f"{len(kept)} of {len(drafts)} drafts accepted" if drafts else "no drafts"
    path = solution.answer.path
    written = sum(t.source == "draft" for t in path)
    return (
        f"{ledger.wall_seconds:.1f} s, of which {ledger.outside_seconds:.2f} s ({share:.1%}) "
        f"outside the engines · {accepted} · {written} of the answer's {len(path)} thoughts drafted"
    )


def _add(table: Table, role: str, model: str, usage: Usage) -> None:
    numbers = (usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens)
    table.add_row(role, model, *map(str, numbers), f"{usage.seconds:.2f}")


def _counted(engines: tuple[Served, ...]) -> Usage:
    return sum((engine.stats().usage for engine in engines), Usage())
