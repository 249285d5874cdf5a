"""Speculative Chain-of-Thought: a small model drafts whole chains, a large one picks one of them.

    start ──> draft ─┬─> choose ─┬─────────────────> answer
                     │           │                     ^
                     │           └─> think_again ──────┤
                     └─> (no chain: think_again; stopped: answer)

The conditional edge after `choose` is the speculation: the target writes no more than the answer
where it picks a chain, and thinks by itself where it says that all are wrong. Wang et al. 2025,
"Efficient Reasoning for LLMs through Speculative Chain-of-Thought", arXiv:2504.19095.
"""

from __future__ import annotations

from langgraph.graph import END, START, StateGraph

from forethought.config_cot import CotConfig
from forethought.model import Model, Reader
from forethought.nodes import (
    AnswerFromChain,
    Cancellable,
    ChooseChain,
    CotState,
    DraftChains,
    SearchInput,
    Selector,
    StartChains,
    ThinkAgain,
    after_chains,
    after_choice,
)

SpeculativeCotGraph = StateGraph[CotState, CotConfig, SearchInput, CotState]


def speculative_cot(
    *, draft: Model, target: Model, selector: Reader | None = None
) -> SpeculativeCotGraph:
    """The graph, not compiled: choose your own checkpointer and store.

    Args:
        draft: writes the chains.
        target: writes the answer, and thinks again where all chains are wrong.
        selector: picks a chain; default the target. E.g. `target.adapted(...)`, the same weights
            with an adapter that was trained to pick.

    Example:
        graph = speculative_cot(draft=small, target=large).compile()
        state = graph.invoke({"question": "..."}, context=CotConfig(num_chains=3))
        print(state["answer"].text)
    """
    selects = Selector(selector or target)
    builder = StateGraph(CotState, CotConfig, input_schema=SearchInput)
    builder.add_node("start", Cancellable(StartChains(selects)), input_schema=SearchInput)
    builder.add_node("draft", Cancellable(DraftChains(draft)))
    builder.add_node("choose", Cancellable(ChooseChain(selects)))
    builder.add_node("think_again", Cancellable(ThinkAgain(target)))
    builder.add_node("answer", Cancellable(AnswerFromChain(target)))
    builder.add_edge(START, "start")
    builder.add_edge("start", "draft")
    builder.add_conditional_edges("draft", after_chains)
    builder.add_conditional_edges("choose", after_choice)
    builder.add_edge("think_again", "answer")
    builder.add_edge("answer", END)
    return builder
