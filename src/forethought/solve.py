"""Runs a graph on a question: scope, deadline, events, where it is kept, and the ledger closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

from forethought.config import require
from forethought.graphs import RunConfig, graph_of
from forethought.graphs.registry import AnyCompiled, AnyGraph
from forethought.model import Scope, run_scope
from forethought.nodes import EVENT_SCHEMA
from forethought.thoughts import Answer, Thought

Item = TypeVar("Item")
Listener = Callable[[dict[str, Any]], None]
Saver = BaseCheckpointSaver[Any]


def recursion_limit(config: RunConfig) -> int:
    """Steps of the graph that no run exceeds; LangGraph's own limit is none of ours."""
    return graph_of(config).max_steps(config)


@dataclass(frozen=True, slots=True)
class Solution:
    """A finished run: its answer, every thought of the tree, beta by depth, where there is one, and
    where one of several chains was to be picked the number that was: the next one says that all
    are wrong."""

    question: str
    answer: Answer
    thoughts: list[Thought]
    thresholds: dict[int, float]
    config: RunConfig
    choice: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A run that outlives its process: its state is written by `saver` after every step of the
    graph, under the name `thread_id`."""

    saver: Saver
    thread_id: str

    def __post_init__(self) -> None:
        require(bool(self.thread_id), "a run that is kept needs a name (thread_id)")

    @property
    def place(self) -> RunnableConfig:
        """Where LangGraph finds it."""
        return {"configurable": {"thread_id": self.thread_id}}

    def found(self, compiled: AnyCompiled) -> StateSnapshot | None:
        """Where the run has got to, None where it was not begun. One that was cancelled goes on
        behind the last step that was whole."""
        saved = compiled.get_state(self.place)
        if "settings" not in saved.values:
            return None
        answer: Answer | None = saved.values["answer"]
        if answer is None or answer.finish_reason != "cancelled":
            return saved
        past = compiled.get_state_history(self.place)
        return next(one for one in past if not (one.values["stop"] or one.values["answer"]))


def solve(  # noqa: PLR0913 - what a run is made of, all but two by name and with a default
    question: str | None,
    graph: AnyGraph,
    *,
    config: RunConfig | None = None,
    scope: Scope | None = None,
    listen: Listener | None = None,
    checkpointer: Saver | None = None,
    thread_id: str = "",
) -> Solution:
    """Think about `question` and return the answer with all that led to it.

    Args:
        question: plain text; control tokens spelt out in it stay text. None goes on with a run that
            is kept.
        graph: e.g. from `spec_search` or `speculative_thinking`.
        config: the run's settings, of the graph's own class; None takes its defaults, or those that
            a kept run was begun with.
        scope: set its `cancel` event from another thread, or a signal handler, to stop the run
            within one decode step; the answer is then the best path so far.
        listen: receives the run's events (see docs/events.md) while they happen.
        checkpointer: keeps the run under the name `thread_id`, so that the same call goes on with
            it after its process has died or was cancelled, and returns the answer of one that has
            ended (see docs/durable.md).

    Raises:
        ConfigError: a run of that name has another question or other settings, or there is none to
            go on with.
        SearchError: the question is empty.
        PromptTooLong: it does not fit the models' contexts.
        EvaluatorError, EngineError: see `forethought.errors`.
    """
    kept = Kept(checkpointer, thread_id) if checkpointer else None
    events = run(question, graph, config=config, scope=scope, kept=kept)
    with closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return cast("Solution", end.value)
            if listen is not None:
                listen(event)


def run(
    question: str | None,
    graph: AnyGraph,
    *,
    config: RunConfig | None = None,
    scope: Scope | None = None,
    kept: Kept | None = None,
) -> Generator[dict[str, Any], None, Solution]:
    """`solve` as a generator of the run's events, whose return value is the solution.

    Closing it cancels the run's scope, and waits until the model calls in work have ended.
    """
    started = time.perf_counter()
    compiled = graph.compile(checkpointer=kept.saver if kept else None)
    saved = kept.found(compiled) if kept else None
    state: dict[str, Any] = saved.values if saved else {}
    config = _settings(graph, config, state)
    _check_question(question, state)
    before = state.get("seconds", 0.0)
    if state:
        told = {"thoughts": state["thoughts"], "offset": state["committed"]}
        yield {"event": "resumed", "schema": EVENT_SCHEMA, **told}
    if state.get("answer") is None:
        # from a checkpoint that is named, what the step behind it had begun is begun anew
        place = saved.config if saved else kept.place if kept else RunnableConfig()
        steps: Iterator[Any] = compiled.stream(
            None if saved else {"question": question},
            {**place, "recursion_limit": recursion_limit(config)},
            context=config,
            stream_mode=["custom", "values"],
            # a step that is begun must find the one before on the disk
            durability="sync" if kept else None,
        )
        with closing(within(scope or Scope(), steps)) as parts:
            for mode, data in parts:
                if mode == "custom":
                    yield data
                else:
                    state = data
    answer: Answer = state["answer"]
    seconds = before + time.perf_counter() - started
    return Solution(
        question=state["question"],
        answer=replace(answer, ledger=replace(answer.ledger, wall_seconds=seconds)),
        thoughts=state["thoughts"],
        thresholds=state.get("thresholds", {}),
        config=config,
        choice=state.get("choice"),
    )


def within(scope: Scope, items: Iterator[Item]) -> Generator[Item, None, None]:
    """`items`, worked out in `scope`, which whoever takes them is not in. Closing cancels it."""
    context = copy_context()

    def scoped() -> Generator[Item, None, None]:
        with run_scope(scope):
            yield from items

    inside = scoped()
    try:
        while True:
            try:
                item = context.run(next, inside)
            except StopIteration:
                return
            yield item
    except GeneratorExit:
        scope.cancel.set()
        raise
    finally:
        context.run(inside.close)


def _settings(graph: AnyGraph, config: RunConfig | None, state: dict[str, Any]) -> RunConfig:
    """The run's settings: as given, as it was begun with, or the graph's defaults."""
    kind: Any = graph.context_schema
    if not state:
        return config or cast("RunConfig", kind())
    begun = dict(state["settings"])
    name = begun.pop("class")
    require(name == kind.__name__, f"the run was begun with {name}, not {kind.__name__}")
    known = cast("RunConfig", kind(**begun))
    require(
        config is None or config == known,
        f"the run was begun with {begun or 'the defaults'}: leave the settings as they are, or "
        "give the new run another name",
    )
    return known


def _check_question(question: str | None, state: dict[str, Any]) -> None:
    require(bool(state) or question is not None, "there is no such run: give its question")
    require(
        not state or question in (None, state["question"]),
        "the run was begun with another question: give the new run another name",
    )
