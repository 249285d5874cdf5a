"""Searches without weights: scripted pairs whose thoughts spell out their own scores.

A thought reads `draft2.0 V=0.7`: who wrote it, its depth, its place in the batch, and what `Stated`
will score it. Every call is noted, so that a test can look at what a model was shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forethought.config import SearchConfig
from forethought.engine import ScriptedModel
from forethought.evaluators import Evaluator
from forethought.graphs import spec_search
from forethought.graphs.spec_search import SpecSearchGraph
from forethought.model import Scope
from forethought.nodes import Rules
from forethought.solve import Solution, solve
from forethought.stores import ThresholdStore
from forethought.thoughts import Source, Status, Thought

QUESTION = "How many apples are left?"
CUE = "The answer is \\boxed{"
_ASSISTANT = "assistant: "
_STATED = re.compile(r"V=([0-9.]+)")


@dataclass(frozen=True)
class Call:
    """One prompt that a scripted model was to continue."""

    name: str
    prompt: str
    seed: int
    index: int

    @property
    def path(self) -> str:
        """What was thought before."""
        return self.prompt.rpartition(_ASSISTANT)[2]

    @property
    def depth(self) -> int:
        """That of the thought to be written."""
        return self.path.count("\n\n") + 1

    @property
    def is_closing(self) -> bool:
        """Whether a final answer is asked for."""
        return self.path.endswith(CUE)


Script = Callable[[Call], str]


class Writer:
    """A reply for `ScriptedModel` that notes its calls."""

    def __init__(self, name: str, script: Script) -> None:
        self.name = name
        self.calls: list[Call] = []
        self._script = script

    def __call__(self, prompt: str, seed: int, index: int) -> str:
        call = Call(self.name, prompt, seed, index)
        self.calls.append(call)
        return self._script(call)

    def at(self, depth: int) -> list[Call]:
        """Calls for thoughts of one depth."""
        return [call for call in self.calls if call.depth == depth and not call.is_closing]


class Stated:
    """An evaluator that reads a thought's score off its text; what states none is worth nothing."""

    name = "stated"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        assert question == QUESTION
        self.batches.append(["".join(t.text for t in path) for path in paths])
        return [stated_score(path[-1].text) for path in paths]


def stated_score(text: str) -> float:
    found = _STATED.search(text)
    return float(found[1]) if found else 0.0


def step(call: Call, score: float, *, answer: str | None = None) -> str:
    """A thought; with `answer`, one that ends its path. The model would write on after it."""
    stated = "" if answer is None else f" \\boxed{{{answer}}}"
    return f"{call.name}{call.depth}.{call.index} V={score}{stated}\n\nand on"


def scores(table: Mapping[int, Sequence[float]], *, ends: int | None = None) -> Script:
    """Thoughts whose scores stand in a table by depth and index; those of depth `ends` are last."""

    def script(call: Call) -> str:
        if call.is_closing:
            return "7} and more"
        row = table[call.depth]
        answer = f"{call.name}{call.index}" if call.depth == ends else None
        return step(call, row[call.index % len(row)], answer=answer)

    return script


def everywhere(score: float, *, depths: int) -> dict[int, list[float]]:
    """A table for `scores` that says the same at every depth."""
    return {depth: [score] for depth in range(1, depths + 1)}


def never(call: Call) -> str:
    """For a model that must not be asked."""
    raise AssertionError(f"{call.name} was asked for a thought after {call.path!r}")


@dataclass
class Run:
    """A finished search and everything that was seen of it."""

    draft: Writer
    target: Writer
    solution: Solution
    events: list[dict[str, Any]]

    def thoughts(
        self,
        *,
        depth: int | None = None,
        source: Source | None = None,
        status: Status | None = None,
    ) -> list[Thought]:
        """Those of the tree that are as wanted."""
        wanted = {"depth": depth, "source": source, "status": status}
        given = [(name, value) for name, value in wanted.items() if value is not None]
        return [t for t in self.solution.thoughts if all(getattr(t, n) == v for n, v in given)]

    def names(self, **wanted: Any) -> list[str]:
        """First words of the thoughts, which tell them apart."""
        return [t.text.split()[0] for t in self.thoughts(**wanted)]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == event]


@dataclass
class Pair:
    """Two scripted models and an evaluator, ready to be searched with."""

    draft_script: Script
    target_script: Script
    evaluator: Evaluator = field(default_factory=Stated)
    thresholds: ThresholdStore | None = None
    rules: Rules | None = None

    def __post_init__(self) -> None:
        self.draft = Writer("draft", self.draft_script)
        self.target = Writer("target", self.target_script)

    def graph(self) -> SpecSearchGraph:
        return spec_search(
            draft=ScriptedModel(self.draft, name="small"),
            target=ScriptedModel(self.target, name="large"),
            evaluator=self.evaluator,
            thresholds=self.thresholds,
            rules=self.rules,
        )

    def run(self, *, scope: Scope | None = None, **settings: Any) -> Run:
        events: list[dict[str, Any]] = []
        small: dict[str, Any] = {
            "tree_width": 2,
            "beam_width": 1,
            "max_depth": 4,
            "refill": "width",
        }
        config = SearchConfig(**(small | settings))
        solution = solve(QUESTION, self.graph(), config=config, scope=scope, listen=events.append)
        return Run(self.draft, self.target, solution, events)
