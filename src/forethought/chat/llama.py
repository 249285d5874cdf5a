"""ChatLlama: a local model as a LangChain chat model."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from forethought.chat.model import ReplierChat
from forethought.chat.plain import PlainReplier
from forethought.chat.sharing import EngineLease
from forethought.config import EngineConfig, Reasoning
from forethought.models import resolve
from forethought.replies import Replier


class ChatLlama(ReplierChat):
    """A GGUF model in this process. All chat models of one file and one configuration share one
    engine, whose batches all their calls meet in; it is opened by the first call.

    Args:
        model: a registry name or a path; a call's `model` takes another one.
        quant: which variant of it, see `forethought.models.resolve`.
        engine: placement and sizes.
        reasoning: whether it thinks between tags; "auto" tells by its vocabulary.

    Example:
        ChatLlama(model="qwen2.5-coder-1.5b", temperature=0).invoke("Name a prime.").text
    """

    model: str = "qwen2.5-coder-1.5b"
    quant: str | None = "auto"
    engine: EngineConfig = Field(default_factory=EngineConfig)
    reasoning: Reasoning = "auto"
    _leases: dict[str, EngineLease] = PrivateAttr(default_factory=dict)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def _replier(self, model: str | None) -> Replier:
        wanted = model or self.model
        with self._lock:
            if wanted not in self._leases:
                path = resolve(wanted, quant=self.quant)
                self._leases[wanted] = EngineLease(path, self.engine)
            engine = self._leases[wanted].engine
        return PlainReplier(engine, name=_shown(wanted), reasoning=self.reasoning)

    def _label(self) -> str:
        return _shown(self.model)

    def close(self) -> None:
        """Let go of the engines; the last chat model that does so closes them."""
        with self._lock:
            while self._leases:
                self._leases.popitem()[1].close()


def _shown(model: str) -> str:
    """A path without its folders and ending."""
    return Path(model).stem if model.endswith(".gguf") else model
