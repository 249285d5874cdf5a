"""The graphs as LangGraph's server, its Studio and its platform take them: see `langgraph.json`.

Each is compiled without a checkpointer, which the server brings. Models are settings of the run,
and are opened at a run's first use of them, off the event loop, and kept for later runs; importing
this module loads nothing. What a run's settings name is built and run inside one node, whose
events are the graph's own, in `custom` mode.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from forethought.config import EngineConfig, SearchConfig
from forethought.config_cot import CotConfig
from forethought.config_thinking import ThinkingConfig
from forethought.engine import Engine
from forethought.evaluators.registry import (
    DEFAULT_EVALUATOR,
    Parts,
    build_evaluator,
    roles_with_states,
)
from forethought.graphs import Live, RunConfig, graph_of
from forethought.model import Model
from forethought.models import resolve
from forethought.nodes import Rules
from forethought.prompts import task_named
from forethought.remote import OpenAIServer, RemoteModel
from forethought.remote.settings import is_address
from forethought.solve import solve

_DRAFT: Final = "qwen2.5-coder-0.5b"
_TARGET: Final = "qwen2.5-coder-1.5b"


class Question(TypedDict):
    """What a run starts from."""

    question: str


class Found(TypedDict):
    """What it ends with: the final `answer`, the whole `text` that led to it, why it ended, and of
    each thought the text, who wrote it, and its score."""

    answer: str
    text: str
    finish_reason: str
    thoughts: list[dict[str, Any]]


class PlatformState(Question, Found):
    """Both."""


@dataclass(frozen=True, slots=True)
class SearchContext(SearchConfig):
    """`SearchConfig`, with the models (a name, a file, or https://host/v1#model) and the
    evaluator."""

    draft: str = _DRAFT
    target: str = _TARGET
    evaluator: str = DEFAULT_EVALUATOR


@dataclass(frozen=True, slots=True)
class ThinkingContext(ThinkingConfig):
    """`ThinkingConfig`, with the models."""

    draft: str = _DRAFT
    target: str = _TARGET


@dataclass(frozen=True, slots=True)
class CotContext(CotConfig):
    """`CotConfig`, with the models."""

    draft: str = _DRAFT
    target: str = _TARGET


Context = SearchContext | ThinkingContext | CotContext


class Shelf:
    """Models by name, opened once for all runs of a process and shared by its threads, and what the
    runs learn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[tuple[str, bool], Model] = {}
        self._rules: dict[tuple[str, ...], Rules] = {}

    def model(self, name: str, *, hidden_states: bool = False) -> Model:
        """The model that `name` means."""
        with self._lock:
            key = (name, hidden_states)
            if key not in self._models:
                self._models[key] = _opened(name, hidden_states=hidden_states)
            return self._models[key]

    def rules(self, *names: str) -> Rules:
        """What the runs with these models and this evaluator have learnt about costs."""
        with self._lock:
            return self._rules.setdefault(names, Rules())


SHELF: Final = Shelf()


@dataclass(frozen=True, slots=True)
class Think:
    """Runs the graph that a context's settings are for."""

    settings: type[RunConfig]
    context: type[Context]
    shelf: Shelf

    def __call__(self, state: Question, runtime: Runtime[Any]) -> dict[str, Any]:
        context = runtime.context or self.context()
        names = [one.name for one in fields(self.settings)]
        config = self.settings(**{name: getattr(context, name) for name in names})
        kind = graph_of(config)
        spec = context.evaluator if isinstance(context, SearchContext) else None
        with_states = roles_with_states(spec) if spec else set()
        draft = self.shelf.model(context.draft, hidden_states="draft" in with_states)
        target = self.shelf.model(context.target, hidden_states="target" in with_states)
        parts = Parts(draft, target, task_named(config.task))
        evaluator = build_evaluator(spec, parts) if spec else None
        rules = self.shelf.rules(context.draft, context.target, spec or "")
        graph = kind.build(Live(draft, target, evaluator, rules=rules))
        solution = solve(state["question"], graph, config=config, listen=runtime.stream_writer)
        answer = solution.answer
        return {
            "answer": answer.answer,
            "text": answer.text,
            "finish_reason": answer.finish_reason,
            "thoughts": [asdict(thought) for thought in solution.thoughts],
        }


def graph_for(settings: type[RunConfig], context: type[Context]) -> Any:
    """The compiled graph that runs with such settings, taken from such a context."""
    builder = StateGraph(PlatformState, context, input_schema=Question, output_schema=Found)
    builder.add_node("think", Think(settings, context, SHELF), input_schema=Question)
    builder.add_edge(START, "think")
    builder.add_edge("think", END)
    return builder.compile()


def _opened(name: str, *, hidden_states: bool) -> Model:
    if is_address(name):
        return RemoteModel(OpenAIServer.at(name))
    return Engine(resolve(name), config=EngineConfig(hidden_states=hidden_states))


spec_search = graph_for(SearchConfig, SearchContext)
speculative_thinking = graph_for(ThinkingConfig, ThinkingContext)
speculative_cot = graph_for(CotConfig, CotContext)
