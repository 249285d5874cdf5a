"""The sandbox: what hostile programs cannot do, and what is said of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forethought.errors import ConfigError, EvaluatorError
from forethought.evaluators import sandbox, sandbox_child
from forethought.evaluators.sandbox import Limits, Outcome, Sandbox

MIB = 1 << 20
LIMITS = Limits(wall_seconds=20.0, cpu_seconds=5)


def is_isolated() -> bool:
    try:
        return Sandbox().run("pass").status == "passed"
    except EvaluatorError:
        return False


isolated = pytest.mark.skipif(not is_isolated(), reason="this system grants no namespaces")


def run(program: str, **limits: Any) -> Outcome:
    return Sandbox(replace(LIMITS, **limits)).run(textwrap.dedent(program))


def survivors(marker: str) -> list[str]:
    """Command lines of living processes that name `marker`; forks keep that of their parent."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if marker in line:
                found.append(line)
    return found


@pytest.fixture(autouse=True)
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The child as a file of this test's own, by which its processes are known; every test ends
    with none of them left, and with no more open files than before."""
    own = tmp_path / "own_child.py"
    own.write_text(Path(sandbox_child.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(sandbox, "_CHILD", own)
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir())) if open_files.is_dir() else 0
    yield own
    if before:
        assert survivors(str(own)) == []
        assert len(list(open_files.iterdir())) == before


# What is said of programs


@isolated
def test_a_program_that_runs_to_its_end_has_passed() -> None:
    outcome = run("import sys; print('out'); print('err', file=sys.stderr)")
    assert (outcome.status, outcome.exit_code, outcome.is_isolated) == ("passed", 0, True)
    assert (outcome.stdout, outcome.stderr) == ("out\n", "err\n")
    assert 0.0 < outcome.seconds < LIMITS.wall_seconds


@isolated
def test_an_exception_fails_with_a_traceback_of_the_program_alone() -> None:
    outcome = run("def half(x):\n    return x / 0\n\nhalf(1)\n")
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert "return x / 0" in outcome.stderr
    assert "ZeroDivisionError" in outcome.stderr
    assert "sandbox_child" not in outcome.stderr


@isolated
def test_text_that_is_no_program_fails() -> None:
    outcome = run("This is prose, no program.")
    assert outcome.status == "failed"
    assert "SyntaxError" in outcome.stderr


@isolated
@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise SystemExit",
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'passed')\n"
        "    except OSError: pass\nos._exit(0)",
        "import os\nif os.fork() == 0:\n    os._exit(0)\nos.wait(); os._exit(0)",
    ],
)
def test_leaving_early_with_exit_code_0_has_not_passed(program: str) -> None:
    outcome = Sandbox(LIMITS).run(program)
    assert (outcome.status, outcome.exit_code) == ("failed", 0)


@isolated
def test_a_program_that_writes_more_than_the_token_has_not_passed() -> None:
    outcome = run(
        """
        import atexit, os, stat, threading
        for fd in range(3, 256):
            try:
                is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
            except OSError:
                continue
            if is_pipe:
                os.write(fd, b"x" * 32)
        """
    )
    assert outcome.status == "failed"
    assert outcome.exit_code == 0


@isolated
def test_dataclasses_and_enums_and_recursion_work_as_in_a_script() -> None:
    outcome = run(
        """
        from __future__ import annotations
        import enum, pickle
        from dataclasses import dataclass

        @dataclass
        class Point:
            x: int

        class Colour(enum.Enum):
            RED = 1

        assert __name__ == "__main__"
        assert pickle.loads(pickle.dumps(Point(3))) == Point(3)
        assert input.__name__ == "input"
        try:
            input()
        except EOFError:
            print("no input")
        """
    )
    assert outcome.status == "passed", outcome.stderr
    assert outcome.stdout == "no input\n"


@isolated
def test_a_tail_of_a_long_output_is_kept() -> None:
    outcome = run("for i in range(20000): print(i)")
    assert outcome.status == "passed"
    assert len(outcome.stdout) == 4096
    assert outcome.stdout.endswith("\n19999\n")


@isolated
def test_a_program_that_kills_itself_was_killed() -> None:
    outcome = run("import os; os.kill(os.getpid(), 9)")
    assert (outcome.status, outcome.exit_code) == ("killed", -9)


@isolated
def test_a_crash_of_the_interpreter_was_killed() -> None:
    outcome = run("import ctypes; ctypes.string_at(0)")
    assert (outcome.status, outcome.exit_code) == ("killed", -11)


@isolated
def test_programs_run_side_by_side() -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(Sandbox(LIMITS).run, [f"print({i})" for i in range(16)]))
    assert [outcome.stdout for outcome in outcomes] == [f"{i}\n" for i in range(16)]
    assert {outcome.status for outcome in outcomes} == {"passed"}


# Limits


@isolated
def test_an_endless_loop_runs_out_of_cpu_time() -> None:
    outcome = run("while True: pass", cpu_seconds=1)
    assert outcome.status == "timeout"
    assert outcome.exit_code == -24


@isolated
def test_an_endless_loop_that_ignores_signals_is_killed_a_second_later() -> None:
    outcome = run(
        """
        import signal
        for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:
                pass
        print("ignoring", flush=True)
        while True: pass
        """,
        cpu_seconds=1,
    )
    assert outcome.stdout == "ignoring\n"
    assert (outcome.status, outcome.exit_code) == ("timeout", -9)


@isolated
def test_sleep_runs_out_of_wall_time_also_with_its_output_closed() -> None:
    began = time.monotonic()
    outcome = run("import os, time; os.close(1); os.close(2); time.sleep(60)", wall_seconds=1.0)
    assert (outcome.status, outcome.exit_code) == ("timeout", None)
    assert time.monotonic() - began < 10.0


@isolated
def test_a_stopped_program_runs_out_of_wall_time() -> None:
    outcome = run("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", wall_seconds=1.0)
    assert outcome.status == "timeout"


@isolated
def test_ten_gigabytes_are_too_much_memory() -> None:
    outcome = run("x = bytearray(10 * 2**30)")
    assert (outcome.status, outcome.exit_code) == ("memory", 1)
    small = run("x = bytearray(64 * 2**20)")
    assert small.status == "passed"


@isolated
def test_a_flood_of_output_is_cut_off() -> None:
    outcome = run("while True: print('x' * 1000)", output_bytes=MIB)
    assert (outcome.status, outcome.exit_code) == ("output", None)
    errors = run("import os\nwhile True: os.write(2, b'x' * 1000)", output_bytes=MIB)
    assert errors.status == "output"


@isolated
def test_a_huge_file_cannot_be_written_nor_many_small_ones() -> None:
    huge = run(
        """
        with open("huge", "wb") as file:
            while True:
                file.write(bytes(2**20))
        """
    )
    assert huge.status == "failed"
    assert "OSError" in huge.stderr
    many = run(
        """
        for number in range(100):
            with open(str(number), "wb") as file:
                file.write(bytes(2**20))
        """
    )
    assert many.status == "failed"
    assert "No space left" in many.stderr


@isolated
def test_a_fork_bomb_is_held_to_its_number_and_dies() -> None:
    outcome = run(
        """
        import os, time
        made = 0
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(60)
                made += 1
            except OSError:
                break
        print(made)
        """,
        num_processes=8,
    )
    assert outcome.status == "passed"
    assert int(outcome.stdout) == 7
    bomb = run("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", wall_seconds=2.0)
    assert bomb.status == "timeout"


@isolated
def test_a_daemon_does_not_outlive_its_program(child: Path) -> None:
    outcome = run(
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(3600)
            os._exit(0)
        os.wait()
        print("left behind", flush=True)
        """
    )
    assert outcome.status == "passed"
    assert outcome.seconds < 10.0
    assert survivors(str(child)) == []  # a fork keeps the command line


