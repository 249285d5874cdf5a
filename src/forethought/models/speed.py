"""How fast llama.cpp decodes a batch of sequences off one shared prompt.

Knows one file and a bare decode loop: no sampling, no text, no engine. Figures compare files with
one another on this machine; they are no promise of what a whole program reaches.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from forethought.errors import ModelFileError
from forethought.models.llama import captured_errors, require_llama

PROMPT_TOKENS = 64
DECODE_STEPS = 32  # at most, where they fit into
MOST_SECONDS = 5.0


def decode_speed(path: Path, counts: Sequence[int]) -> dict[int, float]:
    """Tokens per second of `path` at each number of sequences in `counts`.

    Raises `ModelFileError` where llama.cpp cannot load or run the file, and `MissingExtra` where it
    is not installed.
    """
    llama = require_llama()
    with captured_errors(llama) as errors:
        try:
            with _opened(llama, path, max(counts)) as context:
                return {count: _measure(llama, context, count) for count in counts}
        except _RefusedError as error:
            reason = " ".join(errors) or "it gave no reason"
            raise ModelFileError(f"llama.cpp cannot {error} {path}: {reason}") from error


class _RefusedError(Exception):
    """llama.cpp returned NULL or a code; the message is the verb that failed."""


@contextmanager
def _opened(llama: ModuleType, path: Path, sequences: int) -> Iterator[Any]:
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(os.fsencode(path), llama.llama_model_default_params())
    if not model:
        raise _RefusedError("load")
    try:
        context = llama.llama_init_from_model(model, _context_params(llama, sequences))
        if not context:
            raise _RefusedError("make a context for")
        try:
            yield context
        finally:
            llama.llama_free(context)
    finally:
        llama.llama_model_free(model)


def _context_params(llama: ModuleType, sequences: int) -> Any:
    params = llama.llama_context_default_params()
    params.n_ctx = PROMPT_TOKENS + sequences * (DECODE_STEPS + 1)
    params.n_batch = params.n_ubatch = max(PROMPT_TOKENS, sequences)
    params.n_seq_max = sequences
    params.kv_unified = True  # else copying a shared prompt copies its cells
    params.n_threads = params.n_threads_batch = os.cpu_count() or 1
    return params


def _measure(llama: ModuleType, context: Any, count: int) -> float:
    memory = llama.llama_get_memory(context)
    llama.llama_memory_clear(memory, True)
    batch = llama.llama_batch_init(max(PROMPT_TOKENS, count), 0, 1)
    try:
        _decode(llama, context, batch, [(0, position) for position in range(PROMPT_TOKENS)])
        for sequence in range(1, count):
            llama.llama_memory_seq_cp(memory, 0, sequence, 0, -1)
        return count / _step_seconds(llama, context, batch, count)
    finally:
        llama.llama_batch_free(batch)


def _step_seconds(llama: ModuleType, context: Any, batch: Any, count: int) -> float:
    """Median over decode steps: what else the machine does spoils some steps, seldom most."""
    seconds: list[float] = []
    for position in range(PROMPT_TOKENS, PROMPT_TOKENS + 1 + DECODE_STEPS):
        started = time.perf_counter()
        _decode(llama, context, batch, [(sequence, position) for sequence in range(count)])
        seconds.append(time.perf_counter() - started)
        if sum(seconds) > MOST_SECONDS and len(seconds) > 2:
            break
    return median(seconds[1:])  # the first step allocates


def _decode(llama: ModuleType, context: Any, batch: Any, cells: list[tuple[int, int]]) -> None:
    """Decode one token per (sequence, position), with logits as sampling would need them."""
    batch.n_tokens = len(cells)
    for i, (sequence, position) in enumerate(cells):
        batch.token[i] = 1 + (sequence + position) % 100  # any ids do: speed is what is asked
        batch.pos[i] = position
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = sequence
        batch.logits[i] = True
    if llama.llama_decode(context, batch) != 0:
        raise _RefusedError("decode with")
    llama.llama_synchronize(context)
