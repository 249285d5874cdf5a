"""What a model elsewhere must be able to do to be a target, and an answer while it is written."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Protocol

from forethought.config import SamplingParams
from forethought.engine.scripted import cut_reply
from forethought.model import Completion, FinishReason, Usage
from forethought.remote import pieces
from forethought.remote.pieces import Conversation


@dataclass(slots=True)
class Draw:
    """One answer as it comes in, cut where `params` says."""

    params: SamplingParams
    index: int
    text: str = ""
    num_tokens: int = 0
    logprobs: list[float] = field(default_factory=list)
    reason: FinishReason | None = None

    def add(self, text: str, logprobs: list[float], num_tokens: int = 1) -> None:
        """Append what was written next; nothing where the answer has ended."""
        if self.reason is not None or not text:
            return
        self.num_tokens += num_tokens
        self.logprobs += logprobs
        self.text += text
        kept, reason = cut_reply(self.text, replace(self.params, max_tokens=sys.maxsize))
        if reason == "stop":
            self.text, self.reason = kept, "stop"

    def end(self, reason: FinishReason) -> None:
        """The writer has ended, unless a stop string had before."""
        self.reason = self.reason or reason

    def become_step(self, prefix: str) -> None:
        """Take an answer that was asked for in words for the next step behind `prefix`: it repeats,
        maybe, the line that it was to go on with, and its end is the step's, not the solution's."""
        line = prefix.rpartition("\n")[2].lstrip()
        if line and self.text.lstrip().startswith(line):
            self.text = self.text.lstrip().removeprefix(line)
        if self.reason == "eos" and self.params.stop and self.text.strip():
            self.text += self.params.stop[0] if self.params.keep_stop else ""
            self.reason = "stop"

    def begin_anew(self) -> None:
        """Forget what came in."""
        self.text, self.num_tokens, self.logprobs, self.reason = "", 0, [], None

    def completion(self, reason: FinishReason, usage: Usage) -> Completion:
        """What it is now; `reason` where it has not ended."""
        text = self.text.encode("utf-8", "replace").decode()
        logprob = fmean(self.logprobs) if self.logprobs else None
        return Completion(text, pieces.encode(text), self.reason or reason, usage, logprob)


@dataclass(frozen=True, slots=True)
class NextToken:
    """A token that might come next, and its natural-log probability."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class ReadToken:
    """A token of a prompt, and its natural-log probability; None where it is the first."""

    text: str
    logprob: float | None


class Backend(Protocol):
    """Reaches one model. All methods run in one event loop, many at a time.

    Each returns what the call cost as far as that was told, and None where it was not. All raise
    RemoteError where the model cannot be reached or refuses, PromptTooLong where the conversation
    does not fit, and the last two ConfigError where such a model does not tell.
    """

    @property
    def name(self) -> str: ...

    async def context_size(self) -> int:
        """The most tokens of a conversation and its answer."""
        ...

    async def draw(self, talk: Conversation, draws: list[Draw]) -> Usage | None:
        """Write as many answers to one conversation, until each has a reason to have ended."""
        ...

    async def alternatives(self, talk: Conversation) -> tuple[list[NextToken], Usage | None]:
        """The likeliest next tokens."""
        ...

    async def read(self, talk: Conversation) -> tuple[list[ReadToken], Usage | None]:
        """All tokens of the prompt, in order; they end with the conversation's prefix."""
        ...

    async def close(self) -> None: ...
