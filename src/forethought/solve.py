"""Runs a graph on a question: scope, deadline, events, and the ledger closed at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from forethought.config import SearchConfig
from forethought.graphs.spec_search import SpecSearchGraph
from forethought.model import Scope, run_scope
from forethought.nodes.state import SearchState
from forethought.thoughts import Answer, Thought

Listener = Callable[[dict[str, Any]], None]

# draft, evaluate, accept, revise, evaluate, accept, select; LangGraph's limit is no limit of ours
_STEPS_PER_DEPTH, _STEPS_AROUND = 7, 10


def recursion_limit(config: SearchConfig) -> int:
    """Steps of the graph that no run exceeds: MCTS goes down once per path."""
    num_walks = config.num_paths if config.search == "mcts" else 1
    return _STEPS_PER_DEPTH * config.max_depth * num_walks + _STEPS_AROUND


@dataclass(frozen=True, slots=True)
class Solution:
    """A finished run: its answer, every thought of the tree, and beta by depth."""

    question: str
    answer: Answer
    thoughts: list[Thought]
    thresholds: dict[int, float]
    config: SearchConfig


def solve(
    question: str,
    graph: SpecSearchGraph,
    *,
    config: SearchConfig | None = None,
    scope: Scope | None = None,
    listen: Listener | None = None,
) -> Solution:
    """Think about `question` and return the answer with all that led to it.

    Args:
        question: plain text; control tokens spelt out in it stay text.
        graph: e.g. from `spec_search`.
        config: the run's settings.
        scope: set its `cancel` event from another thread, or a signal handler, to stop the run
            within one decode step; the answer is then the best path so far.
        listen: receives the run's events (see docs/events.md) while they happen.

    Raises:
        SearchError: the question is empty.
        PromptTooLong: it does not fit the models' contexts.
        EvaluatorError, EngineError: see `forethought.errors`.
    """
    config = config or SearchConfig()
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
    final = cast("SearchState", state)
    answer = final["answer"]
    assert answer is not None
    ledger = replace(answer.ledger, wall_seconds=time.perf_counter() - started)
    return Solution(
        question=question,
        answer=replace(answer, ledger=ledger),
        thoughts=final["thoughts"],
        thresholds=final["thresholds"],
        config=config,
    )
