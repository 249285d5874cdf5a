"""Hidden states, as llama.cpp's evaluation callback hands them out while it decodes.

llama.cpp asks before every node of the graph whether its data are wanted; nodes that are not cost
one call into Python. The final norm's node has rows for tokens with logits only, and so has the
last block's.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forethought.engine.bindings import llama
from forethought.errors import DecodeError

FINAL = 0


class StateTap:
    """Collects the states of the layers in `wanted` during one decode.

    Layers count from 1; `FINAL` is the output of the final norm.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._names: dict[bytes, int] = {}
        self._chunks: dict[int, list[NDArray[np.float32]]] = {}
        self.callback = llama().ggml_backend_sched_eval_callback(self._receive)

    def want(self, layers: set[int]) -> None:
        """Forget what was collected, and collect these layers from now on."""
        self._names = {_node_name(layer): layer for layer in layers}
        self._chunks = {layer: [] for layer in layers}

    def rows(self, layer: int) -> NDArray[np.float32]:
        """The states of the last decode's tokens, [tokens, width], or only of those with logits.

        Raises:
            DecodeError: the model's graph has no node of that name.
        """
        chunks = self._chunks.get(layer)
        if not chunks:
            raise DecodeError(
                f"llama.cpp hands out no layer {layer} for this model: choose another layer"
            )
        if len(chunks) > 1:
            self._chunks[layer] = chunks = [np.concatenate(chunks)]
        return chunks[0]

    def _receive(self, tensor: int, is_question: bool, _: object) -> bool:
        if not self._names:
            return False
        get_name, count, get_data = _tensor_functions()
        layer = self._names.get(get_name(tensor))
        if layer is None:
            return False
        if not is_question:
            data = np.empty((count(tensor) // self._width, self._width), np.float32)
            get_data(tensor, data.ctypes.data, 0, data.nbytes)
            self._chunks[layer].append(data)
        return True


def _node_name(layer: int) -> bytes:
    return b"result_norm" if layer == FINAL else b"l_out-%d" % (layer - 1)


@functools.cache
def _tensor_functions() -> tuple[Any, Any, Any]:
    """ggml's functions that tell a tensor's name and size and copy its data from any device."""
    # pointers as integers: a fresh library object keeps these types from others' bindings
    library = ctypes.CDLL(llama()._lib._name)
    library.ggml_get_name.argtypes = [ctypes.c_void_p]
    library.ggml_get_name.restype = ctypes.c_char_p
    library.ggml_nelements.argtypes = [ctypes.c_void_p]
    library.ggml_nelements.restype = ctypes.c_int64
    library.ggml_backend_tensor_get.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_size_t,
    ]
    library.ggml_backend_tensor_get.restype = None
    return library.ggml_get_name, library.ggml_nelements, library.ggml_backend_tensor_get
