"""LoRA adapters as GGUF files, in the form that llama.cpp's own converter writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forethought.errors import ModelLoadError
from forethought.models.disk import replacing
from forethought.training.base_model import module

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LoraPair:
    """The low-rank update of one weight: `b` [out, rank] times `a` [rank, in]."""

    a: Array
    b: Array


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's config decides how its weights stand in a GGUF file."""

    architecture: str
    num_layers: int
    num_heads: int
    num_kv_heads: int


def write_adapter(
    path: Path,
    pairs: Mapping[str, LoraPair],
    *,
    shape: Shape,
    alpha: float,
    metadata: Mapping[str, str],
) -> None:
    """Write an adapter; `pairs` by the weights' names in transformers, without `.weight`.

    Raises:
        MissingExtra: gguf is not installed.
        ModelLoadError: the architecture or a weight is not known to gguf.
    """
    gguf = module("gguf")
    names = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    if shape.architecture not in names:
        raise ModelLoadError(f"gguf does not know the architecture {shape.architecture}")
    table = gguf.get_tensor_name_map(names[shape.architecture], shape.num_layers)
    with replacing(path) as temporary:
        writer = gguf.GGUFWriter(str(temporary), shape.architecture)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        for key, value in metadata.items():
            writer.add_string(key, value)
        for name, pair in pairs.items():
            stored = table.get_name(name)
            if stored is None:
                raise ModelLoadError(f"gguf does not know the weight {name}")
            half = np.float16
            writer.add_tensor(f"{stored}.weight.lora_a", pair.a.astype(half))
            writer.add_tensor(f"{stored}.weight.lora_b", _stored(name, pair.b, shape).astype(half))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _stored(name: str, rows: Array, shape: Shape) -> Array:
    """Llama's query and key rows stand in another order in GGUF files: halves interleaved, because
    ggml rotates neighbours where transformers rotates halves."""
    if shape.architecture != "llama" or not name.endswith(("q_proj", "k_proj")):
        return rows
    heads = shape.num_heads if name.endswith("q_proj") else shape.num_kv_heads
    split = rows.reshape(heads, 2, len(rows) // heads // 2, -1)
    return split.swapaxes(1, 2).reshape(rows.shape)


def shape_of(config: Any) -> Shape:
    """From a `transformers` config."""
    return Shape(
        architecture="llama" if config.model_type == "mistral" else config.model_type,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        num_kv_heads=config.num_key_value_heads,
    )
