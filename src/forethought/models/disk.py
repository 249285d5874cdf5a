"""What model files ask of a disk: room, one writer at a time, whole files or none.

Knows nothing of models.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from forethought.errors import ModelFileError, NotEnoughDisk


def require_space(folder: Path, needed: int) -> None:
    """Raise `NotEnoughDisk` unless `needed` bytes are free where the existing `folder` lies."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NotEnoughDisk(
            f"{megabytes(needed)} are needed in {folder} and {megabytes(free)} are free: "
            "make room, or set FORETHOUGHT_MODELS to a folder on another disk"
        )


def megabytes(count: int) -> str:
    """A number of bytes for people, in units of 1 000 000."""
    return f"{count / 1e6:,.0f} MB"


@contextmanager
def one_writer(target: Path) -> Iterator[None]:
    """Hold the lock on `target`, waiting for other threads and processes, with its folder made.

    What the disk refuses inside the block is raised as `ModelFileError`.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            yield
    except OSError as error:
        raise ModelFileError(f"cannot write {target}: {error}") from error


def replace_whole(partial: Path, target: Path) -> None:
    """Make `partial`, flushed to the disk, appear as `target` in one step."""
    with partial.open("rb+") as stream:
        os.fsync(stream.fileno())
    partial.replace(target)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to that takes `target`'s place in one step when the block ends well."""
    partial = target.with_name(f"{target.name}.partial")
    yield partial
    replace_whole(partial, target)


def write_whole(target: Path, text: str) -> None:
    """Write `text` so that readers see the old file or the new one, never half of one."""
    partial = target.with_name(f"{target.name}.partial")
    partial.write_text(text, encoding="utf-8")
    replace_whole(partial, target)
