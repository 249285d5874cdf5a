"""A reader on transformers and torch, for checkpoints that are no GGUF.

It keeps the contract of `forethought.model.Reader` but for one thing: prompts of a call that share
a prefix are each computed from their start. It never writes; the engine does.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forethought.config import require, require_at_least, require_between
from forethought.engine.torch_checkpoint import decode_errors, libraries, load_checkpoint
from forethought.errors import ConfigError, PromptTooLong
from forethought.model import Message, Reading, RunStopped, Usage, current_scope, record_usage


class TorchReader:
    """A Hugging Face checkpoint, read in batches. Implements `forethought.model.Reader`.

    A checkpoint with a head of its own (token classification, a process reward model) is opened as
    the bare language model below it: `hidden` serves, and `heads.extract_head` reads the head. No
    code that comes with a checkpoint is run.

    Args:
        source: a directory, or a name on the hub.
        dtype: torch's name of a type, or "auto" for that of the checkpoint.
        device: torch's name of a device, or "auto" for a GPU where there is one.
        batch_tokens: most tokens of a batch, padding included; a longer prompt goes alone. A batch
            of `readings` holds as many rows of the whole vocabulary in memory.

    Raises:
        MissingExtra: torch or transformers is not installed.
        UnknownModel, ModelLoadError, NotEnoughMemory: the checkpoint cannot be opened.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        dtype: str = "auto",
        device: str = "auto",
        batch_tokens: int = 4096,
    ) -> None:
        require_at_least("batch_tokens", batch_tokens, 1)
        self.name = Path(source).resolve().name
        self._checkpoint = load_checkpoint(source, dtype=dtype, device=device)
        self._model, self._tokenizer = self._checkpoint.model, self._checkpoint.tokenizer
        # tokens as written, not as bytes: never equal to an engine's
        ids = sorted(self._tokenizer.get_vocab().items(), key=lambda item: item[1])
        self.vocabulary = "hf-" + hashlib.sha256(repr(ids).encode()).hexdigest()[:16]
        self._torch, _ = libraries()
        self._batch_tokens = batch_tokens
        # neither the tokenizer's settings nor a hook on a layer bear two callers at once
        self._lock = threading.Lock()

    @property
    def context_size(self) -> int:
        """The most tokens of a prompt: what the model was trained for."""
        return self._checkpoint.context_size

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`, no start token added; control tokens spelt out in it stay text
        unless `special`."""
        with self._lock:
            tokens = self._tokenizer.encode(
                text, add_special_tokens=False, split_special_tokens=not special
            )
        return [int(token) for token in tokens]

    def start_tokens(self) -> list[int]:
        """The start token, where the tokenizer puts one before a text."""
        start = self._tokenizer.bos_token_id
        with self._lock:
            opening = self._tokenizer.encode("", add_special_tokens=True)
        return [int(start)] if start is not None and start in opening[:1] else []

    def chat(self, messages: list[Message]) -> list[int]:
        """Token ids of a conversation under the tokenizer's template, assistant turn opened.

        Control tokens spelt out in a message stay text: as in the engine, the template is rendered
        with marks where the contents belong, and the contents are encoded apart from its frame.

        Raises:
            ConfigError: the tokenizer has no template, or its template refuses the messages.
        """
        marks = [f"\ue000{index}\ue001" for index in range(len(messages))]
        turns = [
            {"role": message["role"], "content": mark}
            for message, mark in zip(messages, marks, strict=True)
        ]
        template_error = importlib.import_module("jinja2").TemplateError
        try:
            frame = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
        except (ValueError, template_error) as error:
            raise ConfigError(f"{self.name} has no chat template for this: {error}") from error
        tokens: list[int] = []
        for part in re.split("(\ue000\\d+\ue001)", frame):
            if part in marks:
                tokens += self.encode(messages[marks.index(part)]["content"].strip())
            else:
                tokens += self.encode(part, special=True)
        start = self.start_tokens()
        return tokens if tokens[: len(start)] == start else start + tokens

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        """Probability that the next token is one of each choice's ids: one row per prompt.

        Raises:
            RunStopped: the caller's run was cancelled or ran out of time.
            PromptTooLong, DecodeError, NotEnoughMemory: as the names say.
            ConfigError: the checkpoint is no model of tokens.
        """
        require(bool(choices) and all(choices), "probs needs at least one token id per choice")

        def read(inputs: dict[str, Any], _: list[int]) -> list[list[float]]:
            logs = self._logs(inputs, 1)[:, 0]
            columns = [logs[:, ids].cpu().numpy().astype(np.float64) for ids in choices]
            shares = np.stack([np.exp(column).sum(axis=1) for column in columns], axis=1)
            return [[float(share) for share in row] for row in shares]

        return self._each(prompts, read)

    def hidden(
        self, prompts: list[list[int]], *, layer: int | None = None
    ) -> list[NDArray[np.float32]]:
        """The state of each prompt's last token, a vector of the model's width: after the final
        norm, or the residual stream behind block `layer` (from 1). Raises as `probs`."""

        def read(inputs: dict[str, Any], _: list[int]) -> list[NDArray[np.float32]]:
            states = self._states(inputs, layer)[:, -1].float().cpu().numpy()
            return list(states)

        return self._each(prompts, read)

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        """How the model meets the last `counts[i]` tokens of prompt i, in order. Raises as
        `probs`."""
        for prompt, count in zip(prompts, counts, strict=True):
            require_between("count", count, (1, len(prompt) - 1))

        def read(inputs: dict[str, Any], indices: list[int]) -> list[list[Reading]]:
            ends = [prompts[index][len(prompts[index]) - counts[index] :] for index in indices]
            logs = self._logs(inputs, 1 + max(map(len, ends)))
            return [
                self._met(logs[row, logs.shape[1] - 1 - len(end) : -1], end)
                for row, end in enumerate(ends)
            ]

        return self._each(prompts, read)

    def _met(self, logs: Any, tokens: list[int]) -> list[Reading]:
        """Readings from log-probabilities [tokens, vocabulary]."""
        entropy = -(logs.exp() * logs).sum(dim=-1)
        # KL(uniform || p) = -log V - mean log p
        certainty = (-math.log(logs.shape[-1]) - logs.mean(dim=-1)).clamp(min=0)
        return [
            Reading(float(logs[row, token]), float(entropy[row]), float(certainty[row]))
            for row, token in enumerate(tokens)
        ]

    def _logs(self, inputs: dict[str, Any], num_kept: int) -> Any:
        """Natural-log probabilities at the last positions: [prompts, num_kept, vocabulary]."""
        if not self._checkpoint.is_causal:
            raise ConfigError(
                f"{self.name} was opened without an output layer, for its checkpoint has a head "
                "of another kind: only its hidden states can be read"
            )
        logits = self._model(**inputs, logits_to_keep=num_kept).logits
        return self._torch.log_softmax(logits.float(), dim=-1)

    def _states(self, inputs: dict[str, Any], layer: int | None) -> Any:
        """States of all positions: [prompts, positions, width]."""
        backbone = self._model.base_model
        if layer is None:
            return backbone(**inputs).last_hidden_state
        blocks = getattr(backbone, "layers", ())
        require(
            0 < layer <= len(blocks),
            f"layer must be in 1..{len(blocks)} for {self.name}, not {layer}",
        )
        kept: list[Any] = []
        # transformers' own list of hidden states has the last block's behind the norm only
        hook = blocks[layer - 1].register_forward_hook(lambda *given: kept.append(given[2]))
        try:
            backbone(**inputs)
        finally:
            hook.remove()
        return kept[0][0] if isinstance(kept[0], tuple) else kept[0]

    def _each(
        self, prompts: list[list[int]], read: Callable[[dict[str, Any], list[int]], list[Any]]
    ) -> list[Any]:
        """What `read` gives for each prompt, batch by batch; it gets a batch's inputs and the
        indices of its prompts."""
        for prompt in prompts:
            if not 0 < len(prompt) <= self.context_size:
                raise PromptTooLong(
                    f"a prompt of {len(prompt)} tokens does not fit the context of {self.name} "
                    f"({self.context_size} tokens): shorten it"
                )
        results: list[Any] = [None] * len(prompts)
        for indices in _batches(prompts, self._batch_tokens):
            scope = current_scope()
            if scope and (reason := scope.stop_reason()):
                raise RunStopped(reason)
            batch = [prompts[index] for index in indices]
            with self._lock, self._torch.inference_mode(), decode_errors():
                started = time.perf_counter()
                found = read(self._inputs(batch), indices)
                seconds = time.perf_counter() - started
            for index, result in zip(indices, found, strict=True):
                results[index] = result
            record_usage(self.name, Usage(prompt_tokens=sum(map(len, batch)), seconds=seconds))
        return results

    def _inputs(self, batch: list[list[int]]) -> dict[str, Any]:
        """Padded on the left, so that all prompts end in the last column."""
        longest = max(map(len, batch))
        gaps = [longest - len(prompt) for prompt in batch]
        padded = [[0] * gap + prompt for gap, prompt in zip(gaps, batch, strict=True)]
        mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
        positions = [[0] * gap + list(range(longest - gap)) for gap in gaps]
        named = {"input_ids": padded, "attention_mask": mask, "position_ids": positions}
        device = self._model.device
        tensors = {name: self._torch.tensor(row, device=device) for name, row in named.items()}
        return {**tensors, "use_cache": False}


def _batches(prompts: list[list[int]], most: int) -> list[list[int]]:
    """Indices of prompts, those of like length together, at most `most` tokens with padding."""
    batches: list[list[int]] = []
    for index in sorted(range(len(prompts)), key=lambda index: len(prompts[index])):
        if batches and (len(batches[-1]) + 1) * len(prompts[index]) <= most:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
