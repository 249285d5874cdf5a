"""The graph's state: plain data that any checkpointer can write, and how a node enters its run.

Live objects (models, evaluators, stores) are fields of the nodes; settings come in the run's
context, a search's as a `SearchConfig`. Neither is ever in the state.
"""

from __future__ import annotations

import operator
import time
from collections import ChainMap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import chain
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar

from langgraph.channels import DeltaChannel
from langgraph.runtime import Runtime
from langgraph.types import Overwrite
from typing_extensions import TypedDict

from forethought.config import SearchConfig
from forethought.errors import PromptTooLong, RemoteError, SearchError
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
    with_verdicts,
)

Item = TypeVar("Item")

EVENT_SCHEMA: Final = 1
# of the time allowed, this share is the search's; the rest is left to write the answer
_SEARCH_SHARE = 0.85
# a list's whole value is written down this seldom: once per run of any size that was met so far
_SNAPSHOT_UPDATES = 5000


def extended(items: list[Item], writes: Sequence[list[Item]]) -> list[Item]:
    """The reducer of lists that only grow: checkpoints hold what is new in each, and no more."""
    return [*items, *chain.from_iterable(writes)]


def updated(values: dict[int, float], writes: Sequence[dict[int, float]]) -> dict[int, float]:
    """The reducer of values by depth: what is written last stands."""
    return dict(ChainMap(*reversed(writes), values))


class SearchInput(TypedDict):
    """What a run starts from."""

    question: str


class RunState(TypedDict):
    """What every graph's state has. `settings` are those of the run that are no defaults; `seconds`
    were spent in its nodes. `thoughts` is the tree, each thought written once; of the answer's text
    the first `committed` characters are settled (see `nodes.commits`). `stop` says why the run must
    end, if it must."""

    question: str
    settings: dict[str, Any]
    seconds: Annotated[float, operator.add]
    thoughts: Annotated[list[Thought], DeltaChannel(extended, snapshot_frequency=_SNAPSHOT_UPDATES)]
    ledger: Annotated[list[LedgerEntry], merge_entries]
    committed: int
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
    candidates: Annotated[
        list[Thought], DeltaChannel(with_verdicts, snapshot_frequency=_SNAPSHOT_UPDATES)
    ]
    frontier: list[int]
    finished: list[int]
    thresholds: Annotated[
        dict[int, float], DeltaChannel(updated, snapshot_frequency=_SNAPSHOT_UPDATES)
    ]
    plans: Annotated[list[Plan], DeltaChannel(extended, snapshot_frequency=_SNAPSHOT_UPDATES)]


class Limited(Protocol):
    """Settings of any graph, as far as a run's end depends on them."""

    @property
    def deadline(self) -> float | None: ...


SearchRuntime = Runtime[SearchConfig]


def settings(runtime: SearchRuntime) -> SearchConfig:
    """The run's settings; the defaults where the caller gave no context."""
    # a graph's context is None at run time when its caller passes none, whatever its type says
    return runtime.context or SearchConfig()


def begun(state: SearchInput, config: Any) -> dict[str, Any]:
    """The update that begins a run of any graph, whatever an earlier run has left in its thread.

    Raises:
        SearchError: the question is empty.
    """
    if not state["question"].strip():
        raise SearchError("the question is empty: give some text to think about")
    return {
        "settings": changed_settings(config),
        "seconds": Overwrite(0.0),
        "thoughts": Overwrite([]),
        "ledger": Overwrite([]),
        "committed": 0,
        "stop": None,
        "answer": None,
    }


def changed_settings(config: Any) -> dict[str, Any]:
    """The settings of a run that are no defaults, by name, and the name of their class."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    defaults = {field.name: field.default for field in fields(config)}
    changed = {name: value for name, value in values.items() if value != defaults[name]}
    return {"class": type(config).__name__, **changed}


def cut_short(
    state: RunState, runtime: Runtime[Any], error: PromptTooLong | RemoteError
) -> dict[str, Any]:
    """The update where a path has outgrown a model's context, or a model elsewhere is lost: the
    search ends with what it has.

    Where that is nothing, as with a question that does not fit: raises `error`.
    """
    kept = state["thoughts"]
    if isinstance(error, RemoteError):
        in_work: list[Thought] = state.get("candidates", [])  # type: ignore[assignment]
        return {"stop": lost([*kept, *in_work], runtime, error)}
    if not kept:
        raise error
    return {"stop": "limit"}


def lost(kept: list[Thought], runtime: Runtime[Any], error: RemoteError) -> Literal["lost"]:
    """Tell that a model elsewhere is lost, why the run ends; raises `error` where nothing was
    `kept`."""
    if not kept:
        raise error
    tell(runtime, "lost", message=str(error))
    return "lost"


@contextmanager
def node_scope(state: RunState, config: Limited, *, answering: bool = False) -> Iterator[Scope]:
    """Model calls inside are cancelled with the run, end at its deadline, and are metered.

    The deadline counts time in nodes alone: none passes while a run waits for a person, or for the
    process that goes on with it.
    """
    outer = current_scope() or Scope()
    deadline = outer.deadline
    if config.deadline is not None:
        seconds = config.deadline * (1.0 if answering else _SEARCH_SHARE)
        own = time.monotonic() + seconds - state["seconds"]
        deadline = own if deadline is None else min(own, deadline)
    with run_scope(Scope(outer.cancel, deadline, Meter(), outer.outer)) as scope:
        yield scope
    for model, usage in scope.meter.totals().items():
        outer.meter.add(model, usage)


def cost(scope: Scope, role: Role) -> dict[str, Any]:
    """The update for what was metered in a node, and for the time that it took so far."""
    return {"ledger": entries_of(scope, role), "seconds": scope.meter.age()}


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
    runtime.stream_writer({"event": event, "schema": EVENT_SCHEMA, **data})
