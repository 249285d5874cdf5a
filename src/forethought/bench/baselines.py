"""What the engine is measured against: a bare loop over llama.cpp, and `llama_cpp.Llama`.

Both are written as their users write them: the loop fills a llama_batch and samples row by row, the
class generates one sequence after another.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

from forethought.config import EngineConfig, SamplingParams
from forethought.engine.bindings import llama
from forethought.engine.context import num_threads
from forethought.engine.sampler import Sampler

_CONTEXT = 8192


class BareLoop:
    """llama_decode and llama_sampler_sample in a loop, one batch row per sequence."""

    def __init__(self, path: Path, config: EngineConfig) -> None:
        library = llama()
        self._model = library.llama_model_load_from_file(
            str(path).encode(), library.llama_model_default_params()
        )
        params = library.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = _CONTEXT, 512, 512
        params.n_seq_max, params.kv_unified = 32, True
        params.n_threads = params.n_threads_batch = num_threads(config)
        params.no_perf = True
        self._context = library.llama_init_from_model(self._model, params)
        self._memory = library.llama_get_memory(self._context)
        self._batch = library.llama_batch_init(512, 0, 1)

    def decode_speed(self, prompt: list[int], num_sequences: int, params: SamplingParams) -> float:
        """Tokens per second of `num_sequences` continuations of a prompt that is already cached."""
        library = llama()
        library.llama_memory_clear(self._memory, True)
        self._decode([(t, i, 0, i == len(prompt) - 1) for i, t in enumerate(prompt)])
        samplers = [Sampler(params, index) for index in range(num_sequences)]
        for sequence in range(1, num_sequences):
            library.llama_memory_seq_cp(self._memory, 0, sequence, 0, len(prompt))
        tokens = [sampler.sample(self._context, -1) for sampler in samplers]
        started = time.perf_counter()
        for step in range(1, params.max_tokens):
            position = len(prompt) + step - 1
            self._decode([(token, position, i, True) for i, token in enumerate(tokens)])
            tokens = [sampler.sample(self._context, i) for i, sampler in enumerate(samplers)]
        seconds = time.perf_counter() - started
        for sampler in samplers:
            sampler.close()
        return num_sequences * (params.max_tokens - 1) / seconds

    def close(self) -> None:
        """Free everything."""
        library = llama()
        library.llama_batch_free(self._batch)
        library.llama_free(self._context)
        library.llama_model_free(self._model)

    def _decode(self, rows: list[tuple[int, int, int, bool]]) -> None:
        batch = self._batch
        batch.n_tokens = len(rows)
        for index, (token, position, sequence, wants_logits) in enumerate(rows):
            batch.token[index] = token
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = wants_logits
        code = llama().llama_decode(self._context, batch)
        assert code == 0, code


class SingleSequence:
    """`llama_cpp.Llama`, one sequence after another."""

    def __init__(self, path: Path, config: EngineConfig) -> None:
        threads = num_threads(config)
        self._llama: Any = importlib.import_module("llama_cpp").Llama(
            str(path),
            n_ctx=_CONTEXT,
            n_threads=threads,
            n_threads_batch=threads,
            n_gpu_layers=-1,
            flash_attn=True,
            verbose=False,
        )

    def decode_speed(self, prompt: list[int], num_sequences: int, params: SamplingParams) -> float:
        """Tokens per second over `num_sequences` continuations; the class caches the prompt."""
        self._take(prompt, params, 1)
        num_tokens = 0
        started = time.perf_counter()
        for _ in range(num_sequences):
            num_tokens += self._take(prompt, params, params.max_tokens)
        return num_tokens / (time.perf_counter() - started)

    def close(self) -> None:
        """Free everything."""
        self._llama.close()

    def _take(self, prompt: list[int], params: SamplingParams, count: int) -> int:
        stream = self._llama.generate(
            prompt, top_k=params.top_k, top_p=params.top_p, min_p=0.0, temp=params.temperature
        )
        taken = sum(1 for _, _ in zip(range(count), stream, strict=False))
        stream.close()
        return taken