# What a program cannot reach


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the machine's permissions let anyone write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@isolated
def test_files_outside_can_be_neither_seen_nor_deleted_nor_written(open_folder: Path) -> None:
    canary = open_folder / "canary"
    canary.write_text("alive", encoding="utf-8")
    canary.chmod(0o666)
    outcome = run(
        f"""
        import os, shutil
        tries = [
            lambda: os.remove({str(canary)!r}),
            lambda: open({str(canary)!r}).read(),
            lambda: open({str(canary)!r}, "w"),
            lambda: shutil.rmtree({str(open_folder)!r}),
            lambda: open("/etc/passwd").read(),
            lambda: open("/proc/1/environ").read(),
            lambda: os.remove(os.__file__),
            lambda: open(os.__file__, "a"),
            lambda: os.chmod(os.__file__, 0o777),
            lambda: os.utime(os.__file__),
            lambda: open("/written", "w"),
            lambda: os.mkdir("/usr/made"),
        ]
        for number, attempt in enumerate(tries):
            try:
                attempt()
            except OSError:
                continue
            print("succeeded", number)
        shutil.rmtree(os.path.dirname(os.__file__) + "/json", ignore_errors=True)
        """
    )
    assert (outcome.status, outcome.stdout) == ("passed", "")
    assert canary.read_text(encoding="utf-8") == "alive"
    assert Path(json.__file__).is_file()


