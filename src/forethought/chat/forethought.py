"""ChatForethought: draft and target together as one LangChain chat model."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any, Final

from pydantic import Field, PrivateAttr, model_validator

from forethought.chat.model import ReplierChat
from forethought.chat.pair import Pair
from forethought.config import EngineConfig, require
from forethought.evaluators.registry import DEFAULT_EVALUATOR
from forethought.replies import Replier

# what chat models of providers take, so that callers may swap them, and models here have no use for
_OF_PROVIDERS: Final = frozenset(("api_key", "max_retries", "streaming"))


class ChatForethought(ReplierChat):
    """A graph's replies: committed thoughts as reasoning, then the answer. Models are opened by the
    first call, and shared as `ChatLlama` shares them.

    Args:
        draft: a registry name, a path, or https://host/v1#model.
        target: the same; it writes calls, JSON and log-probabilities by itself.
        graph: how both work together, a name of `forethought.graphs.GRAPHS`.
        evaluator: scores thoughts, where the graph asks one (`forethought evaluators list`).
        quant: which variant of the models, see `forethought.models.resolve`.
        engine: placement and sizes of models in this process.
        settings: those of the graph's runs, by name. All further arguments are such settings, too.
        replier: what replies in place of all that, or a function that opens it.
        model: what traces call it.

    Rejected drafts are never part of a reply. Where a LangGraph node calls this, they reach the
    graph's `custom` stream with all other events of the run (docs/events.md).

    Raises:
        ConfigError: there is no such graph, evaluator or setting.

    Example:
        ChatForethought(draft="small.gguf", target="large.gguf", beam_width=1).invoke("17 * 23?")
    """

    draft: str = "qwen2.5-coder-0.5b"
    target: str = "qwen2.5-coder-1.5b"
    graph: str = "spec-search"
    evaluator: str = DEFAULT_EVALUATOR
    quant: str | None = "auto"
    engine: EngineConfig = Field(default_factory=EngineConfig)
    settings: dict[str, Any] = Field(default_factory=dict)
    replier: Any = Field(default=None, exclude=True)
    model: str = "forethought"
    _opened: Any = PrivateAttr(default=None)
    _held: ExitStack = PrivateAttr(default_factory=ExitStack)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @model_validator(mode="before")
    @classmethod
    def _gather_settings(cls, values: dict[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in values.items() if name in cls.model_fields}
        known = own.keys() | _OF_PROVIDERS
        further = {name: value for name, value in values.items() if name not in known}
        return own | {"settings": {**own.get("settings", {}), **further}}

    @model_validator(mode="after")
    def _check(self) -> ChatForethought:
        self._pair()
        return self

    def close(self) -> None:
        """Let go of the models; the last chat model that does so closes them."""
        with self._lock:
            self._opened = None
            self._held.close()

    def _pair(self) -> Pair:
        return Pair(
            draft=self.draft,
            target=self.target,
            quant=self.quant,
            engine=self.engine,
            graph=self.graph,
            evaluator=self.evaluator,
            settings=self.settings,
        )

    def _replier(self, model: str | None) -> Replier:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            replier: Replier = self._opened
        require(model in (None, self.model, replier.name), f"this chat model has no {model!r}")
        return replier

    def _open(self) -> Any:
        if self.replier is not None:
            return self.replier if hasattr(self.replier, "reply") else self.replier()
        with ExitStack() as opened:
            replier = self._pair().opened(self.model, opened)
            self._held = opened.pop_all()
            return replier

    def _label(self) -> str:
        return self.model
