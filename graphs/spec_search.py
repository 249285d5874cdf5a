"""SpecSearch: tree search whose thoughts a small model drafts and a large one corrects.

    start ─┬─> draft ──> evaluate ──> accept ─┬─> select ─┬─> answer
           │                ^                 │           │
           └─> revise ──────┘ <───────────────┘           └─> draft | revise   (next depth)

The conditional edges after `start`, `accept` and `select` decide which model writes; a controller
may have the draft gauged after `start`. Beam search or MCTS, the acceptance policy and all else
comes with a run's `SearchConfig`.
"""

from __future__ import annotations

from langgraph.graph import END, START, StateGraph

from forethought.config import SearchConfig
from forethought.evaluators import Evaluator
from forethought.model import Model
from forethought.nodes import (
    Accept,
    Cancellable,
    Draft,
    Evaluate,
    Gauge,
    Revise,
    Rules,
    SearchInput,
    SearchState,
    Select,
    Start,
    WriteAnswer,
    after_accept,
    after_gauge,
    after_select,
    after_start,
)
from forethought.stores import ThresholdKey, ThresholdStore

SpecSearchGraph = StateGraph[SearchState, SearchConfig, SearchInput, SearchState]


def spec_search(
    *,
    draft: Model,
    target: Model,
    evaluator: Evaluator,
    thresholds: ThresholdStore | None = None,
    rules: Rules | None = None,
) -> SpecSearchGraph:
    """The graph, not compiled: choose your own checkpointer and store.

    Args:
        draft: writes candidate thoughts.
        target: writes the root's thoughts, replaces rejected drafts, closes unfinished answers.
        evaluator: scores thoughts in [0, 1].
        thresholds: keeps thresholds across runs; without it every run starts anew.
        rules: an acceptance policy of your own; what earlier runs have learnt about costs, to
            share it between graphs.

    Example:
        graph = spec_search(draft=small, target=large, evaluator=Judge(large, MATH)).compile()
        state = graph.invoke({"question": "..."}, {"recursion_limit": 1000}, context=SearchConfig())
        print(state["answer"].text)
    """
    # the run's own task comes with its settings
    key = ThresholdKey(draft=draft.name, target=target.name, evaluator=evaluator.name, task="math")
    rules = rules or Rules()
    controller = rules.controller
    builder = StateGraph(SearchState, SearchConfig, input_schema=SearchInput)
    builder.add_node("start", Cancellable(Start(thresholds, key, rules)), input_schema=SearchInput)
    builder.add_node("gauge", Cancellable(Gauge(draft, rules)))
    builder.add_node("draft", Cancellable(Draft(draft, controller)))
    builder.add_node("evaluate", Cancellable(Evaluate(evaluator, controller)))
    builder.add_node("accept", Cancellable(Accept(rules)))
    builder.add_node("revise", Cancellable(Revise(target, controller)))
    builder.add_node("select", Cancellable(Select(rules)))
    builder.add_node("answer", Cancellable(WriteAnswer(target, thresholds, key)))
    builder.add_edge(START, "start")
    builder.add_conditional_edges("start", after_start)
    builder.add_conditional_edges("gauge", after_gauge)
    builder.add_edge("draft", "evaluate")
    builder.add_edge("revise", "evaluate")
    builder.add_edge("evaluate", "accept")
    builder.add_conditional_edges("accept", after_accept)
    builder.add_conditional_edges("select", after_select)
    builder.add_edge("answer", END)
    return builder
