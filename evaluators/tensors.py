"""Tensors in and out of safetensors files, by name, without reading the rest of a file.

The format (huggingface/safetensors, README): 8 bytes with the header's length, the header as JSON,
the data. The safetensors package has no bfloat16 for numpy, and most checkpoints are bfloat16.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forethought.errors import ModelFileError, UnknownModel

_MAX_HEADER: Final = 100_000_000  # the format's own limit
# a bfloat16 is the upper half of a float32
_AS_STORED: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A safetensors file's header: where its tensors lie, and its string metadata."""

    path: Path
    entries: dict[str, Any]
    metadata: dict[str, str]
    start: int

    def read(self, name: str) -> NDArray[np.float32]:
        """A tensor as float32.

        Raises:
            ModelFileError: it is not of a float type, or the file is damaged.
        """
        try:
            entry = self.entries[name]
            kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"{self.path} is damaged: {name} is not described") from error
        if kind not in _AS_STORED:
            raise ModelFileError(f"{self.path}: {name} is of type {kind}, not one of floats")
        with self.path.open("rb") as file:
            file.seek(self.start + begin)
            data = file.read(end - begin)
        stored = np.dtype(_AS_STORED[kind])
        if len(data) != math.prod(shape) * stored.itemsize:
            raise ModelFileError(f"{self.path} is damaged: {name} is cut short")
        numbers = np.frombuffer(data, stored)
        if kind == "BF16":
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        return numbers.astype(np.float32).reshape(shape)


def open_tensors(path: Path) -> TensorFile:
    """The header of a safetensors file.

    Raises:
        UnknownModel: there is no such file.
        ModelFileError: it is none.
    """
    if not path.is_file():
        raise UnknownModel(f"there is no file {path}")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= _MAX_HEADER else b""
    try:
        entries = json.loads(header)
        metadata = entries.pop("__metadata__", {})
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelFileError(f"{path} is no safetensors file: {error}") from error
    return TensorFile(path, entries, metadata, 8 + length)


def open_checkpoint(directory: Path) -> list[TensorFile]:
    """The headers of a Hugging Face checkpoint's weights: one file, or the shards that its index
    names. Raises as `open_tensors`."""
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        return [open_tensors(directory / "model.safetensors")]
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise ModelFileError(f"{index} is no index of a checkpoint: {error}") from error
    return [open_tensors(directory / shard) for shard in sorted(shards)]


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str]
) -> None:
    """Write float32 tensors and string metadata; a file that was there is replaced at once."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    data = b""
    for name, tensor in tensors.items():
        begin, data = len(data), data + tensor.astype(_AS_STORED["F32"]).tobytes()
        offsets = [begin, len(data)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
    described = json.dumps(header).encode()
    described += b" " * (-len(described) % 8)  # the data begin at a multiple of eight
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(len(described).to_bytes(8, "little") + described + data)
    beside.replace(path)
