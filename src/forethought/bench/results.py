"""What one method did on one problem, and the file in which finished runs are kept.

`runs.jsonl` is JSON Lines: the settings first, then one run a line, each added when it ends. A run
that was killed goes on behind the last whole line.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from filelock import FileLock, Timeout

from forethought.bench.problems import Posed
from forethought.errors import ConfigError
from forethought.model import NO_USAGE, Usage
from forethought.solve import Solution
from forethought.thoughts import EndReason, Role, Source, Thought

SCHEMA: Final = 1
RUNS: Final = "runs.jsonl"

_HEAD: Final = b'{"schema": '


@dataclass(frozen=True, slots=True)
class Depth:
    """What happened at one depth of a run, in sums, so that runs add up: draws of the draft that
    were scored and those of them accepted; scores of the thoughts kept; the `threshold`, if any."""

    depth: int
    num_drafted: int
    num_accepted: int
    num_scored: int
    sum_scores: float
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run. `digest` is its problem's; `seconds` by the clock, `outside_seconds` those in
    which no engine was busy; `spent` by role. Tokens that were written, every draw counted: by the
    draft into the tree (`kept`) and in vain (`rejected`), by the target (`revised`); `on_path` are
    those of the answer by who wrote them. `error` says why a method could not begin at all."""

    method: str
    problem: str
    digest: str
    seed: int
    answer: str
    is_right: bool
    end: EndReason
    seconds: float
    outside_seconds: float
    spent: dict[Role, Usage]
    rejected_usage: Usage
    kept: int
    rejected: int
    revised: int
    on_path: dict[Source, int]
    depths: list[Depth]
    error: str = ""


def measured(method: str, posed: Posed, solution: Solution) -> Run:
    """A solution in figures, graded."""
    answer = solution.answer
    ledger = answer.ledger
    spent: dict[Role, Usage] = {}
    for entry in ledger.entries:
        spent[entry.role] = spent.get(entry.role, NO_USAGE) + entry.usage
    drafts = [t for t in solution.thoughts if t.source == "draft"]
    in_vain = [t for t in drafts if t.status in ("rejected", "proposed")]
    return Run(
        method=method,
        problem=posed.problem.name,
        digest=posed.digest,
        seed=solution.config.seed,
        answer=answer.answer,
        is_right=posed.is_right(answer.answer),
        end=answer.finish_reason,
        seconds=ledger.wall_seconds,
        outside_seconds=ledger.outside_seconds,
        spent=spent,
        rejected_usage=ledger.rejected,
        kept=_written(drafts) - _written(in_vain),
        rejected=_written(in_vain),
        revised=_written([t for t in solution.thoughts if t.source == "target"]),
        on_path={
            source: sum(len(t.tokens) for t in answer.path if t.source == source)
            for source in cast("tuple[Source, ...]", ("draft", "target"))
        },
        depths=_depths(solution),
    )


def failed(method: str, posed: Posed, error: Exception, *, seed: int, seconds: float) -> Run:
    """The run of a method that cannot take the problem: it counts as wrong."""
    return Run(
        method=method,
        problem=posed.problem.name,
        digest=posed.digest,
        seed=seed,
        answer="",
        is_right=False,
        end="limit",
        seconds=seconds,
        outside_seconds=seconds,
        spent={},
        rejected_usage=NO_USAGE,
        kept=0,
        rejected=0,
        revised=0,
        on_path={},
        depths=[],
        error=str(error),
    )


def _written(thoughts: list[Thought]) -> int:
    return sum(len(t.tokens) * t.num_draws for t in thoughts)


def _depths(solution: Solution) -> list[Depth]:
    by_depth: defaultdict[int, list[Thought]] = defaultdict(list)
    for thought in solution.thoughts:
        if thought.score is not None:
            by_depth[thought.depth].append(thought)
    return [
        _depth(depth, by_depth[depth], solution.thresholds.get(depth)) for depth in sorted(by_depth)
    ]


def _depth(depth: int, scored: list[Thought], threshold: float | None) -> Depth:
    drafts = [t for t in scored if t.source == "draft"]
    kept = [t.score for t in scored if t.status not in ("rejected", "proposed") and t.score]
    return Depth(
        depth=depth,
        num_drafted=sum(t.num_draws for t in drafts),
        num_accepted=sum(t.num_draws for t in drafts if t.status not in ("rejected", "proposed")),
        num_scored=sum(t.status not in ("rejected", "proposed") for t in scored),
        sum_scores=sum(kept),
        threshold=threshold,
    )


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
            log.runs.append(_parsed(json.loads(line)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}:{number + 1} is no run ({error}): give another --out") from error
    return log


def _append(path: Path, document: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(document, ensure_ascii=False) + "\n")


def _parsed(document: dict[str, Any]) -> Run:
    spent = {role: Usage(**usage) for role, usage in document["spent"].items()}
    rejected = Usage(**document["rejected_usage"])
    depths = [Depth(**depth) for depth in document["depths"]]
    return Run(**{**document, "spent": spent, "rejected_usage": rejected, "depths": depths})


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
