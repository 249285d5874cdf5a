"""What stands in a GGUF file's header, read without opening the model."""

from __future__ import annotations

import ctypes
import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from forethought.engine.bindings import llama
from forethought.engine.weights import check_file
from forethought.errors import ModelFileError, ModelLoadError

BASE: Final = "base_sha256"  # in trained files: the identity of the model they belong to

_F32, _STRING = 0, 8  # enum ggml_type, enum gguf_type


def header_texts(path: Path, prefix: str) -> dict[str, str]:
    """The header's text fields whose key begins with `prefix`, by the rest of their key.

    Raises:
        UnknownModel, ModelLoadError: the file is missing or damaged.
    """
    start = prefix.encode()
    with _opened(path) as (library, handle):
        keys = {library.gguf_get_key(handle, i): i for i in range(library.gguf_get_n_kv(handle))}
        return {
            key.removeprefix(start).decode(): library.gguf_get_val_str(handle, i).decode()
            for key, i in keys.items()
            if key.startswith(start) and library.gguf_get_kv_type(handle, i) == _STRING
        }


def weights_identity(path: Path) -> str:
    """SHA-256 over the model's norm weights, by name.

    Quantisation leaves them as they are in float32 and every fine-tuning moves them, so all
    quantisations of a model share this number and no other model does.

    Raises:
        UnknownModel, ModelLoadError: the file is missing, damaged, or has no norms.
    """
    with _opened(path) as (library, handle):
        places = {
            library.gguf_get_tensor_name(handle, i): (
                library.gguf_get_tensor_offset(handle, i),
                library.gguf_get_tensor_size(handle, i),
            )
            for i in range(library.gguf_get_n_tensors(handle))
            if library.gguf_get_tensor_type(handle, i) == _F32
        }
        start = library.gguf_get_data_offset(handle)
    names = sorted(name for name in places if name.endswith(b"norm.weight"))
    if not names:
        raise ModelLoadError(f"{path} has no norm weights to tell the model by")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for name in names:
            offset, size = places[name]
            file.seek(start + offset)
            digest.update(name + b"\0" + file.read(size))
    return digest.hexdigest()


def check_trained_on(adapter: Path, base: Path) -> None:
    """Refuse an adapter of ours for another model than the file `base`. Adapters that were made
    elsewhere do not say what they were trained on, and pass.

    Raises:
        UnknownModel, ModelLoadError: a file is missing or damaged.
        ModelFileError: the adapter was trained on another model.
    """
    info = header_texts(adapter, "forethought.")
    for key, expected in info.items():
        kind, _, field = key.rpartition(".")
        if field == BASE and expected != weights_identity(base):
            raise ModelFileError(
                f"{adapter} was trained on {info.get(f'{kind}.base', 'another model')}, not on "
                f"{base.stem}: train one for it (forethought train {kind})"
            )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    check_file(path)
    library = _gguf()
    handle = library.gguf_init_from_file(str(path).encode(), _InitParams(True, None))
    if not handle:
        raise ModelLoadError(f"{path} is damaged: fetch it again (forethought models verify)")
    try:
        yield library, handle
    finally:
        library.gguf_free(handle)


class _InitParams(ctypes.Structure):
    """struct gguf_init_params"""

    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


@functools.cache
def _gguf() -> Any:
    """ggml's reader of GGUF headers, which llama-cpp-python does not bind."""
    library = ctypes.CDLL(llama()._lib._name)
    handle, number = ctypes.c_void_p, ctypes.c_int64
    library.gguf_init_from_file.argtypes = [ctypes.c_char_p, _InitParams]
    library.gguf_init_from_file.restype = handle
    results: dict[str, Any] = {
        "gguf_free": None,
        "gguf_get_n_kv": number,
        "gguf_get_n_tensors": number,
        "gguf_get_data_offset": ctypes.c_size_t,
        "gguf_get_key": ctypes.c_char_p,
        "gguf_get_kv_type": ctypes.c_int,
        "gguf_get_val_str": ctypes.c_char_p,
        "gguf_get_tensor_name": ctypes.c_char_p,
        "gguf_get_tensor_type": ctypes.c_int,
        "gguf_get_tensor_offset": ctypes.c_size_t,
        "gguf_get_tensor_size": ctypes.c_size_t,
    }
    whole_file = ("gguf_free", "gguf_get_n_kv", "gguf_get_n_tensors", "gguf_get_data_offset")
    for name, result in results.items():
        function = getattr(library, name)
        function.argtypes = [handle] if name in whole_file else [handle, number]
        function.restype = result
    return library
