"""What one method did on one problem, in figures."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, cast

from forethought.bench.problems import Posed
from forethought.config import SearchConfig
from forethought.config_cot import CotConfig
from forethought.model import NO_USAGE, Usage
from forethought.prompts import task_named
from forethought.solve import Solution
from forethought.thoughts import EndReason, Role, Source, Thought


@dataclass(frozen=True, slots=True)
class Depth:
    """What happened at one depth of a run, in sums, so that runs add up: draws of the draft that
    were scored and those of them accepted; scores of the thoughts kept; the `threshold`, if any."""

    depth: int
    num_drafted: int
    num_accepted: int
    num_scored: int
    sum_scores: float
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a selector met: `rights[i]` says whether chain i+1 is right, `lengths` are the chains'
    in tokens, and `choice` is the number it picked, from 1, one more than there are chains where it
    called all wrong; None where the run was stopped before."""

    rights: list[bool]
    lengths: list[int]
    choice: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run. `digest` is its problem's; `seconds` by the clock, `outside_seconds` those in
    which no engine was busy; `spent` by role. Tokens that were written, every draw counted: by the
    draft into the tree (`kept`) and in vain (`rejected`), by the target (`revised`); `on_path` are
    those of the answer by who wrote them. `chosen` is told of methods that pick one of several
    chains. `error` says why a method could not begin at all."""

    method: str
    problem: str
    digest: str
    seed: int
    answer: str
    is_right: bool
    end: EndReason
    seconds: float
    outside_seconds: float
    spent: dict[Role, Usage]
    rejected_usage: Usage
    kept: int
    rejected: int
    revised: int
    on_path: dict[Source, int]
    depths: list[Depth]
    chosen: Chosen | None = None
    error: str = ""


def measured(method: str, posed: Posed, solution: Solution) -> Run:
    """A solution in figures, graded."""
    answer = solution.answer
    ledger = answer.ledger
    spent: dict[Role, Usage] = {}
    for entry in ledger.entries:
        spent[entry.role] = spent.get(entry.role, NO_USAGE) + entry.usage
    drafts = [t for t in solution.thoughts if t.source == "draft"]
    in_vain = [t for t in drafts if t.status in ("rejected", "proposed")]
    return Run(
        method=method,
        problem=posed.problem.name,
        digest=posed.digest,
        seed=solution.config.seed,
        answer=answer.answer,
        is_right=posed.is_right(answer.answer),
        end=answer.finish_reason,
        seconds=ledger.wall_seconds,
        outside_seconds=ledger.outside_seconds,
        spent=spent,
        rejected_usage=ledger.rejected,
        kept=_written(drafts) - _written(in_vain),
        rejected=_written(in_vain),
        revised=_written([t for t in solution.thoughts if t.source == "target"]),
        on_path={
            source: sum(len(t.tokens) for t in answer.path if t.source == source)
            for source in cast("tuple[Source, ...]", ("draft", "target"))
        },
        depths=_depths(solution) if isinstance(solution.config, SearchConfig) else [],
        chosen=_chosen(posed, solution),
    )


def failed(method: str, posed: Posed, error: Exception, *, seed: int, seconds: float) -> Run:
    """The run of a method that cannot take the problem: it counts as wrong."""
    return Run(
        method=method,
        problem=posed.problem.name,
        digest=posed.digest,
        seed=seed,
        answer="",
        is_right=False,
        end="limit",
        seconds=seconds,
        outside_seconds=seconds,
        spent={},
        rejected_usage=NO_USAGE,
        kept=0,
        rejected=0,
        revised=0,
        on_path={},
        depths=[],
        error=str(error),
    )


def _chosen(posed: Posed, solution: Solution) -> Chosen | None:
    if not isinstance(solution.config, CotConfig):
        return None
    task = task_named(solution.config.task)
    drafts = [thought for thought in solution.thoughts if thought.source == "draft"]
    rights = [posed.is_solved_by(draft.text, task) for draft in drafts]
    return Chosen(rights, [len(draft.tokens) for draft in drafts], solution.choice)


def _written(thoughts: list[Thought]) -> int:
    return sum(len(t.tokens) * t.num_draws for t in thoughts)


def _depths(solution: Solution) -> list[Depth]:
    by_depth: defaultdict[int, list[Thought]] = defaultdict(list)
    for thought in solution.thoughts:
        if thought.score is not None:
            by_depth[thought.depth].append(thought)
    return [
        _depth(depth, by_depth[depth], solution.thresholds.get(depth)) for depth in sorted(by_depth)
    ]


def _depth(depth: int, scored: list[Thought], threshold: float | None) -> Depth:
    drafts = [t for t in scored if t.source == "draft"]
    kept = [t.score for t in scored if t.status not in ("rejected", "proposed") and t.score]
    return Depth(
        depth=depth,
        num_drafted=sum(t.num_draws for t in drafts),
        num_accepted=sum(t.num_draws for t in drafts if t.status not in ("rejected", "proposed")),
        num_scored=sum(t.status not in ("rejected", "proposed") for t in scored),
        sum_scores=sum(kept),
        threshold=threshold,
    )


def parsed_run(document: dict[str, Any]) -> Run:
    """A run from `asdict`'s form. Raises TypeError or KeyError where it is none."""
    spent = {role: Usage(**usage) for role, usage in document["spent"].items()}
    rejected = Usage(**document["rejected_usage"])
    depths = [Depth(**depth) for depth in document["depths"]]
    # logs that were written before chains were picked from do not have it
    met = document.get("chosen")
    parsed = {
        "spent": spent,
        "rejected_usage": rejected,
        "depths": depths,
        "chosen": met and Chosen(**met),
    }
    return Run(**document | parsed)
