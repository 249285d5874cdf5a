"""One llama_context and its batch: rows in, logits out. Owned by one thread.

Everything that would abort the process in C is refused here first: sequence ids out of range, rows
beyond the batch, ranges that are no ranges, use after close.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forethought.config import EngineConfig, KvType
from forethought.engine.bindings import as_sentence, error_log, llama
from forethought.engine.header import check_trained_on
from forethought.engine.plan import MemoryPlan, num_sequence_ids
from forethought.engine.states import StateTap
from forethought.engine.weights import Weights
from forethought.errors import DecodeError, ModelLoadError, NotEnoughMemory

# enum ggml_type
_KV_TYPES: dict[KvType, int] = {"f32": 0, "f16": 1, "bf16": 30, "q8_0": 8, "q4_0": 2}
# ggml's CPU flash attention takes another kernel, with other rounding, from 64 query rows on; below
# that a row's logits are the same bits whatever else is in the batch (Q4_0, Q8_0, Q4_1)
_SAME_KERNEL_ROWS = 48
_FLASH_ATTENTION = {None: -1, False: 0, True: 1}


@dataclass(slots=True)
class Row:
    """One token of a batch; a token that several sequences share is one row with all their ids."""

    token: int
    position: int
    sequences: list[int]
    wants_logits: bool = False


@dataclass(slots=True)
class _Batch:
    """A llama_batch over numpy arrays, filled by slices instead of one ctypes call a field."""

    num_rows: int
    num_sequences: int
    token: NDArray[np.int32] = field(init=False)
    pos: NDArray[np.int32] = field(init=False)
    n_seq_id: NDArray[np.int32] = field(init=False)
    seq_id: NDArray[np.int32] = field(init=False)
    seq_pointers: NDArray[np.uintp] = field(init=False)
    logits: NDArray[np.int8] = field(init=False)

    def __post_init__(self) -> None:
        self.token, self.pos, self.n_seq_id = (np.zeros(self.num_rows, np.int32) for _ in range(3))
        self.logits = np.zeros(self.num_rows, np.int8)
        self.seq_id = np.zeros((self.num_rows, self.num_sequences), np.int32)
        start, stride = self.seq_id.ctypes.data, self.seq_id.strides[0]
        self.seq_pointers = np.arange(self.num_rows, dtype=np.uintp) * stride + start

    def fill(self, rows: list[Row]) -> Any:
        count = len(rows)
        self.token[:count] = [row.token for row in rows]
        self.pos[:count] = [row.position for row in rows]
        self.logits[:count] = [row.wants_logits for row in rows]
        self.n_seq_id[:count] = [len(row.sequences) for row in rows]
        for index, row in enumerate(rows):
            self.seq_id[index, : len(row.sequences)] = row.sequences
        library = llama()
        batch = library.llama_batch()
        batch.n_tokens = count
        for name in ("token", "pos", "n_seq_id", "logits"):
            kind = dict(library.llama_batch._fields_)[name]
            setattr(batch, name, ctypes.cast(getattr(self, name).ctypes.data, kind))
        kind = dict(library.llama_batch._fields_)["seq_id"]
        batch.seq_id = ctypes.cast(self.seq_pointers.ctypes.data, kind)
        return batch


class Context:
    """A llama_context with one unified KV cache, and a LoRA `adapter` applied where one is given.

    Once it is made, closing it closes `weights` too.

    Raises:
        NotEnoughMemory: llama.cpp could not allocate it.
        ModelLoadError: the model's memory cannot be cut back (recurrent and hybrid models), or the
            adapter is none or another model's.
    """

    def __init__(
        self,
        weights: Weights,
        config: EngineConfig,
        plan: MemoryPlan,
        *,
        adapter: Path | None = None,
    ) -> None:
        library = llama()
        if library.llama_model_is_recurrent(weights.handle) or library.llama_model_is_hybrid(
            weights.handle
        ):
            raise ModelLoadError(
                f"{weights.path} is a recurrent or hybrid model: its memory cannot be cut back to "
                "a thought's start; use a transformer"
            )
        params = context_params(config, plan)
        self._weights = weights
        self.num_layers = int(library.llama_model_n_layer(weights.handle))
        self.width = int(library.llama_model_n_embd(weights.handle))
        self._tap = None
        if config.hidden_states:
            self._tap = StateTap(self.width)
            params.cb_eval = self._tap.callback
        self._adapter = load_adapter(weights, adapter) if adapter else None
        with error_log() as errors:
            self.handle = library.llama_init_from_model(weights.handle, params)
        if not self.handle:
            raise NotEnoughMemory(
                f"no context for {weights.path}: {as_sentence(errors)}; it would take {plan}"
            )
        if self._adapter:
            handles, scales = (
                (library.llama_adapter_lora_p_ctypes * 1)(self._adapter),
                (ctypes.c_float * 1)(1.0),
            )
            assert library.llama_set_adapters_lora(self.handle, handles, 1, scales) == 0
        self.num_cells = int(library.llama_n_ctx(self.handle))
        self.num_sequences = num_sequence_ids(config)
        self.num_rows = int(params.n_batch)
        self._memory = library.llama_get_memory(self.handle)
        self._vocabulary_size = int(library.llama_vocab_n_tokens(weights.vocab))
        self._batch = _Batch(self.num_rows, self.num_sequences)
        self._output_rows: dict[int, int] = {}

    @property
    def vocab(self) -> Any:
        """llama.cpp's vocabulary, for samplers."""
        return self._weights.vocab

    @property
    def max_outputs(self) -> int:
        """The most rows of a batch that may want logits."""
        return self.num_sequences

    @property
    def has_states(self) -> bool:
        """Whether decodes can hand out hidden states."""
        return self._tap is not None

    def decode(self, rows: list[Row], layers: frozenset[int] = frozenset()) -> bool:
        """Compute `rows`; False where the cache has no room for them (nothing changed then).

        The hidden states of `layers` can be read afterwards.

        Raises:
            DecodeError: llama.cpp failed; the cells of these rows are in an unknown state.
        """
        assert 0 < len(rows) <= self.num_rows, len(rows)
        assert all(0 <= s < self.num_sequences for row in rows for s in row.sequences)
        outputs = [index for index, row in enumerate(rows) if row.wants_logits]
        assert len(outputs) <= self.max_outputs, len(outputs)
        self._output_rows = {index: rank for rank, index in enumerate(outputs)}
        if self._tap:
            self._tap.want(set(layers))
        with error_log() as errors:
            code = llama().llama_decode(self.handle, self._batch.fill(rows))
        if code not in (0, 1):
            raise DecodeError(f"llama_decode returned {code}: {as_sentence(errors)}")
        return bool(code == 0)

    def logits(self, row: int) -> NDArray[np.float32]:
        """Logits after batch row `row`, one per token id; valid until the next decode."""
        pointer = llama().llama_get_logits_ith(self.handle, row)
        assert pointer, f"row {row} was not flagged for logits"
        return np.ctypeslib.as_array(pointer, (self._vocabulary_size,))

    def state(self, row: int, layer: int) -> NDArray[np.float32]:
        """A copy of the hidden state after batch row `row`, one that wanted logits; see `decode`.

        Raises:
            DecodeError: the model has no such layer.
        """
        assert self._tap, "the context was opened without hidden states"
        states = self._tap.rows(layer)
        has_outputs_only = len(states) == len(self._output_rows)
        state: NDArray[np.float32] = states[self._output_rows[row] if has_outputs_only else row]
        return state.copy()

    def copy_cells(self, source: int, target: int, start: int, end: int) -> None:
        """Let sequence `target` share the cells of `source` at positions start..end-1."""
        assert 0 <= start <= end, (start, end)
        assert source != target, source
        self._check(source)
        self._check(target)
        llama().llama_memory_seq_cp(self._memory, source, target, start, end)

    def free_cells(self, sequence: int, start: int = 0, end: int = -1) -> None:
        """Let go of a sequence's cells from `start` up to `end` (-1: to its end)."""
        self._check(sequence)
        assert start >= 0, start
        assert llama().llama_memory_seq_rm(self._memory, sequence, start, end)

    def close(self) -> None:
        """Free the context and let go of the weights; safe to call twice."""
        if self.handle:
            llama().llama_free(self.handle)
            self.handle = None
            if self._adapter:
                llama().llama_adapter_lora_free(self._adapter)
            self._weights.close()

    def _check(self, sequence: int) -> None:
        assert 0 <= sequence < self.num_sequences, sequence


