"""Heads: the small network on a model's hidden state that says how good a step is, as plain data.

A head is kept in a small safetensors file, `layers.N.weight` and `layers.N.bias` in float32, with
what it is as string metadata; `extract_head` takes one out of a Hugging Face checkpoint. Applied in
numpy, it needs no tensor library.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from forethought.config import require, require_one_of
from forethought.errors import EvaluatorError, ModelFileError
from forethought.evaluators.tensors import (
    TensorFile,
    open_checkpoint,
    open_tensors,
    write_tensors,
)

Array = NDArray[np.float32]
Activation = Literal["relu", "tanh"]
Output = Literal["softmax", "sigmoid"]

FORMAT: Final = "forethought-head-1"
_RESERVED: Final = ("format", "activation", "output")


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """`weight` [out, in] and `bias` [out], float32: x -> weight x + bias."""

    weight: Array
    bias: Array

    def __post_init__(self) -> None:
        require(
            self.weight.ndim == 2 and self.bias.shape == self.weight.shape[:1],
            f"a layer's weight must be [out, in] and its bias [out], not {self.weight.shape} and "
            f"{self.bias.shape}",
        )
        is_sound = self.weight.dtype == self.bias.dtype == np.float32
        require(is_sound, f"a layer must be float32, not {self.weight.dtype}, {self.bias.dtype}")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Layers with `activation` between them.

    The last layer's output becomes a probability by `output`: the sigmoid of its one number, or the
    second class's share of a softmax over two. `info` is free text about the head (its
    kind, the model that it belongs to, what it was trained on) and travels with its file.
    """

    layers: tuple[Layer, ...]
    output: Output
    activation: Activation = "relu"
    info: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_one_of("output", self.output, ("softmax", "sigmoid"))
        require_one_of("activation", self.activation, ("relu", "tanh"))
        require(bool(self.layers), "a head needs at least one layer")
        for below, above in itertools.pairwise(self.layers):
            num_out, num_in = len(below.bias), above.weight.shape[1]
            require(num_out == num_in, f"a layer of {num_in} inputs stands on {num_out} outputs")
        num_classes = 2 if self.output == "softmax" else 1
        given = len(self.layers[-1].bias)
        require(given == num_classes, f"{self.output} needs {num_classes} outputs, not {given}")
        names = [name for name in self.info if name in _RESERVED]
        require(not names, f"info must not hold {', '.join(names)}: a head's own fields")

    @property
    def width(self) -> int:
        """Of the hidden states that the head reads."""
        return int(self.layers[0].weight.shape[1])

    @property
    def fingerprint(self) -> str:
        """Tells heads apart, by the numbers of their last layer."""
        last = self.layers[-1]
        return hashlib.sha256(last.weight.tobytes() + last.bias.tobytes()).hexdigest()[:8]

    def apply(self, states: Iterable[Array]) -> list[float]:
        """One probability in [0, 1] per state, a vector of `width` numbers.

        Raises:
            EvaluatorError: the states are of another width, or hold no finite numbers.
        """
        given = [np.asarray(state, np.float32) for state in states]
        for state in given:
            if state.shape != (self.width,):
                raise EvaluatorError(
                    f"the head reads states of {self.width} numbers, not of shape {state.shape}: "
                    "it belongs to another model"
                )
        rows = np.stack(given) if given else np.empty((0, self.width), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            for layer in self.layers[:-1]:
                rows = self._activated(rows @ layer.weight.T + layer.bias)
            rows = rows @ self.layers[-1].weight.T + self.layers[-1].bias
        if not np.isfinite(rows).all():
            raise EvaluatorError("the head gives no finite numbers: it belongs to another model")
        return [float(probability) for probability in _probabilities(rows)]

    def _activated(self, rows: Array) -> Array:
        return np.maximum(rows, np.float32(0)) if self.activation == "relu" else np.tanh(rows)


def save_head(head: Head, path: Path) -> None:
    """Write a head to a safetensors file."""
    tensors: dict[str, Array] = {}
    for number, layer in enumerate(head.layers):
        tensors[f"layers.{number}.weight"] = layer.weight
        tensors[f"layers.{number}.bias"] = layer.bias
    about = {"format": FORMAT, "activation": head.activation, "output": head.output}
    write_tensors(path, tensors, {**head.info, **about})


def load_head(path: Path) -> Head:
    """A head from a file that `save_head` wrote.

    Raises:
        UnknownModel: there is no such file.
        ModelFileError: it holds no head, or is damaged.
        ConfigError: its layers do not fit one another.
    """
    file = open_tensors(path)
    about = dict(file.metadata)
    if about.pop("format", None) != FORMAT:
        raise ModelFileError(f"{path} holds no head: its metadata do not say {FORMAT}")
    where = dict.fromkeys(file.entries, file)
    names = [f"layers.{number}" for number in range(len(where) // 2)]
    return Head(
        tuple(_layer(where, name) for name in names),
        output=cast(Output, about.pop("output", "")),
        activation=cast(Activation, about.pop("activation", "")),
        info=about,
    )


# a head's layers in a checkpoint, in the order of their numbers: `score` of Qwen2.5-Math-PRM (a
# Sequential) and of transformers' token classification, `v_head` of Skywork's
_HEADS: Final = re.compile(r"(?:score(?:\.(\d+))?|v_head\.summary)\.weight")


def extract_head(checkpoint: Path) -> Head:
    """The head of a Hugging Face checkpoint; nothing else of it is read.

    Two outputs become a softmax, one a sigmoid. `info["checkpoint"]` is the directory's name.

    Args:
        checkpoint: a directory with `model.safetensors`, or shards and their index.

    Raises:
        UnknownModel, ModelFileError: there is no such checkpoint, or it is damaged.
        EvaluatorError: it has no head of a known name.
    """
    where = {name: file for file in open_checkpoint(checkpoint) for name in file.entries}
    found = sorted((int(m[1] or 0), m[0]) for name in where if (m := _HEADS.fullmatch(name)))
    if not found:
        raise EvaluatorError(
            f"{checkpoint} has no head: no tensor is called score.weight, score.N.weight or "
            "v_head.summary.weight"
        )
    layers = tuple(_layer(where, name.removesuffix(".weight")) for _, name in found)
    output: Output = "sigmoid" if len(layers[-1].bias) == 1 else "softmax"
    return Head(layers, output, info={"checkpoint": checkpoint.resolve().name})


def _layer(where: Mapping[str, TensorFile], name: str) -> Layer:
    weight, bias = f"{name}.weight", f"{name}.bias"
    if weight not in where:
        raise ModelFileError(f"a head's layer is missing: {weight}")
    matrix = where[weight].read(weight)
    offset = where[bias].read(bias) if bias in where else np.zeros(len(matrix), np.float32)
    return Layer(matrix, offset)


def _probabilities(rows: Array) -> NDArray[np.float64]:
    """The sigmoid of one column, or the second column's share of a softmax over two, which is the
    sigmoid of their difference."""
    logits = rows.astype(np.float64)
    margin = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
    # of the negative magnitude only, so that nothing overflows
    small = np.exp(-np.abs(margin))
    shares: NDArray[np.float64] = np.where(margin < 0, small, 1.0) / (1.0 + small)
    return shares
