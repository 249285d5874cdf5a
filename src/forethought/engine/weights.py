"""A GGUF file in memory: metadata, sizes and the llama_model handle. It knows no context."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any

from forethought.config import EngineConfig, SplitMode
from forethought.engine.bindings import as_sentence, error_log, llama
from forethought.errors import ModelLoadError, UnknownModel

_SPLIT_MODES: dict[SplitMode, int] = {"none": 0, "layer": 1, "row": 2}
_MAGIC = b"GGUF"


class Weights:
    """An opened model file, freed when the last of those who share it has closed it.

    Raises:
        UnknownModel: there is no such file.
        ModelLoadError: it is no GGUF file, is damaged, or llama.cpp does not know its architecture.
    """

    def __init__(self, path: Path, params: Any) -> None:
        self.path = path
        library = llama()
        with error_log() as errors:
            self.handle = library.llama_model_load_from_file(str(path).encode(), params)
        if not self.handle:
            raise ModelLoadError(
                f"cannot load {path}: {as_sentence(errors)}; if the file was cut short or damaged, "
                "fetch it again (forethought models verify)"
            )
        self.vocab = library.llama_model_get_vocab(self.handle)
        self._lock = threading.Lock()
        self._num_holders = 1

    def share(self) -> Weights:
        """The same weights for one more context, which closes them on its own."""
        with self._lock:
            assert self.handle, "shared after it was freed"
            self._num_holders += 1
        return self

    @classmethod
    def header(cls, path: Path) -> Weights:
        """Open metadata and vocabulary only: no tensor is read. Must never be given a context."""
        check_file(path)
        params = llama().llama_model_default_params()
        params.vocab_only = True
        return cls(path, params)

    @classmethod
    def load(cls, path: Path, config: EngineConfig) -> Weights:
        """Open the whole model, layers placed as `config` says."""
        check_file(path)
        return cls(path, model_params(config))

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors; 0 for a header."""
        return int(llama().llama_model_size(self.handle))

    def metadata(self, key: str) -> str | None:
        """A scalar of the GGUF metadata as text, or None where the file does not have it."""
        library = llama()
        buffer = ctypes.create_string_buffer(128)
        length = library.llama_model_meta_val_str(self.handle, key.encode(), buffer, 128)
        if length < 0:
            return None
        if length >= 128:
            buffer = ctypes.create_string_buffer(length + 1)
            library.llama_model_meta_val_str(self.handle, key.encode(), buffer, length + 1)
        return buffer.value.decode("utf-8", "replace")

    def number(self, key: str, default: int | None = None) -> int:
        """A metadata integer under the model's architecture, e.g. `block_count`.

        Raises:
            ModelLoadError: the file does not have it and there is no default.
        """
        architecture = self.metadata("general.architecture") or ""
        value = self.metadata(f"{architecture}.{key}")
        if value is None and default is None:
            raise ModelLoadError(f"{self.path} has no {architecture}.{key} in its metadata")
        return int(value) if value is not None and value.isdigit() else int(default or 0)

    def close(self) -> None:
        """Let go of the weights, once for each holder; the last one frees them."""
        with self._lock:
            self._num_holders -= 1
            if not self._num_holders:
                llama().llama_model_free(self.handle)
                self.handle = None


def check_file(path: Path) -> None:
    """Refuse what is not a readable GGUF file before llama.cpp sees it."""
    if not path.is_file():
        raise UnknownModel(f"no such model file: {path}")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != _MAGIC:
        raise ModelLoadError(
            f"{path} is not a GGUF file (it begins with {magic!r}); convert the model or fetch a "
            "GGUF build of it"
        )


def offloaded_layers(config: EngineConfig) -> int:
    """The layer count given to llama.cpp: -1 is all; auto is all where the build can offload."""
    if config.gpu_layers is not None:
        return config.gpu_layers
    return -1 if llama().llama_supports_gpu_offload() else 0


def model_params(config: EngineConfig) -> Any:
    """llama.cpp's model parameters for `config`."""
    library = llama()
    params = library.llama_model_default_params()
    params.n_gpu_layers = offloaded_layers(config)
    params.split_mode = _SPLIT_MODES[config.split_mode]
    params.main_gpu = config.main_gpu
    if config.tensor_split:
        devices = max(len(config.tensor_split), int(library.llama_max_devices()))
        # kept on the struct: llama.cpp reads the array while it loads
        params.tensor_split = (ctypes.c_float * devices)(*config.tensor_split)
    return params
