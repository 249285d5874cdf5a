"""Runs a program that nobody trusts, and says what became of it.

On Linux the program gets namespaces of its own (processes, network, mounts, IPC, users): it sees no
other process, no network, and of the machine's files only the interpreter's, read-only. It has an
empty working directory in memory, no environment, no open files and no rights, and limits on CPU
and wall time, memory, disk, processes and output. All its processes die with it. Where the system
grants no such isolation, nothing is run unless the caller allows weak isolation: then limits alone
are set, and the program can read, write and connect as the calling user can (as `nobody` for root).

A program has passed once it has run to its last line; leaving early with exit code 0 is not enough.
That tells a careless or cheating exit, but program and tests share one process: code written to
attack the harness itself (to search its frames for the token, to redefine equality) can pass.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from forethought.config import require, require_at_least, require_between
from forethought.errors import EvaluatorError

Status = Literal["passed", "failed", "timeout", "memory", "output", "killed"]

_CHILD = Path(__file__).with_name("sandbox_child.py")
_MIB = 1 << 20
_TAIL = 4096
_MOST_PROGRAM = _MIB
_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    `wall_seconds` counts from start to end, the interpreter's start included. `cpu_seconds` and
    `memory_bytes` (address space) are each process's, so that a program may use `num_processes`
    times as much; threads count as processes. `disk_bytes` bounds each file and the whole working
    directory, which lies in memory. `output_bytes` bounds what is printed, both streams together.
    """

    wall_seconds: float = 10.0
    cpu_seconds: int = 5
    memory_bytes: int = 512 * _MIB
    disk_bytes: int = 16 * _MIB
    num_processes: int = 8
    output_bytes: int = _MIB

    def __post_init__(self) -> None:
        require(
            0.0 < self.wall_seconds <= 3600.0,
            f"wall_seconds must lie above 0 and up to 3600, not {self.wall_seconds}",
        )
        require_between("cpu_seconds", self.cpu_seconds, (1, 3600))
        require_at_least("memory_bytes", self.memory_bytes, 64 * _MIB)
        require_at_least("disk_bytes", self.disk_bytes, 4096)
        require_between("num_processes", self.num_processes, (1, 1024))
        require_between("output_bytes", self.output_bytes, (1, 256 * _MIB))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a program.

    `status`: `passed` (it ran to its last line), `failed` (an exception, or it left before),
    `timeout` (CPU or wall time), `memory` (a MemoryError ended it), `output` (it printed too much)
    or `killed` (a signal ended it). `exit_code` is negative for a signal and None where the program
    was ended from outside. `stdout` and `stderr` are the last 4096 bytes of each. `seconds` is wall
    time. `is_isolated` is False where limits alone held it.
    """

    status: Status
    exit_code: int | None
    stdout: str
    stderr: str
    seconds: float
    is_isolated: bool


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Runs Python programs; safe to call from many threads. It holds nothing between runs."""

    limits: Limits = field(default_factory=Limits)
    allow_weak_isolation: bool = False

    def run(self, program: str) -> Outcome:
        """Run `program` as a script under this interpreter, standard library only.

        Raises:
            ConfigError: the program is larger than 1 MiB.
            EvaluatorError: this system grants no isolation, or the sandbox itself broke; whatever
                the program does is an `Outcome`.
        """
        size = len(program.encode("utf-8", "surrogatepass"))
        require(size <= _MOST_PROGRAM, f"a program must be at most 1 MiB, not {size} bytes")
        if os.name != "posix":
            raise EvaluatorError(f"programs run on Linux and macOS only, not on {sys.platform}")
        try:
            return _run(program, self.limits, folder="")
        except _NoIsolation as missing:
            if not self.allow_weak_isolation:
                raise EvaluatorError(
                    f"this system grants no isolation ({missing}), so the program was not run: "
                    "allow user namespaces, use a container that may make them, or set "
                    "allow_weak_isolation=True for programs that you trust"
                ) from missing
        with tempfile.TemporaryDirectory() as folder:
            return _run(program, self.limits, folder=folder)


class _NoIsolation(Exception):
    """The system refused; the message says what."""


