"""Which quantisation of a model decodes fastest on this machine.

Knows how to compare; making the variants and timing them is done elsewhere. It looks at speed
alone: requantising costs quality, and nothing here measures how much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from forethought.models.files import ORIGINAL, find_original, remember
from forethought.models.quantize import quantize
from forethought.models.speed import decode_speed

Measure = Callable[[Path, Sequence[int]], Mapping[int, float]]

COUNTS = (1, 8, 16)
DECISIVE = 8  # sequences: about what one step of a search decodes at once
DEFAULT_QUANTS = ("q4_0", "q8_0")
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class TuneRow:
    """One variant: its `size` in bytes and its tokens per second by number of sequences."""

    quant: str
    path: Path
    size: int
    tokens_per_second: Mapping[int, float]
    fastest: bool


def tune(
    name_or_path: str | Path,
    quants: Sequence[str] = DEFAULT_QUANTS,
    *,
    measure: Measure = decode_speed,
) -> list[TuneRow]:
    """Make variants, time them with the original, and remember the fastest at 8 sequences.

    `measure(path, counts)` returns tokens per second by number of sequences. The original's row
    comes first. Raises what `resolve` and `quantize` raise.
    """
    original = find_original(name_or_path)
    paths = {ORIGINAL: original.path}
    for quant in quants:
        if not original.is_already(quant):
            paths[quant] = quantize(original.path, quant)
    speeds = _interleaved(paths, measure)
    fastest = max(speeds, key=lambda quant: speeds[quant][DECISIVE])
    remember(original, fastest)
    return [
        TuneRow(quant, path, path.stat().st_size, speeds[quant], quant == fastest)
        for quant, path in paths.items()
    ]


def _interleaved(paths: Mapping[str, Path], measure: Measure) -> dict[str, dict[int, float]]:
    """Medians over rounds; round by round, so that a slow minute of the machine hits all alike."""
    rounds = [
        {quant: measure(path, COUNTS) for quant, path in paths.items()} for _ in range(_ROUNDS)
    ]
    return {
        quant: {count: median(one[quant][count] for one in rounds) for count in COUNTS}
        for quant in paths
    }
