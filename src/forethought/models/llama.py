"""The little of llama.cpp that model files need: finding it, and hearing why it refused.

Knows neither models nor files. llama.cpp's log is one per process, so two threads must not be in
`captured_errors` at once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from forethought.errors import MissingExtra

_ERROR, _CONTINUED = 4, 5  # ggml_log_level in ggml.h


def require_llama() -> ModuleType:
    """The module `llama_cpp`; raises `MissingExtra` where it is not installed."""
    try:
        return import_module("llama_cpp")
    except ImportError as error:
        raise MissingExtra(
            "llama.cpp is not installed: run `pip install 'forethought[llama]'`"
        ) from error


@contextmanager
def captured_errors(llama: ModuleType) -> Iterator[list[str]]:
    """Silence llama.cpp's log inside the block and yield a list that fills with its errors."""
    errors: list[str] = []
    keeping = False

    def keep(level: int, text: bytes, _: object) -> None:
        nonlocal keeping
        keeping = level == _ERROR or (level == _CONTINUED and keeping)
        if keeping and text.strip():
            errors.append(text.decode("utf-8", "replace").strip())

    callback = llama.llama_log_callback(keep)  # llama.cpp holds no reference; this name does
    previous, data = llama.llama_log_callback(), ctypes.c_void_p()
    llama.llama_log_get(ctypes.byref(previous), ctypes.byref(data))
    llama.llama_log_set(callback, ctypes.c_void_p())
    try:
        yield errors
    finally:
        llama.llama_log_set(previous, data)
