"""What a source of model files is, and how far along one is.

A source brings bytes into a staging folder and says which SHA-256 they should have. It does not
check them and does not know where they go next. Every failure of a source is a `DownloadError`
with one line that says why.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from forethought.models.registry import ModelFile

_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is, in bytes of the model file."""

    source: str
    done: int
    total: int


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that a source brought, and the SHA-256 it must have."""

    path: Path
    sha256: str


class Source(Protocol):
    """One way to get a model file."""

    @property
    def name(self) -> str:
        """What people call this source."""
        ...

    def fetch(self, model: ModelFile, staging: Path, report: Report) -> Arrival:
        """Bring the file into the folder `staging`, or what is missing of it from an earlier try.

        Raises `DownloadError` with the reason, or `NotEnoughDisk`.
        """
        ...


@contextmanager
def watched(
    folder: Path, source: str, total: int, report: Report, *, base: int = 0
) -> Iterator[None]:
    """Report the bytes that arrive in `folder`, on top of `base`, while the block runs."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(_POLL_SECONDS):
            report(Progress(source, min(base + _largest(folder), total), total))

    watcher = threading.Thread(target=watch, name="forethought-download", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _largest(folder: Path) -> int:
    """Size of the biggest file below `folder`: the one that travels, counted once while copied."""
    sizes = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # files come and go while they are counted
                sizes.append((Path(root) / name).stat().st_size)
    return max(sizes)
