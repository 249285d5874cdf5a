"""The seam between reasoning and whatever runs a model.

`Model` is the one protocol that graphs, nodes and evaluators know; what only reads, and never
writes, is a `Reader`. `Scope` carries what belongs to
one run and not to one call: its cancellation, its deadline, and the meter that counts what the run
cost. It travels in a context variable, so that an evaluator's calls are metered and cancelled like
those of the nodes without every signature naming it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, Protocol, TypedDict, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from forethought.config import SamplingParams

FinishReason = Literal["stop", "eos", "length", "cancelled", "deadline"]
StopReason = Literal["cancelled", "deadline"]


class FunctionCall(TypedDict):
    """A call in an assistant's turn; `arguments` is JSON text of an object."""

    name: str
    arguments: str


class Message(TypedDict):
    """One chat turn, as in the OpenAI API. Calls and turns of role "tool" are only for models whose
    template knows them, see `Speaker`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: NotRequired[list[FunctionCall]]


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls cost. `prompt_tokens` were computed, `cached_tokens` came from the KV cache,
    `generated_tokens` were sampled; `seconds` is the calls' share of the engine's busy time."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.generated_tokens + other.generated_tokens,
            self.seconds + other.seconds,
        )


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's text, the bytes it stands for, its natural-log probability before temperature and
    filters, and the likeliest tokens in its place."""

    token: str
    bytes: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """One continuation of one prompt.

    `tokens` are exactly what was sampled and kept, without the end-of-text token; `text` is their
    decoded text (cut before a stop string unless `keep_stop`). `finish_reason`: `stop` (a stop
    string), `eos` (the model ended), `length` (a limit), `cancelled` or `deadline` (the run ended;
    the text is what there was). `logprob` is the mean natural-log probability of what was sampled,
    the end-of-text token included, before temperature and filters; only where it was asked for.
    """

    text: str
    tokens: list[int]
    finish_reason: FinishReason
    usage: Usage
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """What a completion has gained while it is written: `text` of whole characters that is never
    taken back, and the `logprobs` of the tokens that end in it, where they were asked for. The last
    delta, and no other, has the `completion`, whose text is that of all deltas together."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How a model meets one token of a text: natural-log probability `logprob` of that token, and
    of the whole distribution it came from the `entropy` in nats and the `certainty`, the
    Kullback-Leibler divergence from the uniform distribution to it in nats."""

    logprob: float
    entropy: float
    certainty: float


class Reader(Protocol):
    """A language model that is read and does not write: batch in, batch out, same order, by prefill
    only; safe to call from threads.

    `name` identifies the weights; `vocabulary` is a fingerprint: where two models' are equal, token
    ids may pass between them. `context_size` is the most tokens of a prompt. Prompts that share
    a prefix are computed once as far as they do, so to read several positions of a text, ask for
    several of its prefixes in one call.

    All three ways to read raise `RunStopped` where the run was cancelled or ran out of time: there
    is no score to report then.
    """

    @property
    def name(self) -> str: ...
    @property
    def vocabulary(self) -> str: ...
    @property
    def context_size(self) -> int: ...

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`, no start token added; control tokens spelt out in it stay text
        unless `special`, which is for templates and never for what a user wrote."""
        ...

    def start_tokens(self) -> list[int]:
        """The start token, where the model was trained with one."""
        ...

    def chat(self, messages: list[Message]) -> list[int]:
        """Token ids of a conversation under the model's template, assistant turn opened."""
        ...

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        """Probability that each prompt's next token is one of each choice's ids.

        Returns one row per prompt with one number in [0, 1] per choice.
        """
        ...

    def hidden(
        self, prompts: list[list[int]], *, layer: int | None = None
    ) -> list[NDArray[np.float32]]:
        """The state of each prompt's last token, a vector of the model's width: after the final
        norm, or the residual stream behind block `layer` (from 1)."""
        ...

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        """How the model meets the last `counts[i]` tokens of prompt i, in order; a prompt's first
        token is met by nothing, so a count is less than its prompt's length."""
        ...


class Model(Reader, Protocol):
    """A language model that reads and writes. `context_size` is the most tokens of a prompt and its
    continuation."""

    def decode(self, tokens: list[int]) -> str:
        """Text of token ids."""
        ...

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        """One completion per prompt; equal prompts share their prefix and draw separately."""
        ...


@runtime_checkable
class Speaker(Model, Protocol):
    """A model that can be listened to while it writes, and that is told of tools by its own
    template where `knows_tools`: then calls are written between `<tool_call>` tags, as JSON."""

    @property
    def knows_tools(self) -> bool: ...

    def chat(
        self, messages: list[Message], *, tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        """As `Reader.chat`, with tools as in the OpenAI API."""
        ...

    def stream(self, prompt: list[int], params: SamplingParams) -> Generator[Delta]:
        """What `generate` would return for one prompt, as it is written. It belongs to the scope of
        who calls this; closing it frees the sequence within one decode step."""
        ...

    def logprobs(self, prompt: list[int], *, top: int = 0) -> list[TokenLogprob]:
        """How probable the model finds each token of `prompt`, one of at least two, but the first,
        with the `top` likeliest in its place. Raises as `readings`."""
        ...


class RunStopped(Exception):
    """The run's scope was cancelled or its deadline passed while a score was being computed."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason: StopReason = reason


class Meter:
    """Adds up usage by model name; many threads may add."""

    def __init__(self) -> None:
        self._made_at = time.monotonic()
        self._lock = threading.Lock()
        self._totals: dict[str, Usage] = {}

    def add(self, model: str, usage: Usage) -> None:
        """Count one call."""
        with self._lock:
            self._totals[model] = self._totals.get(model, Usage()) + usage

    def totals(self) -> dict[str, Usage]:
        """Usage so far by model name."""
        with self._lock:
            return dict(self._totals)

    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._made_at

    def seconds(self) -> float:
        """Engine time so far, over all models."""
        return sum(usage.seconds for usage in self.totals().values())


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run shares with its model calls: `cancel` ends them, so does `deadline` (on
    `time.monotonic()`'s clock), and `meter` counts what they cost. A scope ends with its `outer`
    one."""

    cancel: threading.Event = field(default_factory=threading.Event)
    deadline: float | None = None
    meter: Meter = field(default_factory=Meter)
    outer: Scope | None = None

    def stop_reason(self) -> StopReason | None:
        """Why calls must end now, or None."""
        if self.cancel.is_set():
            return "cancelled"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "deadline"
        return self.outer.stop_reason() if self.outer else None

    def within(self, seconds: float | None = None, *, meter: Meter | None = None) -> Scope:
        """A scope inside this one that may take `seconds`, counted on the same meter or another."""
        deadline = None if seconds is None else time.monotonic() + seconds
        return Scope(deadline=deadline, meter=meter or self.meter, outer=self)


_current: ContextVar[Scope | None] = ContextVar("forethought_scope", default=None)


@contextmanager
def run_scope(scope: Scope) -> Iterator[Scope]:
    """Model calls inside belong to `scope`."""
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)


def enter_scope(scope: Scope) -> None:
    """Model calls of this context belong to `scope` from now on; for a context of one's own."""
    _current.set(scope)


def current_scope() -> Scope | None:
    """The scope that the caller runs in, if any."""
    return _current.get()


def record_usage(model: str, usage: Usage) -> None:
    """Count a call on the caller's meter, if it runs in a scope. For authors of a `Model`."""
    scope = _current.get()
    if scope is not None:
        scope.meter.add(model, usage)
