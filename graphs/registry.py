"""Graphs by name: what each is run with, and how it is built. A further graph is one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from forethought.config import SearchConfig, require
from forethought.config_cot import CotConfig
from forethought.config_thinking import ThinkingConfig
from forethought.evaluators import Evaluator
from forethought.graphs.spec_search import SpecSearchGraph, spec_search
from forethought.graphs.speculative_cot import SpeculativeCotGraph, speculative_cot
from forethought.graphs.speculative_thinking import SpeculativeThinkingGraph, speculative_thinking
from forethought.model import Model, Reader
from forethought.nodes import Rules
from forethought.stores import ThresholdStore

AnyGraph = StateGraph[Any, Any, Any, Any]
AnyCompiled = CompiledStateGraph[Any, Any, Any, Any]
RunConfig = SearchConfig | ThinkingConfig | CotConfig


@dataclass(frozen=True, slots=True)
class Live:
    """What graphs are made of; `evaluator` only for a graph that asks one, `selector` for one that
    picks chains with another model than the target, and `rules` for a search: what earlier runs
    have learnt about costs and the draft, where several graphs of a pair are to share it."""

    draft: Model
    target: Model
    evaluator: Evaluator | None = None
    thresholds: ThresholdStore | None = None
    selector: Reader | None = None
    rules: Rules | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """`settings` is the class of a run's settings, `max_steps` counts the graph's steps that no run
    with them exceeds. `in_conversation` are the settings in which replies that people read as they
    come differ from single questions."""

    name: str
    settings: type[RunConfig]
    build: Callable[[Live], AnyGraph]
    max_steps: Callable[[Any], int]
    asks_evaluator: bool = False
    in_conversation: Mapping[str, Any] = field(default_factory=dict)


def _search(live: Live) -> SpecSearchGraph:
    assert live.evaluator is not None
    return spec_search(
        draft=live.draft,
        target=live.target,
        evaluator=live.evaluator,
        thresholds=live.thresholds,
        rules=live.rules,
    )


def _thinking(live: Live) -> SpeculativeThinkingGraph:
    return speculative_thinking(draft=live.draft, target=live.target)


def _cot(live: Live) -> SpeculativeCotGraph:
    return speculative_cot(draft=live.draft, target=live.target, selector=live.selector)


def _search_steps(config: SearchConfig) -> int:
    # draft, evaluate, accept, revise, evaluate, accept, select; MCTS goes down once per path
    num_walks = config.num_paths if config.search == "mcts" else 1
    return 7 * config.max_depth * num_walks + 10


def _thinking_steps(config: ThinkingConfig) -> int:
    # draft, probe, take_over, verify: together at least one token
    return 4 * config.max_tokens + 10


_ALL = (
    Graph(
        "spec-search",
        SearchConfig,
        _search,
        _search_steps,
        asks_evaluator=True,
        # else a beam's first words are certain when most of the run is over
        in_conversation={"early_commits": 1, "early_width": 1},
    ),
    Graph("speculative-thinking", ThinkingConfig, _thinking, _thinking_steps),
    # start, draft, choose, think_again, answer
    Graph("speculative-cot", CotConfig, _cot, lambda _: 10),
)
GRAPHS: Mapping[str, Graph] = MappingProxyType({graph.name: graph for graph in _ALL})


def graph_named(name: str) -> Graph:
    """The graph called `name`.

    Raises:
        ConfigError: there is none.
    """
    require(name in GRAPHS, f"graph must be one of {', '.join(GRAPHS)}, not {name!r}")
    return GRAPHS[name]


def graph_of(config: RunConfig) -> Graph:
    """The graph that runs with such settings."""
    return next(graph for graph in _ALL if graph.settings is type(config))
