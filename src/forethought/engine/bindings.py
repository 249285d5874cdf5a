"""llama.cpp's library: found, started once, and its log kept for error messages.

Nothing here knows about models or contexts. The log callback is process-global in llama.cpp, so it
is installed once; its lines go to Python's logger `forethought.llama` and the newest errors are
kept, because llama.cpp returns NULL and leaves the reason in its log only.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from forethought.errors import MissingExtra

logger = logging.getLogger("forethought.llama")
# silent unless the application configures logging, as libraries should be
logging.getLogger("forethought").addHandler(logging.NullHandler())

# enum ggml_log_level of the vendored ggml.h; llama-cpp-python's own table is shifted by one
_LEVELS = {3: logging.WARNING, 4: logging.ERROR}
_ERROR, _CONTINUE = 4, 5

_lock = threading.Lock()
_errors: deque[str] = deque(maxlen=20)


@functools.cache
def llama() -> Any:
    """The low-level module of llama-cpp-python, backend started, log captured.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
    """
    try:
        library = importlib.import_module("llama_cpp.llama_cpp")
    except ImportError as error:
        raise MissingExtra(
            "llama-cpp-python is not installed: pip install 'forethought[llama]' "
            "(builds llama.cpp; needs a C++ compiler)"
        ) from error
    library.llama_log_set(_log_callback(library), ctypes.c_void_p())
    library.llama_backend_init()
    return library


@functools.cache
def _log_callback(library: Any) -> Any:
    """The ctypes callback; cached because llama.cpp keeps only a pointer to it."""

    is_error = False

    def receive(level: int, text: bytes | None, _: object) -> None:
        nonlocal is_error
        is_error = level == _ERROR or (level == _CONTINUE and is_error)
        line = (text or b"").decode("utf-8", "replace").rstrip("\n")
        if not line.strip(". "):
            return
        if is_error:
            remember(line, continued=level == _CONTINUE)
        logger.log(_LEVELS.get(level, logging.DEBUG), line)

    return library.llama_log_callback(receive)


def remember(line: str, *, continued: bool = False) -> None:
    """Keep a line of an error; a continued one belongs to the line before it."""
    with _lock:
        _errors.append(f"{_errors.pop()} {line.strip()}" if continued and _errors else line.strip())


@contextmanager
def error_log() -> Iterator[deque[str]]:
    """Collect what llama.cpp logs as errors while the block runs."""
    with _lock:
        _errors.clear()
    yield _errors


def as_sentence(errors: deque[str]) -> str:
    """Logged errors as one line for a message."""
    with _lock:
        lines = [line.split(": ", 1)[-1] for line in errors]
    return "; ".join(dict.fromkeys(lines)) or "llama.cpp gave no reason"
