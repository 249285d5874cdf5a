"""Draft and target of a chat model, opened together with the graph that they think in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from forethought.chat.plain import PlainReplier
from forethought.chat.sharing import EngineLease
from forethought.config import EngineConfig, require
from forethought.engine import Engine
from forethought.engine.torch_reader import TorchReader
from forethought.evaluators import Cached
from forethought.evaluators.registry import Parts, build_evaluator, roles_with_states
from forethought.graph_replier import GraphReplier
from forethought.graphs import Graph, Live, RunConfig, graph_named
from forethought.model import Model, Reader
from forethought.models import resolve
from forethought.prompts import task_named
from forethought.remote import OpenAIServer, RemoteModel
from forethought.remote.settings import is_address
from forethought.stores import default_store


@dataclass(frozen=True, slots=True)
class Pair:
    """What a graph's replies are made of: models by registry name, path or https://host/v1#model,
    variants and placement of those in this process, and the graph with its settings.

    Raises:
        ConfigError: there is no such graph, task or evaluator, or the graph has no such setting.
    """

    draft: str
    target: str
    quant: str | None
    engine: EngineConfig
    graph: str
    evaluator: str
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        task_named(self.config.task)
        if self._kind.asks_evaluator:
            roles_with_states(self.evaluator)

    @property
    def _kind(self) -> Graph:
        return graph_named(self.graph)

    @property
    def config(self) -> RunConfig:
        """The settings of every run."""
        kind = self._kind
        known = {field.name for field in fields(kind.settings)}
        unknown = ", ".join(sorted(set(self.settings) - known))
        require(not unknown, f"neither the chat model nor the graph {kind.name} has {unknown}")
        return kind.settings(**{**kind.in_conversation, **self.settings})

    def opened(self, name: str, opened: ExitStack) -> GraphReplier:
        """The replier that clients call `name`; all that it needs is closed with `opened`.

        Raises what `resolve`, `Engine` and `build_evaluator` raise.
        """
        kind, config = self._kind, self.config
        spec = self.evaluator if kind.asks_evaluator else None
        with_states = roles_with_states(spec) if spec else set()
        opener = Opener(opened, self.quant, self.engine)
        draft = opener.named(self.draft, hidden_states="draft" in with_states)
        target = opener.named(self.target, hidden_states="target" in with_states)
        parts = Parts(draft, target, task_named(config.task), opener)
        evaluator = Cached(build_evaluator(spec, parts)) if spec else None
        store = opened.enter_context(default_store())
        graph = kind.build(Live(draft, target, evaluator, store))
        return GraphReplier(name, graph, target, config, PlainReplier(target))


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens models, each engine of this process once, and lets go of them with `opened`."""

    opened: ExitStack
    quant: str | None
    config: EngineConfig

    def named(self, name: str, *, hidden_states: bool = False) -> Model:
        """What a name, a path or an address means."""
        if is_address(name):
            return self.opened.enter_context(RemoteModel(OpenAIServer.at(name)))
        return self._engine(resolve(name, quant=self.quant), hidden_states=hidden_states)

    def model(self, file: str) -> Reader:
        """A GGUF file, or the folder of a checkpoint."""
        if Path(file).is_dir():
            return TorchReader(file)
        return self._engine(resolve(file, quant=None), hidden_states=True)

    def adapted(self, base: Reader, adapter: Path) -> Reader:
        """The same weights with a LoRA adapter, on a context of its own."""
        require(isinstance(base, Engine), f"{base.name} is no model that takes an adapter")
        assert isinstance(base, Engine)
        return self.opened.enter_context(base.adapted(adapter, config=self.config))

    def _engine(self, path: Path, *, hidden_states: bool) -> Engine:
        lease = EngineLease(path, replace(self.config, hidden_states=hidden_states))
        self.opened.callback(lambda: lease.close())  # a lease that is forgotten lets go
        return lease.engine
