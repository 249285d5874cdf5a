"""Makes another quantisation of a GGUF file with llama.cpp's own quantiser.

Knows how variants are named and made; neither which are worth having nor which is in use. Weights
that were quantised before lose precision again: a variant is at best as good as its original.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from types import MappingProxyType

from forethought.config import require_one_of
from forethought.engine.bindings import as_sentence, error_log, llama
from forethought.errors import ModelFileError
from forethought.models.disk import one_writer, replace_whole, require_space

_GGML_Q4_0 = 2  # ggml_type of ggml.h, whose numbers never change
QUANTS = MappingProxyType(  # llama_ftype of llama.h, whose numbers never change
    {
        "q4_0": 2,
        "q4_1": 3,
        "q5_0": 8,
        "q5_1": 9,
        "q8_0": 7,
        "q4_k_s": 14,
        "q4_k_m": 15,
        "q5_k_s": 16,
        "q5_k_m": 17,
        "q6_k": 18,
    }
)


def variant_path(source: Path, quant: str) -> Path:
    """Where the variant of `source` is kept: beside it, as `NAME.QUANT.gguf`."""
    return source.with_name(f"{source.stem}.{quant}.gguf")


def quantize(source: Path, quant: str) -> Path:
    """Make the `quant` variant of `source` unless it is there, and return its path.

    Runs on all cores, seconds to minutes. Raises `ConfigError` for an unknown quantisation,
    `MissingExtra` without llama.cpp, `NotEnoughDisk`, and `ModelFileError` with llama.cpp's reason.
    """
    require_one_of("quant", quant, tuple(QUANTS))
    target = variant_path(source, quant)
    llama()  # missing is told before the disk is looked at
    with one_writer(target):
        if not target.is_file():
            require_space(target.parent, 2 * source.stat().st_size)  # 4 bits become at most 8
            _write(source, target, QUANTS[quant])
    return target


def _write(source: Path, target: Path, ftype: int) -> None:
    partial = target.with_name(f"{target.name}.partial")
    library = llama()
    params = library.llama_model_quantize_default_params()
    params.ftype = ftype
    if ftype == QUANTS["q4_0"]:
        # left to itself llama.cpp keeps 6 or 8 bits here, which it cannot repack for a CPU: a fifth
        # of a small model's time, for 0.003 nats a token (docs/results.md)
        params.output_tensor_type = _GGML_Q4_0
    params.allow_requantize = True
    params.nthread = os.cpu_count() or 1
    try:
        with error_log() as errors:
            failed = library.llama_model_quantize(
                os.fsencode(source), os.fsencode(partial), ctypes.byref(params)
            )
        if failed:
            raise ModelFileError(f"cannot quantise {source}: {as_sentence(errors)}")
        replace_whole(partial, target)
    finally:
        partial.unlink(missing_ok=True)
