"""SHA-256 of model files, and the mark beside a file that says it was checked.

The mark of `NAME.gguf` is `NAME.gguf.sha256`, in the format of sha256sum. It is written after the
file, so a file newer than its mark was changed since and counts as unchecked. A file without a
mark is never taken for a whole one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from forethought.models.disk import write_whole


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes in lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def mark(path: Path, sha256: str) -> None:
    """Record that `path` was read just now and has this checksum."""
    write_whole(_mark_of(path), f"{sha256}  {path.name}\n")


def unmark(path: Path) -> None:
    """Forget that `path` was ever checked."""
    _mark_of(path).unlink(missing_ok=True)


def marked(path: Path) -> str | None:
    """The checksum that `path` had when it was last checked, None where it never was."""
    try:
        words = _mark_of(path).read_text(encoding="utf-8").split()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return words[0] if words else None


def confirm(path: Path, sha256: str) -> bool:
    """Read `path` and mark it if it has this checksum; forget its mark if it has another."""
    if digest(path) != sha256:
        unmark(path)
        return False
    mark(path, sha256)
    return True


def is_unchanged(path: Path) -> bool:
    """Whether `path` is there and was not written since it was checked."""
    try:
        return path.stat().st_mtime_ns <= _mark_of(path).stat().st_mtime_ns
    except FileNotFoundError:
        return False


def _mark_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
