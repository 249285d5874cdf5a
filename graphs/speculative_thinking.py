"""Speculative Thinking: draft and target write one chain of thought in turns.

    start ─┬─> draft ─┬─> probe ─┬─> take_over ─┬─> verify ─> draft
           │    ^ └───┘          │              └─> draft
           │    └────────────────┘
           └─> begin ─> draft ─┴─> recheck ─> draft                 any ─> answer

The draft writes paragraphs. Behind each, the conditional edges hand over to the target where the
next sentence affirms or reflects, where verification is called for, and where reflection is
excessive (Yang et al. 2025, arXiv 2504.12329). All settings come with a run's `ThinkingConfig`.
"""

from __future__ import annotations

from langgraph.graph import END, START, StateGraph

from forethought.config_thinking import ThinkingConfig
from forethought.model import Model
from forethought.nodes import (
    Begin,
    Cancellable,
    ChainState,
    Conclude,
    OpenChain,
    Probe,
    Recheck,
    SearchInput,
    TakeOver,
    Verify,
    WriteParagraph,
    after_opening,
    after_paragraph,
    after_probe,
    after_take_over,
    after_target,
)

SpeculativeThinkingGraph = StateGraph[ChainState, ThinkingConfig, SearchInput, ChainState]


def speculative_thinking(*, draft: Model, target: Model) -> SpeculativeThinkingGraph:
    """The graph, not compiled: choose your own checkpointer and store.

    Args:
        draft: writes the chain.
        target: writes where it is better asked, and closes unfinished chains.

    Example:
        graph = speculative_thinking(draft=small, target=large)
        print(solve("...", graph, config=ThinkingConfig(begin=True)).answer.text)
    """
    builder = StateGraph(ChainState, ThinkingConfig, input_schema=SearchInput)
    builder.add_node("start", Cancellable(OpenChain()), input_schema=SearchInput)
    builder.add_node("begin", Cancellable(Begin(target)))
    builder.add_node("draft", Cancellable(WriteParagraph(draft)))
    builder.add_node("probe", Cancellable(Probe(draft)))
    builder.add_node("take_over", Cancellable(TakeOver(target)))
    builder.add_node("verify", Cancellable(Verify(target)))
    builder.add_node("recheck", Cancellable(Recheck(target)))
    builder.add_node("answer", Cancellable(Conclude(target)))
    builder.add_edge(START, "start")
    builder.add_conditional_edges("start", after_opening)
    builder.add_conditional_edges("draft", after_paragraph)
    builder.add_conditional_edges("probe", after_probe)
    builder.add_conditional_edges("take_over", after_take_over)
    for node in ("begin", "verify", "recheck"):
        builder.add_conditional_edges(node, after_target)
    builder.add_edge("answer", END)
    return builder
