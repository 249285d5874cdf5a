"""The graph's state: plain data that any checkpointer can write, and how a node enters its run.

Live objects (models, evaluators, stores) are fields of the nodes; settings come in the run's
context, a search's as a `SearchConfig`. Neither is ever in the state.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Protocol

from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from forethought.config import SearchConfig
from forethought.errors import PromptTooLong, RemoteError
from forethought.model import Meter, Scope, current_scope, run_scope
from forethought.thoughts import (
    ROOT,
    Answer,
    LedgerEntry,
    Plan,
    Role,
    SearchStop,
    Thought,
    merge_entries,
    path_to,
)

# of the time allowed, this share is the search's; the rest is left to write the answer
_SEARCH_SHARE = 0.85


class SearchInput(TypedDict):
    """What a run starts from."""

    question: str


class RunState(TypedDict):
    """What every graph's state has. `thoughts` is the tree, each thought written once; `stop` says
    why the run must end, if it must."""

    question: str
    started_at: float
    thoughts: Annotated[list[Thought], operator.add]
    ledger: Annotated[list[LedgerEntry], merge_entries]
    stop: SearchStop | None
    answer: Answer | None


class SearchState(RunState):
    """What the nodes of one search share.

    `depth` is that of the thoughts in work. `needs` counts the thoughts that the target owes each
    parent. `candidates` are the thoughts in work, not yet in the tree. `frontier` holds the ids of
    the open paths in work, `finished` the ends of the beam's finished paths, or of the paths that
    MCTS has walked, in order. `thresholds` is beta by depth; `plans` says per step who was to
    write.
    """

    run_id: str
    depth: int
    needs: dict[int, int]
    candidates: list[Thought]
    frontier: list[int]
    finished: list[int]
    thresholds: dict[int, float]
    plans: Annotated[list[Plan], operator.add]


class Limited(Protocol):
    """Settings of any graph, as far as a run's end depends on them."""

    @property
    def deadline(self) -> float | None: ...


SearchRuntime = Runtime[SearchConfig]


def settings(runtime: SearchRuntime) -> SearchConfig:
    """The run's settings; the defaults where the caller gave no context."""
    # a graph's context is None at run time when its caller passes none, whatever its type says
    return runtime.context or SearchConfig()


def cut_short(state: RunState, error: PromptTooLong | RemoteError) -> dict[str, Any]:
    """The update where a path has outgrown a model's context, or a model elsewhere is lost: the
    search ends with what it has.

    Where that is nothing, as with a question that does not fit: raises `error`.
    """
    if not state["thoughts"]:
        raise error
    return {"stop": "limit" if isinstance(error, PromptTooLong) else "lost"}


@contextmanager
def node_scope(state: RunState, config: Limited, *, answering: bool = False) -> Iterator[Scope]:
    """Model calls inside are cancelled with the run, end at its deadline, and are metered."""
    outer = current_scope() or Scope()
    deadline = outer.deadline
    if config.deadline is not None:
        seconds = config.deadline * (1.0 if answering else _SEARCH_SHARE)
        own = time.monotonic() + state["started_at"] + seconds - time.time()
        deadline = own if deadline is None else min(own, deadline)
    with run_scope(Scope(outer.cancel, deadline, Meter())) as scope:
        yield scope
    for model, usage in scope.meter.totals().items():
        outer.meter.add(model, usage)


def entries_of(scope: Scope, role: Role) -> list[LedgerEntry]:
    """Ledger entries for what was metered in a node."""
    return [LedgerEntry(model, role, usage) for model, usage in scope.meter.totals().items()]


def is_spent(state: SearchState, config: SearchConfig) -> bool:
    """Whether the run has sampled all the tokens that it may."""
    num_tokens = sum(entry.usage.generated_tokens for entry in state["ledger"])
    return num_tokens >= config.max_tokens


def next_id(state: SearchState) -> int:
    """The first thought id that is not in use."""
    used = [thought.id for thought in [*state["thoughts"], *state["candidates"]]]
    return max(used, default=ROOT) + 1


def parent_path(state: SearchState, parent: int) -> list[Thought]:
    """The path that a candidate of this parent continues."""
    return path_to(parent, state["thoughts"])


def tell(runtime: Runtime[Any], event: str, **data: object) -> None:
    """Send an event to whoever streams the run in `custom` mode; nobody need listen."""
    runtime.stream_writer({"event": event, **data})
