"""A model in this process: its public face. Its thread is in `forethought.engine.worker`."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forethought.config import EngineConfig, SamplingParams, require, require_between
from forethought.engine.context import Context
from forethought.engine.continuation import Continuation
from forethought.engine.guided import check_grammar
from forethought.engine.plan import plan_engine
from forethought.engine.reads import Read, ReadHidden, ReadLikeliest, ReadProbs, ReadTokens
from forethought.engine.rejection import Proposal, Propose, Verdict, Verify
from forethought.engine.request import Request, Write
from forethought.engine.states import FINAL
from forethought.engine.streaming import listened, spelt
from forethought.engine.template import ChatTemplate
from forethought.engine.vocabulary import Vocabulary
from forethought.engine.weights import Weights
from forethought.engine.worker import EngineStats, Worker
from forethought.errors import PromptTooLong
from forethought.model import (
    NO_USAGE,
    Completion,
    Delta,
    Message,
    Reading,
    TokenLogprob,
    Usage,
    current_scope,
    record_usage,
)


class Engine:
    """A GGUF model, served in batches. Implements `forethought.model.Model`; close it when done.

    Args:
        path: the GGUF file.
        config: placement and sizes.
        adapter: a GGUF LoRA adapter, applied to everything that this engine computes.
        weights: opened weights of `path` to share; see `adapted`.

    Raises:
        UnknownModel, ModelLoadError: the file is missing, damaged or of an unknown kind, or the
            adapter is none of this model's.
        ModelFileError: the adapter says that it was trained on another model.
        NotEnoughMemory: weights and context would not fit; told before they are allocated.
        MissingExtra: llama-cpp-python is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        config: EngineConfig | None = None,
        adapter: Path | None = None,
        weights: Weights | None = None,
    ) -> None:
        self.config = config or EngineConfig()
        self.path = Path(path)
        self._adapter = adapter
        self.plan = plan_engine(self.path, self.config, has_weights=weights is not None)
        with ExitStack() as opened:
            self._weights = weights or Weights.load(self.path, self.config)
            opened.callback(self._weights.close)
            self._vocabulary = Vocabulary(self._weights)
            self._template = ChatTemplate(self._weights, self._vocabulary)
            self._context = Context(self._weights, self.config, self.plan, adapter=adapter)
            opened.pop_all()
        self._worker = Worker(self.name, self._context, self._vocabulary, self.config)
        # a daemon thread must not be inside llama.cpp while the interpreter goes down
        atexit.register(_close, weakref.ref(self))

    def adapted(self, adapter: Path, *, config: EngineConfig | None = None) -> Engine:
        """A second engine on the same weights with a LoRA adapter applied; closed on its own.

        Raises:
            UnknownModel, ModelLoadError, ModelFileError: the adapter is missing, damaged, or
                another model's.
            NotEnoughMemory: the second context would not fit.
        """
        with self._worker.kept_open():
            weights = self._weights.share()
        return Engine(self.path, config=config or self.config, adapter=adapter, weights=weights)

    @property
    def name(self) -> str:
        """The file's name without its ending, and the adapter's."""
        return f"{self.path.stem}+{self._adapter.stem}" if self._adapter else self.path.stem

    @property
    def vocabulary(self) -> str:
        """Fingerprint of the vocabulary: equal for models whose token ids mean the same."""
        with self.open_vocabulary() as vocabulary:
            return vocabulary.fingerprint

    @property
    def context_size(self) -> int:
        """The most tokens that a prompt and its continuation may have together."""
        return self.plan.context_size

    @property
    def num_layers(self) -> int:
        """Blocks of the model."""
        return self._context.num_layers

    @property
    def width(self) -> int:
        """Numbers in a hidden state."""
        return self._context.width

    @contextmanager
    def open_vocabulary(self) -> Iterator[Vocabulary]:
        """The vocabulary, whose memory is not freed while the block runs. Raises EngineClosed."""
        with self._worker.kept_open():
            yield self._vocabulary

    def stats(self) -> EngineStats:
        """Counts so far."""
        return self._worker.stats

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`, no start token added; control tokens spelt out in it stay text
        unless `special`."""
        with self.open_vocabulary() as vocabulary:
            return vocabulary.encode(text, special=special)

    def decode(self, tokens: list[int]) -> str:
        """Text of token ids."""
        with self.open_vocabulary() as vocabulary:
            return vocabulary.decode(tokens)

    def start_tokens(self) -> list[int]:
        """The start token, where the model was trained with one."""
        with self.open_vocabulary() as vocabulary:
            return vocabulary.start_tokens()

    @property
    def knows_tools(self) -> bool:
        """Whether the file's template tells of tools, with calls between `<tool_call>` tags."""
        return self._template.knows_tools

    def chat(
        self, messages: list[Message], *, tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        """Token ids of a conversation under the file's template, assistant turn opened; `tools` as
        in the OpenAI API, for templates that know them. Raises ConfigError where it refuses."""
        with self._worker.kept_open():
            return self._template.tokens(messages, tools)

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        """One completion per prompt, in order, all decoded in one batch.

        Raises:
            PromptTooLong: a prompt leaves no room for a token in the context.
            ConfigError: the grammar of `params` cannot be read.
            DecodeError, EngineClosed: see `forethought.errors`.
        """
        return self._ask(prompts, params).results

    def stream(self, prompt: list[int], params: SamplingParams) -> Generator[Delta]:
        """One completion as it is written, see `Speaker.stream`; raises as `generate`."""
        return listened(self._request([prompt], params), self._worker, self._vocabulary.piece)

    def go_on(
        self, prompts: list[list[int]], params: SamplingParams, written: list[Continuation]
    ) -> list[Completion]:
        """As `generate`, from what has been written after each prompt; usage is that of this call.

        Each draws from the stream of its continuation's index.
        """
        return self._ask(prompts, params, written).results

    def propose(
        self, prompts: list[list[int]], ask: Propose
    ) -> tuple[list[list[Proposal]], list[Usage]]:
        """What this model, as a draft, would write next, with its distributions, and the cost of
        each prompt's; fewer than asked for where it ended or the run was stopped. Raises as
        `generate`."""
        request = self._ask(prompts, ask)
        return request.results, request.usages

    def verify(
        self, prompts: list[list[int]], ask: Verify
    ) -> tuple[list[list[Verdict]], list[Usage]]:
        """The tokens that this model, as a target, puts in the place of each prompt's proposals,
        which follow it, and the cost of each prompt's. Raises as `probs`."""
        ends = [[one.token for one in proposals] for proposals in ask.proposals]
        extended = [prompt + end for prompt, end in zip(prompts, ends, strict=True)]
        request = self._ask(extended, ask)
        return request.results, request.usages

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        """Probability that the next token is one of each choice's ids: one row per prompt.

        Raises:
            RunStopped: the caller's run was cancelled or ran out of time.
            PromptTooLong, DecodeError, EngineClosed: as `generate`.
        """
        require(bool(choices) and all(choices), "probs needs at least one token id per choice")
        return self._ask(prompts, ReadProbs(choices)).results

    def hidden(
        self, prompts: list[list[int]], *, layer: int | None = None
    ) -> list[NDArray[np.float32]]:
        """The state of each prompt's last token: after the final norm, or behind block `layer`.

        Raises:
            ConfigError: the engine was opened without `hidden_states`, or has no such layer.
            RunStopped, PromptTooLong, DecodeError, EngineClosed: as `probs`.
        """
        require(
            self._context.has_states,
            f"hidden states of {self.name} need EngineConfig(hidden_states=True)",
        )
        if layer is not None:
            require_between("layer", layer, (1, self.num_layers))
        return self._ask(prompts, ReadHidden(FINAL if layer is None else layer)).results

    def logprobs(self, prompt: list[int], *, top: int = 0) -> list[TokenLogprob]:
        """How probable the model finds each token of `prompt`, one of at least two, but the first,
        with the `top` likeliest in its place. Raises as `readings`."""
        require(len(prompt) > 1, "log-probabilities need a prompt of at least 2 tokens")
        rows = self._ask([prompt[:-1]], ReadLikeliest(prompt[1:], top)).results[0]
        with self.open_vocabulary() as vocabulary:
            return [spelt(likely, vocabulary.piece) for likely in rows]

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        """How the model meets the last `counts[i]` tokens of prompt i. Raises as `probs`, and
        ConfigError where a count is not in 1..(length of its prompt - 1)."""
        require(len(prompts) == len(counts), f"{len(counts)} counts for {len(prompts)} prompts")
        for prompt, count in zip(prompts, counts, strict=True):
            require_between("count", count, (1, len(prompt) - 1))
        ends = [prompt[-count:] for prompt, count in zip(prompts, counts, strict=True)]
        return self._ask([prompt[:-1] for prompt in prompts], ReadTokens(ends)).results

    def forget(self, keep: list[int]) -> None:
        """Let go of every cached prefix that no request stands on, but for what is cached of the
        prompt `keep`: what is asked next pays for itself. Raises EngineClosed."""
        self._worker.forget(keep)

    def close(self) -> None:
        """Finish the step in hand, fail what waits, free all memory; safe to call twice."""
        self._worker.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self, prompts: list[list[int]]) -> None:
        """Refuse prompts that are empty or leave no room in the context. Raises PromptTooLong."""
        for prompt in prompts:
            if not 0 < len(prompt) < self.context_size:
                raise PromptTooLong(
                    f"a prompt of {len(prompt)} tokens does not fit the context of {self.name} "
                    f"({self.context_size} tokens): shorten it or raise context_size (--context)"
                )

    def _request(self, prompts: list[list[int]], ask: Write | Read) -> Request:
        """What is asked, once it was found fit to be served."""
        self.check(prompts)
        if isinstance(ask, SamplingParams) and ask.grammar is not None:
            with self._worker.kept_open():
                check_grammar(ask.grammar, self._context.vocab)
        return Request(prompts, current_scope(), ask)

    def _ask(
        self,
        prompts: list[list[int]],
        ask: Write | Read,
        written: list[Continuation] | None = None,
    ) -> Request:
        """The request, served."""
        request = self._request(prompts, ask)
        request.written = written or []
        if not prompts:
            return request
        self._worker.submit(request)
        try:
            request.future.result()
        finally:
            request.is_abandoned = True  # nobody waits any more, should an interrupt have ended it
            record_usage(self.name, sum(request.usages, NO_USAGE))
        return request


def _close(reference: weakref.ref[Engine]) -> None:
    if engine := reference():
        engine.close()