@dataclass(slots=True)
class _Run:
    """A program under way: what it printed, and why it had to be ended, if it had to."""

    process: subprocess.Popen[bytes]
    report: int
    deadline: float
    output_left: int
    tails: dict[str, bytes] = field(default_factory=lambda: {"stdout": b"", "stderr": b""})
    reported: bytes = b""
    is_under_way: bool = True
    stopped: Status | None = None

    def watch(self) -> None:
        """Read until the supervisor is gone, a limit is passed, or time is up."""
        with selectors.DefaultSelector() as selector:
            for name in ("stdout", "stderr"):
                selector.register(getattr(self.process, name), selectors.EVENT_READ, name)
            selector.register(self.report, selectors.EVENT_READ, "report")
            # init's report alone is the end: a program may close its output and live on; all that
            # it printed is then in the pipes, each of which holds no more than one read
            while self.is_under_way:
                ready = selector.select(max(0.0, self.deadline - time.monotonic()))
                if not ready and time.monotonic() >= self.deadline:
                    self.stopped = "timeout"
                    return
                for key, _ in ready:
                    if not self._receive(key.data, os.read(key.fd, 1 << 16)):
                        selector.unregister(key.fileobj)
                if self.output_left < 0:
                    self.stopped = "output"
                    return

    def _receive(self, name: str, data: bytes) -> bool:
        if name == "report":
            self.reported += data
            self.is_under_way = bool(data) and not data.endswith(b"\n")
        else:
            self.output_left -= len(data)
            self.tails[name] = (self.tails[name] + data)[-_TAIL:]
        return bool(data)

    def end(self) -> None:
        """Kill what is left, and reap it."""
        self.process.terminate()
        try:
            self.process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            # its namespace's first process asked to be killed when it dies
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def facts(self) -> dict[str, Any]:
        """What the inside said of itself: why it could not start, or how the program ended."""
        facts: dict[str, Any] = json.loads(self.reported or "{}")
        return facts


def _run(program: str, limits: Limits, *, folder: str) -> Outcome:
    token = secrets.token_hex(16)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        report, report_end = _pipe(stack)
        done, done_end = _pipe(stack)
        order = {
            "program": program,
            "token": token,
            "parent": os.getpid(),
            "folder": folder,
            "report": report_end.fileno(),
            "done": done_end.fileno(),
            "cpu_seconds": limits.cpu_seconds,
            "memory_bytes": limits.memory_bytes,
            "disk_bytes": limits.disk_bytes,
            "num_processes": limits.num_processes,
        }
        process = stack.enter_context(_started((report_end.fileno(), done_end.fileno())))
        run = _Run(process, report.fileno(), started + limits.wall_seconds, limits.output_bytes)
        try:
            report_end.close()
            done_end.close()
            _send(process, order)
            run.watch()
        finally:
            run.end()
        # where nothing isolates it, a process of the program's may live on and hold its end open
        os.set_blocking(done.fileno(), False)
        is_done = done.read(len(token) + 1) == token.encode()
    return _outcome(run, limits, is_done, time.monotonic() - started, not folder)


def _pipe(stack: contextlib.ExitStack) -> tuple[Any, Any]:
    reader, writer = os.pipe()
    return (
        stack.enter_context(os.fdopen(reader, "rb", buffering=0)),
        stack.enter_context(os.fdopen(writer, "wb", buffering=0)),
    )


def _started(kept: tuple[int, int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-X", "utf8", str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        pass_fds=kept,
        start_new_session=True,
    )


def _send(process: subprocess.Popen[bytes], order: dict[str, Any]) -> None:
    assert process.stdin
    # a child that died before it read says why on its standard error
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
        stdin.write(json.dumps(order).encode())


def _outcome(
    run: _Run, limits: Limits, is_done: bool, seconds: float, is_isolated: bool
) -> Outcome:
    facts = run.facts()
    stderr = run.tails["stderr"].decode("utf-8", "replace")
    if "missing" in facts:
        raise _NoIsolation(facts["missing"])
    if not run.stopped and run.process.returncode != 0 and is_isolated:
        raise EvaluatorError(f"the sandbox broke: {stderr.strip() or run.process.returncode}")
    return Outcome(
        status=run.stopped or _status(facts, limits, is_done, stderr),
        exit_code=None if run.stopped else facts.get("exit_code"),
        stdout=run.tails["stdout"].decode("utf-8", "replace"),
        stderr=stderr,
        seconds=seconds,
        is_isolated=is_isolated,
    )


def _status(facts: dict[str, Any], limits: Limits, is_done: bool, stderr: str) -> Status:
    code = facts.get("exit_code", -signal.SIGKILL)
    if code == 0:
        return "passed" if is_done else "failed"
    if code > 0:
        last = stderr.rstrip().rpartition("\n")[2]
        return "memory" if last.startswith("MemoryError") else "failed"
    is_spent = facts.get("cpu_seconds", 0.0) >= limits.cpu_seconds
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and is_spent):
        return "timeout"
    return "killed"
