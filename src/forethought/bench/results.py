"""The file in which the runs of a benchmark are kept.

`runs.jsonl` is JSON Lines: the settings first, then one run a line, each added when it ends. A run
that was killed goes on behind the last whole line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from forethought.bench.problems import Posed
from forethought.bench.runs import Run, parsed_run
from forethought.errors import ConfigError

SCHEMA: Final = 1
RUNS: Final = "runs.jsonl"

_HEAD: Final = b'{"schema": '


@dataclass(slots=True)
class RunLog:
    """The runs of one benchmark in their file. `settings` is JSON-able data that decides what runs
    do; `started` is when the first of them began, in ISO 8601."""

    path: Path
    settings: dict[str, Any]
    started: str
    runs: list[Run] = field(default_factory=list)

    def add(self, run: Run) -> None:
        """Keep a run, in one write, so that a kill leaves a whole line or a torn last one."""
        self.runs.append(run)
        _append(self.path, asdict(run))

    def find(self, method: str, posed: Posed) -> Run | None:
        """The run of a method on a problem, if it is done.

        Raises:
            ConfigError: there is one on another problem of the same name.
        """
        for run in self.runs:
            if (run.method, run.problem) == (method, posed.problem.name):
                if run.digest != posed.digest:
                    raise ConfigError(
                        f"{self.path} holds runs on another problem {run.problem!r}: the data has "
                        "changed; give another --out"
                    )
                return run
        return None


@contextmanager
def opened_log(folder: Path, settings: dict[str, Any]) -> Iterator[RunLog]:
    """The log in `folder`, made where there is none; nobody else writes to it meanwhile.

    Raises:
        ConfigError: the folder cannot be written, is in use, or holds runs under other settings or
            something else than runs.
    """
    lock = FileLock(folder / f".{RUNS}.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        log = _read(folder / RUNS, json.loads(json.dumps(settings)))
    except Timeout as error:
        raise ConfigError(f"another benchmark is writing to {folder}: wait for it") from error
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error}") from error
    else:
        yield log
    finally:
        lock.release()


def _read(path: Path, settings: dict[str, Any]) -> RunLog:
    """The log at `path`, a torn last line cut off the file, or a new one."""
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        return _begun(path, settings, torn=data)
    log = _parsed_log(path, whole.decode("utf-8", "replace"))
    differing = _differences(log.settings, settings)
    if differing:
        raise ConfigError(
            f"{path} holds runs under other settings ({'; '.join(differing[:3])}): "
            "give the same again, or another --out"
        )
    if len(whole) < len(data):
        with path.open("rb+") as file:
            file.truncate(len(whole))
    return log


def _begun(path: Path, settings: dict[str, Any], *, torn: bytes) -> RunLog:
    # a file of somebody else's, of one line without an end, is not written over
    if not (torn.startswith(_HEAD) or _HEAD.startswith(torn)):
        raise ConfigError(f"{path} is no log of runs: give another --out")
    path.write_bytes(b"")
    log = RunLog(path, settings, datetime.now(UTC).isoformat(timespec="seconds"))
    _append(path, {"schema": SCHEMA, "started": log.started, "settings": settings})
    return log


def _parsed_log(path: Path, text: str) -> RunLog:
    number = 0
    # not splitlines, which also cuts at line separators within a JSON string
    first, *rest = text.split("\n")[:-1]
    try:
        head = json.loads(first)
        if head["schema"] != SCHEMA:
            raise ValueError(f"schema {head['schema']}, not {SCHEMA}")
        log = RunLog(path, head["settings"], head["started"])
        for line in rest:
            number += 1
            log.runs.append(parsed_run(json.loads(line)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}:{number + 1} is no run ({error}): give another --out") from error
    return log


def _append(path: Path, document: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(document, ensure_ascii=False) + "\n")


def _differences(kept: Any, given: Any, where: str = "") -> list[str]:
    """What differs between two documents, leaf by leaf: `name: kept -> given`."""
    if isinstance(kept, dict) and isinstance(given, dict):
        names = sorted({*kept, *given})
        return [
            found
            for name in names
            for found in _differences(kept.get(name), given.get(name), f"{where}.{name}".strip("."))
        ]
    return [] if kept == given else [f"{where}: {json.dumps(kept)} -> {json.dumps(given)}"]
