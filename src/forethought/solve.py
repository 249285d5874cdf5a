"""Runs a graph on a question: scope, deadline, events, and the ledger closed at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from forethought.graphs import RunConfig, graph_of
from forethought.graphs.registry import AnyGraph
from forethought.model import Scope, run_scope
from forethought.thoughts import Answer, Thought

Listener = Callable[[dict[str, Any]], None]


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


def solve(
    question: str,
    graph: AnyGraph,
    *,
    config: RunConfig | None = None,
    scope: Scope | None = None,
    listen: Listener | None = None,
) -> Solution:
    """Think about `question` and return the answer with all that led to it.

    Args:
        question: plain text; control tokens spelt out in it stay text.
        graph: e.g. from `spec_search` or `speculative_thinking`.
        config: the run's settings, of the graph's own class; None takes its defaults.
        scope: set its `cancel` event from another thread, or a signal handler, to stop the run
            within one decode step; the answer is then the best path so far.
        listen: receives the run's events (see docs/events.md) while they happen.

    Raises:
        SearchError: the question is empty.
        PromptTooLong: it does not fit the models' contexts.
        EvaluatorError, EngineError: see `forethought.errors`.
    """
    config = config or _defaults(graph)
    started = time.perf_counter()
    state: dict[str, Any] = {}
    with run_scope(scope or Scope()):
        for mode, data in graph.compile().stream(
            {"question": question},
            {"recursion_limit": recursion_limit(config)},
            context=config,
            stream_mode=["custom", "values"],
        ):
            if mode == "values":
                state = cast("dict[str, Any]", data)
            elif listen is not None:
                listen(cast("dict[str, Any]", data))
    answer: Answer = state["answer"]
    ledger = replace(answer.ledger, wall_seconds=time.perf_counter() - started)
    return Solution(
        question=question,
        answer=replace(answer, ledger=ledger),
        thoughts=state["thoughts"],
        thresholds=state.get("thresholds", {}),
        config=config,
        choice=state.get("choice"),
    )


def _defaults(graph: AnyGraph) -> RunConfig:
    assert graph.context_schema is not None
    return cast("RunConfig", graph.context_schema())
