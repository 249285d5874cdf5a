"""The document that `forethought solve --json` prints; its schema is docs/solution.schema.json."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from forethought.graphs import graph_of
from forethought.model import Usage
from forethought.solve import Solution
from forethought.thoughts import EndReason, Ledger, Role, Source, Status, Thought

_PACKAGES = ("forethought", "langgraph", "langchain-core", "llama-cpp-python", "numpy", "pydantic")


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UsageDocument(_Document):
    """Tokens computed (`prompt`), taken from the cache, and sampled; engine seconds."""

    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    seconds: float


class ThoughtDocument(_Document):
    """One thought of the tree; `parent` 0 is the question."""

    id: int
    parent: int
    depth: int
    source: Source
    status: Status
    score: float | None
    num_draws: int
    text: str
    usage: UsageDocument


class EntryDocument(_Document):
    """What one model did in one role."""

    model: str
    role: Role
    usage: UsageDocument


class PlanDocument(_Document):
    """Who was to write how many thoughts per path of a step, and what a controller expected."""

    depth: int
    num_drafts: int
    num_large: int
    seconds: float | None
    seconds_alone: float | None
    acceptance: float | None
    agreement: float | None


class LedgerDocument(_Document):
    """Where tokens and time went; `outside_seconds` is time that no engine was busy."""

    entries: list[EntryDocument]
    plans: list[PlanDocument]
    drafts_kept: UsageDocument
    drafts_rejected: UsageDocument
    total: UsageDocument
    wall_seconds: float
    outside_seconds: float


class SolutionDocument(_Document):
    """One run, whole; `settings` are those of the `graph` by that name."""

    schema_version: Literal[1] = 1
    graph: str
    question: str
    answer: str
    text: str
    finish_reason: EndReason
    path: list[int]
    thoughts: list[ThoughtDocument]
    thresholds: dict[int, float]
    ledger: LedgerDocument
    settings: dict[str, Any]
    versions: dict[str, str]


def document(solution: Solution) -> SolutionDocument:
    """The document of a run."""
    answer = solution.answer
    return SolutionDocument(
        graph=graph_of(solution.config).name,
        question=solution.question,
        answer=answer.answer,
        text=answer.text,
        finish_reason=answer.finish_reason,
        path=[thought.id for thought in answer.path],
        thoughts=[_thought(thought) for thought in solution.thoughts],
        thresholds=solution.thresholds,
        ledger=_ledger(answer.ledger),
        settings=asdict(solution.config),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _usage(usage: Usage) -> UsageDocument:
    return UsageDocument(**asdict(usage))


def _thought(thought: Thought) -> ThoughtDocument:
    fields = ("id", "parent", "depth", "source", "status", "score", "num_draws", "text")
    values = {name: getattr(thought, name) for name in fields}
    return ThoughtDocument(**values, usage=_usage(thought.usage))


def _ledger(ledger: Ledger) -> LedgerDocument:
    entries = [
        EntryDocument(model=entry.model, role=entry.role, usage=_usage(entry.usage))
        for entry in ledger.entries
    ]
    return LedgerDocument(
        entries=entries,
        plans=[PlanDocument(**asdict(plan)) for plan in ledger.plans],
        drafts_kept=_usage(ledger.kept),
        drafts_rejected=_usage(ledger.rejected),
        total=_usage(ledger.total),
        wall_seconds=ledger.wall_seconds,
        outside_seconds=ledger.outside_seconds,
    )


if __name__ == "__main__":  # python -m forethought.report > docs/solution.schema.json
    print(json.dumps(SolutionDocument.model_json_schema(), indent=2))