@isolated
def test_a_program_begins_in_an_empty_folder_that_no_other_run_sees() -> None:
    program = """
        import os
        print(os.listdir("."))
        with open("mine", "w") as file:
            file.write("text")
        assert open("mine").read() == "text"
        """
    assert run(program).stdout == "[]\n"
    assert run(program).stdout == "[]\n"


@isolated
def test_nothing_of_the_environment_or_of_open_files_is_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_SECRET", "hunter2")
    (tmp_path / "secret").write_text("hunter2", encoding="utf-8")
    with (tmp_path / "secret").open(encoding="utf-8") as secret:
        os.set_inheritable(secret.fileno(), True)
        outcome = run(
            """
            import os, stat, sys
            print(sorted(os.environ), sys.argv)
            for fd in range(4096):
                try:
                    mode = os.fstat(fd).st_mode
                except OSError:
                    continue
                if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISSOCK(mode):
                    print("open", fd)
            """
        )
    assert outcome.status == "passed"
    assert "CANARY" not in outcome.stdout
    assert "open" not in outcome.stdout


@isolated
def test_no_connection_is_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        outcome = run(
            f"""
            import socket
            for family, address in [
                (socket.AF_INET, ("127.0.0.1", {port})),
                (socket.AF_INET6, ("::1", {port})),
                (socket.AF_INET, ("192.0.2.1", 80)),
            ]:
                try:
                    with socket.socket(family) as client:
                        client.settimeout(2)
                        client.connect(address)
                    print("connected", address)
                except OSError as error:
                    print(type(error).__name__)
            """
        )
        with pytest.raises(TimeoutError):
            server.accept()
    assert outcome.status == "passed"
    assert "connected" not in outcome.stdout


@isolated
def test_killing_every_process_in_sight_ends_the_program_alone() -> None:
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        outcome = run(
            f"""
            import os, sys
            # a safeguard of the test: kill nothing unless in a namespace of one's own
            if os.getpid() > 10:
                print("sees the machine")
                sys.exit(1)
            for pid in [os.getppid(), {os.getpid()}, {victim.pid}, 1, *range(3, 70000), -1]:
                try:
                    os.kill(pid, 9)
                    print("killed", pid)
                except OSError:
                    pass
            """
        )
        assert outcome.status == "passed"
        assert "sees" not in outcome.stdout
        for pid in (os.getpid(), victim.pid):
            assert f"killed {pid}\n" not in outcome.stdout
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


