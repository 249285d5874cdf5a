"""ChatForethought: draft and target together as one LangChain chat model."""

from __future__ import annotations

import threading
from typing import Any

from pydantic import Field, PrivateAttr

from forethought.chat.model import ReplierChat
from forethought.config import require
from forethought.replies import Replier


class ChatForethought(ReplierChat):
    """A graph's replies: committed thoughts as reasoning, then the answer.

    Args:
        replier: what replies, or a function without arguments that opens it at the first call.
        model: what traces call it.

    Rejected drafts are never part of a reply. Where a LangGraph node calls this, they reach the
    graph's `custom` stream with all other events of the run (docs/events.md).
    """

    replier: Any = Field(exclude=True)
    model: str = "forethought"
    _opened: Any = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def _replier(self, model: str | None) -> Replier:
        with self._lock:
            if self._opened is None:
                is_open = hasattr(self.replier, "reply")
                self._opened = self.replier if is_open else self.replier()
            replier: Replier = self._opened
        require(model in (None, self.model, replier.name), f"this chat model has no {model!r}")
        return replier

    def _label(self) -> str:
        return self.model
