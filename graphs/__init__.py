"""How steps are joined: one file per published system, each an uncompiled `StateGraph`."""

from forethought.graphs.registry import GRAPHS, Graph, Live, RunConfig, graph_named, graph_of
from forethought.graphs.spec_search import spec_search
from forethought.graphs.speculative_cot import speculative_cot
from forethought.graphs.speculative_thinking import speculative_thinking

__all__ = [
    "GRAPHS",
    "Graph",
    "Live",
    "RunConfig",
    "graph_named",
    "graph_of",
    "spec_search",
    "speculative_cot",
    "speculative_thinking",
]
