"""What a search is made of: thoughts, what they cost, and the answer. Plain, frozen data.

All types are module-level dataclasses of lists, dicts and Python scalars, so that they survive
LangGraph's strict checkpoint serialiser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from forethought.model import NO_USAGE, StopReason, Usage
from forethought.prompts import trimmed

Source = Literal["draft", "target"]
Status = Literal["proposed", "accepted", "rejected", "revised", "pruned", "final"]
Role = Literal["drafted", "scored", "revised", "answered"]
EndReason = Literal["answer", "limit", "deadline", "cancelled", "lost"]
SearchStop = StopReason | Literal["limit", "lost"]
# a thought's id, its score and its status, in a form that every serialiser knows
Verdict = tuple[int, float | None, Status]

ROOT = 0


@dataclass(frozen=True, slots=True)
class Thought:
    """One delimiter-terminated step of reasoning.

    `parent` is a thought's id, or 0 for the question; `depth` counts from 1. `tokens` are ids of
    the `vocabulary` that wrote it. `score` lies in [0, 1]. `status` says how it fared: a `pruned`
    draft was accepted before the beam left it, a `pruned` thought of the target was `revised`.
    `is_terminal`: the path ends here, by its own decision. `num_draws` counts the draws that gave
    this same text; `usage` is what all of them cost. `logprob` is the mean natural-log probability
    of its tokens under the model that wrote it, where the search asked for it.
    """

    id: int
    parent: int
    depth: int
    text: str
    tokens: list[int]
    vocabulary: str
    source: Source
    is_terminal: bool
    usage: Usage = NO_USAGE
    num_draws: int = 1
    score: float | None = None
    status: Status = "proposed"
    logprob: float | None = None

    def marked(self, status: Status) -> Thought:
        """The same thought under another status."""
        return replace(self, status=status)

    def edited(self, text: str) -> Thought:
        """The thought in other words than a model's: each model reads them as its own tokens."""
        return replace(self, text=text, tokens=[], vocabulary="edited")

    @property
    def verdict(self) -> Verdict:
        """What has become of it, without the thought."""
        return self.id, self.score, self.status


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What one model did in one role."""

    model: str
    role: Role
    usage: Usage


@dataclass(frozen=True, slots=True)
class Plan:
    """How one step's thoughts are shared out, per open path: `num_drafts` by the draft (0: the
    target writes all), `num_large` by the target beside the replacements.

    Where a controller decided, `seconds` is what it expected the step to take, `seconds_alone` what
    the target would have taken alone, at the rate of `acceptance` that it expected; `agreement` is
    the draft's with itself, where it was gauged.
    """

    depth: int
    num_drafts: int
    num_large: int
    seconds: float | None = None
    seconds_alone: float | None = None
    acceptance: float | None = None
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where a run's tokens and time went.

    `entries` add up to what the engines counted for this run; `plans` has one entry per step.
    `kept` and `rejected` split what was drafted into what entered the tree and the rest.
    `wall_seconds` is the whole run's time; 0 until the run's caller has closed the ledger.
    """

    entries: list[LedgerEntry] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    kept: Usage = NO_USAGE
    rejected: Usage = NO_USAGE
    wall_seconds: float = 0.0

    @property
    def total(self) -> Usage:
        """All entries together."""
        return sum((entry.usage for entry in self.entries), Usage())

    @property
    def outside_seconds(self) -> float:
        """Time that no engine was busy for this run: graph, Python, drawing."""
        return max(0.0, self.wall_seconds - self.total.seconds)

    @property
    def think_phase_seconds(self) -> float:
        """Engine time before the final answer was written: drafting, scoring or selection, and the
        target's own thinking. The latency of Speculative Chain-of-Thought's measurements."""
        entries = [entry for entry in self.entries if entry.role != "answered"]
        return sum(entry.usage.seconds for entry in entries)

    def tokens_by(self, role: Role) -> int:
        """Tokens computed or sampled in a role."""
        usages = [entry.usage for entry in self.entries if entry.role == role]
        return sum(usage.prompt_tokens + usage.generated_tokens for usage in usages)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search returns: never empty unless nothing at all was written.

    `text` is the whole path; `answer` what the task's pattern finds in it. `finish_reason` is
    `answer` where a path reached its own end, else why the search stopped before one did: `lost`
    where a model elsewhere could not be reached any more.
    """

    text: str
    answer: str
    path: list[Thought]
    finish_reason: EndReason
    ledger: Ledger

    @property
    def target_share(self) -> float:
        """The part of the path's tokens that the target wrote, in [0, 1]: the modify ratio of
        Speculative Thinking, by what was written instead of what was asked for."""
        written = sum(len(thought.tokens) for thought in self.path)
        by_target = sum(len(t.tokens) for t in self.path if t.source == "target")
        return by_target / written if written else 0.0


def merge_entries(left: list[LedgerEntry], right: list[LedgerEntry]) -> list[LedgerEntry]:
    """One entry per model and role: the reducer of the graph's ledger."""
    totals: dict[tuple[str, Role], Usage] = {}
    for entry in [*left, *right]:
        key = (entry.model, entry.role)
        totals[key] = totals.get(key, Usage()) + entry.usage
    return [LedgerEntry(model, role, usage) for (model, role), usage in totals.items()]


def with_verdicts(
    thoughts: list[Thought], writes: Sequence[list[Thought | Verdict]]
) -> list[Thought]:
    """Thoughts by id, each as it was last written or decided on, in the order of their first
    writing: the reducer of thoughts in work."""
    by_id = {thought.id: thought for thought in thoughts}
    for item in chain.from_iterable(writes):
        if isinstance(item, Thought):
            by_id[item.id] = item
        else:
            number, score, status = item
            by_id[number] = replace(by_id[number], score=score, status=status)
    return list(by_id.values())


def close_ledger(
    entries: list[LedgerEntry], thoughts: Iterable[Thought], plans: Iterable[Plan] = ()
) -> Ledger:
    """Split what was drafted by what became of it.

    Drafts that never became a thought (cut off, blank) count as rejected.
    """
    drafted = sum((e.usage for e in entries if e.role == "drafted"), Usage())
    kept = sum(
        (
            t.usage
            for t in thoughts
            if t.source == "draft" and t.status not in ("rejected", "proposed")
        ),
        Usage(),
    )
    rejected = Usage(
        drafted.prompt_tokens - kept.prompt_tokens,
        drafted.cached_tokens - kept.cached_tokens,
        drafted.generated_tokens - kept.generated_tokens,
        max(0.0, drafted.seconds - kept.seconds),
    )
    return Ledger(entries=entries, plans=list(plans), kept=kept, rejected=rejected)


def text_of(path: Iterable[Thought]) -> str:
    """A path's text as an answer shows it."""
    return trimmed("".join(thought.text for thought in path))


def path_to(thought_id: int, thoughts: Iterable[Thought]) -> list[Thought]:
    """Thoughts from the question to `thought_id`, in order; empty for the question itself."""
    by_id = {thought.id: thought for thought in thoughts}
    path: list[Thought] = []
    while thought_id != ROOT:
        path.append(by_id[thought_id])
        thought_id = path[-1].parent
    return path[::-1]
