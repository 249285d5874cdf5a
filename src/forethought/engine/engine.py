"""A model in this process: one thread owns the llama.cpp context, callers wait on futures.

Requests of all callers meet in the same batch. The loop is: take requests, plan rows, decode, hand
out what the logits say.
"""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forethought.config import EngineConfig, SamplingParams, require
from forethought.engine.cache import PrefixCache
from forethought.engine.context import Context, Row
from forethought.engine.plan import plan_engine
from forethought.engine.request import Request, Sequence
from forethought.engine.scheduler import Scheduler
from forethought.engine.template import ChatTemplate
from forethought.engine.vocabulary import Vocabulary
from forethought.engine.weights import Weights
from forethought.errors import DecodeError, EngineClosed, PromptTooLong
from forethought.model import NO_USAGE, Completion, Message, Usage, current_scope, record_usage

_NUM_SAMPLING_THREADS = 2


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counts since the engine started: `usage` is that of all prompts served."""

    usage: Usage = NO_USAGE


class Engine:
    """A GGUF model, served in batches. Implements `forethought.model.Model`; close it when done.

    Args:
        path: the GGUF file.
        config: placement and sizes.

    Raises:
        UnknownModel, ModelLoadError: the file is missing, damaged or of an unknown kind.
        NotEnoughMemory: weights and context would not fit; told before they are allocated.
        MissingExtra: llama-cpp-python is not installed.
    """

    def __init__(self, path: str | Path, *, config: EngineConfig | None = None) -> None:
        config = config or EngineConfig()
        self.path = Path(path)
        self.plan = plan_engine(self.path, config)
        with ExitStack() as opened:
            self._weights = Weights.load(self.path, config)
            opened.callback(self._weights.close)
            self._vocabulary = Vocabulary(self._weights)
            self._template = ChatTemplate(self._weights, self._vocabulary)
            self._context = Context(self._weights, config, self.plan)
            opened.pop_all()
        self._scheduler = Scheduler(
            PrefixCache(self._context),
            max_sequences=config.max_sequences,
            max_rows=self._context.num_rows,
        )
        self._inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._is_closed = False
        self._stats = EngineStats()
        self._samplers = ThreadPoolExecutor(_NUM_SAMPLING_THREADS, f"sample-{self.name}")
        self._thread = threading.Thread(target=self._run, name=f"engine-{self.name}", daemon=True)
        self._thread.start()
        # a daemon thread must not be inside llama.cpp while the interpreter goes down
        atexit.register(_close, weakref.ref(self))

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def vocabulary(self) -> str:
        """Fingerprint of the vocabulary: equal for models whose token ids mean the same."""
        with self._kept_open():
            return self._vocabulary.fingerprint

    @property
    def context_size(self) -> int:
        """The most tokens that a prompt and its continuation may have together."""
        return self.plan.context_size

    def stats(self) -> EngineStats:
        """Counts so far."""
        return self._stats

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; control tokens spelt out in it stay text."""
        with self._kept_open():
            return self._vocabulary.encode(text)

    def decode(self, tokens: list[int]) -> str:
        """Text of token ids."""
        with self._kept_open():
            return self._vocabulary.decode(tokens)

    def chat(self, messages: list[Message]) -> list[int]:
        """Token ids of a conversation under the file's template, assistant turn opened."""
        with self._kept_open():
            return self._template.tokens(messages)

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        """One completion per prompt, in order, all decoded in one batch.

        Raises:
            PromptTooLong: a prompt leaves no room for a token in the context.
            DecodeError, EngineClosed: see `forethought.errors`.
        """
        return self._ask(Request(prompts, current_scope(), params=params))

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        """Probability that the next token is one of each choice's ids: one row per prompt.

        Raises:
            RunStopped: the caller's run was cancelled or ran out of time.
            PromptTooLong, DecodeError, EngineClosed: as `generate`.
        """
        require(bool(choices) and all(choices), "probs needs at least one token id per choice")
        return self._ask(Request(prompts, current_scope(), choices=choices))

    def close(self) -> None:
        """Finish the step in hand, fail what waits, free all memory; safe to call twice."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._inbox.put(None)
        self._thread.join()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: Request) -> list[Any]:
        for prompt in request.prompts:
            if not 0 < len(prompt) < self.context_size:
                raise PromptTooLong(
                    f"a prompt of {len(prompt)} tokens does not fit the context of {self.name} "
                    f"({self.context_size} tokens): shorten it or raise context_size (--context)"
                )
        if not request.prompts:
            return []
        with self._kept_open():
            self._inbox.put(request)
        try:
            return request.future.result()
        finally:
            request.is_abandoned = True  # nobody waits any more, should an interrupt have ended it
            record_usage(self.name, request.usage)

    @contextmanager
    def _kept_open(self) -> Iterator[None]:
        """The model's memory is not freed while the block runs; refused once it may be."""
        with self._closing:
            if self._is_closed:
                raise EngineClosed(f"the engine of {self.name} is closed")
            yield

    def _run(self) -> None:
        try:
            while self._take_requests():
                self._drop_stopped()
                if self._scheduler.is_busy:
                    self._step()
            self._fail_all(EngineClosed(f"the engine of {self.name} was closed"))
        except BaseException as error:
            with self._closing:  # a request put in after the inbox was emptied would wait for ever
                self._is_closed = True
            self._fail_all(error)
            raise
        finally:
            self._samplers.shutdown()
            self._context.close()
            self._weights.close()

    def _take_requests(self) -> bool:
        """Move new requests to the scheduler; wait for one when idle. False when closing."""
        while not self._scheduler.is_busy or not self._inbox.empty():
            request = self._inbox.get()
            if request is None:
                return False
            for index, prompt in enumerate(request.prompts):
                self._scheduler.waiting.append(Sequence(request, index, list(prompt)))
        return True

    def _drop_stopped(self) -> None:
        for sequence in [*self._scheduler.active.values(), *self._scheduler.waiting]:
            if reason := sequence.request.stop_reason():
                self._settle(sequence)
                sequence.stop(reason, self._vocabulary)

    def _step(self) -> None:
        started = time.perf_counter()
        rows = self._scheduler.plan()
        try:
            while rows and not self._context.decode(rows):
                rows = self._scheduler.plan() if self._scheduler.preempt() else []
            if not rows:
                self._end_full()
                return
        except DecodeError as error:
            for sequence in self._scheduler.drop_active():
                sequence.close()
                sequence.request.fail(error)
            return
        self._scheduler.advance(rows, time.perf_counter() - started)
        self._hand_out(rows)

    def _end_full(self) -> None:
        """The only active sequence has filled the cache: it ends here."""
        (sequence,) = self._scheduler.active.values()
        self._settle(sequence)
        sequence.finish("length", self._vocabulary)

    def _settle(self, sequence: Sequence) -> None:
        """Take a sequence out and count what it has cost, before its caller is told."""
        self._scheduler.retire(sequence)
        sequence.request.usage += sequence.usage
        self._stats = EngineStats(self._stats.usage + sequence.usage)

    def _hand_out(self, rows: list[Row]) -> None:
        """Draw tokens and read probabilities where the rows' logits are the newest."""
        started = time.perf_counter()
        due = self._scheduler.due(rows)
        drawing = [(s, index) for s, index in due if s.request.params is not None]
        # draws of one step are independent, and llama.cpp lets go of the GIL
        tokens = self._samplers.map(lambda d: d[0].sample(self._context.handle, d[1]), drawing)
        draws = list(zip(drawing, tokens, strict=True))
        scores = [
            (sequence, self._probabilities(index, sequence.request.choices))
            for sequence, index in due
            if sequence.request.params is None
        ]
        share = (time.perf_counter() - started) / max(1, len(due))
        for sequence, _ in due:
            sequence.seconds += share
        for (sequence, _), token in draws:
            if reason := sequence.accept(token, self._vocabulary):
                self._settle(sequence)
                sequence.finish(reason, self._vocabulary)
        for sequence, score in scores:
            self._settle(sequence)
            sequence.request.deliver(sequence.index, score)

    def _probabilities(self, row: int, choices: list[list[int]]) -> list[float]:
        logits = self._context.logits(row).astype(np.float64)
        weights = np.exp(logits - logits.max())
        total = weights.sum()
        return [float(weights[ids].sum() / total) for ids in choices]

    def _fail_all(self, error: BaseException) -> None:
        for sequence in [*self._scheduler.drop_active(), *self._scheduler.waiting]:
            sequence.close()
            sequence.request.fail(error)
        while not self._inbox.empty():
            if request := self._inbox.get():
                request.fail(error)


def _close(reference: weakref.ref[Engine]) -> None:
    if engine := reference():
        engine.close()