def load_adapter(weights: Weights, path: Path) -> Any:
    """A GGUF LoRA adapter for `weights`.

    Raises:
        UnknownModel, ModelLoadError, ModelFileError: the file is missing, damaged, or another
            model's.
    """
    check_trained_on(path, weights.path)
    with error_log() as errors:
        adapter = llama().llama_adapter_lora_init(weights.handle, str(path).encode())
    if not adapter:
        raise ModelLoadError(
            f"cannot apply the adapter {path} to {weights.path}: {as_sentence(errors)}"
        )
    return adapter


def context_params(config: EngineConfig, plan: MemoryPlan) -> Any:
    """llama.cpp's context parameters for `config`."""
    params = llama().llama_context_default_params()
    params.n_ctx = plan.context_size
    params.n_seq_max = num_sequence_ids(config)
    params.n_batch = max(config.batch_tokens, params.n_seq_max)
    same_kernels = config.reproducible and not plan.offloaded
    params.n_ubatch = min(params.n_batch, _SAME_KERNEL_ROWS) if same_kernels else params.n_batch
    # llama.cpp sizes its logits by this and aborts where it is below n_seq_max
    params.n_outputs_max = params.n_seq_max
    # one pool of cells: prefixes are shared by reference, and partial copies do not abort
    params.kv_unified = True
    params.n_threads = params.n_threads_batch = num_threads(config)
    params.type_k = params.type_v = _KV_TYPES[config.kv_type]
    params.flash_attn_type = _FLASH_ATTENTION[config.flash_attention]
    params.no_perf = True
    return params


def num_threads(config: EngineConfig) -> int:
    """Threads per model: as configured, else one per core that this process may use."""
    if config.threads:
        return config.threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