@isolated
def test_a_program_has_no_rights_and_cannot_get_any() -> None:
    outcome = run(
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        assert os.getuid() != 0 and os.geteuid() != 0
        for flag in (0x10000000, 0x00020000, 0x40000000):
            assert libc.unshare(flag) == -1
        assert libc.mount(b"tmpfs", b"/sandbox", b"tmpfs", 0, b"") == -1
        assert libc.umount2(b"/sandbox", 2) == -1
        assert libc.prctl(39, 0, 0, 0, 0) == 1, "no new privileges"
        assert libc.chroot(b"/sandbox") == -1
        for call in (os.setuid, os.setgid):
            try:
                call(0)
            except OSError:
                continue
            raise AssertionError(call)
        """
    )
    assert outcome.status == "passed", outcome.stderr


@isolated
def test_a_program_dies_when_its_caller_is_killed(child: Path) -> None:
    code = (
        "from pathlib import Path; from forethought.evaluators import sandbox; "
        f"sandbox._CHILD = Path({str(child)!r}); "
        "limits = sandbox.Limits(wall_seconds=600); "
        "sandbox.Sandbox(limits).run('import time; time.sleep(600)')"
    )
    caller = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60.0
    # the supervisor, the namespace's first process and the program; the caller names it too
    while len(survivors(str(child))) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(survivors(str(child))) == 4
    caller.kill()
    caller.wait()
    while survivors(str(child)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert survivors(str(child)) == []


# Where there is no isolation


@isolated
def test_inside_a_sandbox_there_is_no_isolation_to_be_had() -> None:
    source = Path(sandbox_child.__file__).read_text(encoding="utf-8")
    cut = source.partition('if __name__ == "__main__":')[0]
    outcome = run(cut + "\ntry:\n    isolate(4096)\nexcept OSError as error:\n    print(error)\n")
    assert outcome.status == "passed", outcome.stderr
    assert "unshare" in outcome.stdout


@pytest.fixture
def refusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that finds no isolation, as on a system that grants none."""
    source = Path(sandbox_child.__file__).read_text(encoding="utf-8")
    wanted = '_call("unshare", _NEW_REST)'
    assert wanted in source
    child = tmp_path / "child.py"
    refusal = 'raise OSError("unshare: Operation not permitted")'
    unmapped = '_call("unshare", _NEW_USER | _NEW_REST)'
    child.write_text(source.replace(wanted, refusal).replace(unmapped, refusal), encoding="utf-8")
    monkeypatch.setattr(sandbox, "_CHILD", child)


@pytest.mark.usefixtures("refusing")
def test_without_isolation_nothing_is_run_and_the_error_says_what_is_missing() -> None:
    with pytest.raises(EvaluatorError, match="unshare: Operation not permitted"):
        Sandbox(LIMITS).run("print(1)")


@pytest.mark.usefixtures("refusing")
def test_weak_isolation_runs_under_limits_and_says_so() -> None:
    weak = Sandbox(replace(LIMITS, cpu_seconds=1), allow_weak_isolation=True)
    outcome = weak.run("import os; print(os.listdir('.')); open('mine', 'w').close()")
    assert (outcome.status, outcome.is_isolated, outcome.stdout) == ("passed", False, "[]\n")
    assert weak.run("1 / 0").status == "failed"
    assert weak.run("import os; os._exit(0)").status == "failed"
    assert weak.run("while True: pass").status == "timeout"
    assert weak.run("x = bytearray(10 * 2**30)").status == "memory"
    asleep = replace(weak, limits=replace(LIMITS, wall_seconds=1.0))
    assert asleep.run("import time; time.sleep(60)").status == "timeout"


def test_a_child_that_cannot_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "child.py"
    broken.write_text("raise RuntimeError('no interpreter here')", encoding="utf-8")
    monkeypatch.setattr(sandbox, "_CHILD", broken)
    with pytest.raises(EvaluatorError, match="no interpreter here"):
        Sandbox(LIMITS).run("print(1)")


# Settings


@pytest.mark.parametrize(
    "settings",
    [
        {"wall_seconds": 0.0},
        {"wall_seconds": float("nan")},
        {"cpu_seconds": 0},
        {"memory_bytes": 1000},
        {"disk_bytes": 0},
        {"num_processes": 0},
        {"output_bytes": 0},
    ],
)
def test_limits_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        replace(Limits(), **settings)  # type: ignore[arg-type]


def test_a_program_of_more_than_a_mebibyte_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 MiB"):
        Sandbox().run("#" * (MIB + 1))
