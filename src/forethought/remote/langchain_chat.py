"""Any LangChain chat model as a target. It is asked in words to go on, step by step."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NoReturn

from forethought.config import require_at_least
from forethought.errors import ConfigError, RemoteError
from forethought.model import Usage
from forethought.remote import pieces
from forethought.remote.backend import Draw, NextToken, ReadToken
from forethought.remote.background import together
from forethought.remote.pieces import Conversation

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class LangChainChat:
    """Implements `forethought.remote.Backend`. Temperature, seed, retries and timeouts are settings
    of `model`; answers are streamed, and left off where a stop string ends them.

    Args:
        model: e.g. `ChatOpenAI(...)`; one that thinks before it answers is heard from its answer
            on.
        context_size: the most tokens of a conversation and its answer.
        concurrency: the most calls at a time.
    """

    def __init__(
        self, model: BaseChatModel, *, context_size: int = 32_768, concurrency: int = 8
    ) -> None:
        require_at_least("context_size", context_size, 1)
        require_at_least("concurrency", concurrency, 1)
        self._model = model
        self._context_size = context_size
        self._slots = asyncio.Semaphore(concurrency)

    @property
    def name(self) -> str:
        """The chat model's name."""
        known = (getattr(self._model, key, None) for key in ("model_name", "model"))
        named = (name for name in known if isinstance(name, str) and name)
        return next(named, self._model.get_name())

    async def context_size(self) -> int:
        """As it was given."""
        return self._context_size

    async def draw(self, talk: Conversation, draws: list[Draw]) -> Usage | None:
        """Write answers, in one call each."""
        costs = await together(lambda draw: self._drawn(talk, draw), draws)
        told = [cost for cost in costs if cost is not None]
        return sum(told, Usage()) if len(told) == len(costs) else None

    async def alternatives(self, talk: Conversation) -> tuple[list[NextToken], Usage | None]:
        """Refused: a chat model cannot be made to go on within an answer. Raises ConfigError."""
        self._refuse()

    async def read(self, talk: Conversation) -> tuple[list[ReadToken], Usage | None]:
        """Refused. Raises ConfigError."""
        self._refuse()

    async def close(self) -> None:
        """The chat model's connections are its own."""

    async def _drawn(self, talk: Conversation, draw: Draw) -> Usage | None:
        draw.begin_anew()
        told: Usage | None = None
        try:
            async with self._slots, aclosing(self._stream(talk)) as chunks:
                async for chunk in chunks:
                    told = _cost(chunk.usage_metadata) or told
                    text = str(chunk.text)
                    draw.add(text, [], len(pieces.encode(text)))
                    if draw.reason is None and draw.num_tokens >= draw.params.max_tokens:
                        draw.end("length")
                    if draw.reason is not None:
                        break
        except Exception as error:
            raise RemoteError(f"{self.name} failed: {error!r}") from error
        draw.end("eos")
        draw.become_step(talk.prefix)
        return told

    def _stream(self, talk: Conversation) -> Any:
        return self._model.astream(talk.asked())  # type: ignore[arg-type] # dicts are messages

    def _refuse(self) -> NoReturn:
        raise ConfigError(
            f"{self.name} is a chat model, of which no probabilities are read: score with another "
            "model (judge:draft), or with ChatJudge"
        )


def _cost(counts: Any) -> Usage | None:
    if not counts:
        return None
    cached = (counts.get("input_token_details") or {}).get("cache_read") or 0
    return Usage(counts["input_tokens"] - cached, cached, counts["output_tokens"])
