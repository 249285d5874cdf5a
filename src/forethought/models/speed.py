"""How fast llama.cpp decodes a batch of sequences off one shared prompt.

Knows one file and a bare decode loop: no sampling, no text, no queue. Figures compare files with
one another on this machine; they are no promise of what a whole program reaches.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

from forethought.config import EngineConfig
from forethought.engine.context import Context, Row
from forethought.engine.plan import plan_memory
from forethought.engine.weights import Weights

PROMPT_TOKENS = 64
DECODE_STEPS = 32  # at most, where they fit into
MOST_SECONDS = 2.0


def decode_speed(path: Path, counts: Sequence[int]) -> dict[int, float]:
    """Tokens per second of `path` at each number of sequences in `counts`.

    Raises `EngineError` where llama.cpp cannot load or run the file, and `MissingExtra` where it is
    not installed.
    """
    most = max(counts)
    config = EngineConfig(
        context_size=PROMPT_TOKENS + most * (DECODE_STEPS + 1),
        max_sequences=most,
        batch_tokens=max(PROMPT_TOKENS, most),
    )
    with ExitStack() as opened:
        weights = Weights.load(path, config)
        opened.callback(weights.close)
        context = Context(weights, config, plan_memory(weights, config))
        opened.pop_all()  # the context closes them from here on
    with closing(context):
        return {count: count / _step_seconds(context, count) for count in counts}


def _step_seconds(context: Context, count: int) -> float:
    """Median over decode steps: what else the machine does spoils some steps, seldom most."""
    for sequence in range(context.num_sequences):
        context.free_cells(sequence)
    # any ids do: speed is what is asked
    context.decode([Row(1 + i, i, [0], i == PROMPT_TOKENS - 1) for i in range(PROMPT_TOKENS)])
    for sequence in range(1, count):
        context.copy_cells(0, sequence, 0, PROMPT_TOKENS)
    seconds: list[float] = []
    for position in range(PROMPT_TOKENS, PROMPT_TOKENS + 1 + DECODE_STEPS):
        rows = [Row(1 + (s + position) % 100, position, [s], True) for s in range(count)]
        started = time.perf_counter()
        context.decode(rows)
        seconds.append(time.perf_counter() - started)
        if sum(seconds) > MOST_SECONDS and len(seconds) > 2:
            break
    return median(seconds[1:])  # the first step allocates
