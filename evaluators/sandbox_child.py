"""The inner half of `sandbox`: a script of its own that fences itself in and runs a program.

Three processes, because a process namespace needs a first process of its own: the supervisor stays
outside and ends everything when told to; `init` is the namespace's first process, whose end kills
all others in it; the program is what is not trusted. It imports nothing of Forethought, only the
standard library: it runs under `python -I -S`.
"""

from __future__ import annotations

import ctypes
import json
import linecache
import os
import resource
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

NAME = "program.py"
WORKPLACE = "/sandbox"
NOBODY = 65534

# linux/sched.h, linux/mount.h, linux/prctl.h
_NEW_USER = 0x10000000
_NEW_REST = 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000  # ns pid net ipc uts
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Order:
    """What the caller wants, read from standard input as JSON.

    `folder` is the program's working directory where only weak isolation can be had, empty where
    namespaces isolate it. `report` and `done` are file descriptors: what became of the program is
    written to the one by `init`, `token` to the other once the program has run to its end.
    """

    program: str
    token: str
    parent: int
    folder: str
    report: int
    done: int
    cpu_seconds: int
    memory_bytes: int
    disk_bytes: int
    num_processes: int


def supervise(order: Order) -> None:
    """Isolate, start `init`, wait for its end or a SIGTERM, and leave nothing behind."""
    watched = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    _die_with_parent(signal.SIGTERM)
    if os.getppid() != order.parent:
        return
    try:
        if order.folder:
            os.chdir(order.folder)
        else:
            isolate(order.disk_bytes)
    except OSError as error:
        _tell(order.report, missing=str(error))
        return
    init = os.fork()
    if not init:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
        be_init(order)
    if signal.sigwait(watched) == signal.SIGTERM:
        os.kill(init, signal.SIGKILL)
    os.waitpid(init, 0)
    if order.folder:
        os.killpg(0, signal.SIGKILL)


def isolate(disk_bytes: int) -> None:
    """Leave this machine's processes, network and files behind, for children and for itself.

    Raises:
        OSError: the system forbids it; the message names the call.
    """
    if sys.platform != "linux":
        raise OSError("namespaces are a feature of Linux")
    if os.geteuid() == 0:
        _call("unshare", _NEW_REST)
    else:
        user, group = os.geteuid(), os.getegid()
        _call("unshare", _NEW_USER | _NEW_REST)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    _change_root(_visible(), disk_bytes)


def be_init(order: Order) -> NoReturn:
    """Start the program, bury orphans, report how the program ended, and end all with it."""
    _die_with_parent(signal.SIGKILL)
    program = os.fork()
    if not program:
        be_program(order)
    while True:
        ended, status, usage = os.wait4(-1, 0)
        if ended == program:
            break
    code = os.waitstatus_to_exitcode(status)
    _tell(order.report, exit_code=code, cpu_seconds=usage.ru_utime + usage.ru_stime)
    os._exit(0)


def be_program(order: Order) -> NoReturn:
    """Give up every right, run the program, and say so if it reaches its end."""
    try:
        _confine(order)
    except (OSError, ValueError) as error:
        _tell(order.report, missing=str(error))
        os._exit(1)
    os.close(order.report)
    sys.excepthook = _print_own_frames
    sys.argv = [NAME]
    # dataclasses and pickle look a class's module up by name
    module = sys.modules["__main__"] = ModuleType("__main__")
    linecache.cache[NAME] = (len(order.program), None, order.program.splitlines(True), NAME)
    exec(compile(order.program, NAME, "exec"), module.__dict__)  # noqa: S102 - what all this is for
    sys.stdout.flush()
    os.write(order.done, order.token.encode())
    os._exit(0)


def _visible() -> dict[str, str]:
    """What an interpreter needs to import its standard library: real path by the name it has."""
    found: dict[str, str] = {}
    for name in ("/usr", "/lib", "/lib64", sys.base_prefix):
        inside = any(name == other or name.startswith(other + "/") for other in found)
        if not inside and Path(name).is_dir():
            found[name] = os.path.realpath(name)
    return found


def _change_root(visible: dict[str, str], disk_bytes: int) -> None:
    """Make the root a read-only one with nothing but `visible`, and an empty working directory."""
    mount = "/tmp"  # noqa: S108 - it is mounted over in this namespace and never written to
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", mount, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
    old = f"{mount}/old"
    Path(old).mkdir()
    _call("pivot_root", mount.encode(), old.encode())
    os.chdir("/")
    for name, real in visible.items():
        Path(name).mkdir(parents=True)
        _mount("/old" + real, name, None, _MS_BIND | _MS_REC)
    Path(WORKPLACE).mkdir()
    _call("umount2", b"/old", _MNT_DETACH)
    Path("/old").rmdir()
    _make_read_only("/")
    options = f"mode=777,size={disk_bytes},nr_inodes=1024"
    _mount("tmpfs", WORKPLACE, "tmpfs", _MS_NOSUID | _MS_NODEV, options)
    os.chdir(WORKPLACE)


def _make_read_only(path: str) -> None:
    """The whole tree below `path`, mounts within mounts too, which mount(2) cannot do."""
    attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
    _call(
        "syscall",
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_long(_AT_FDCWD),
        path.encode(),
        ctypes.c_long(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def _confine(order: Order) -> None:
    """Give up root, capabilities and the way to get them back, and set the limits."""
    if os.geteuid() == 0:
        if order.folder:
            os.chown(order.folder, NOBODY, NOBODY)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    if not order.folder:
        # a user namespace without a mapping counts its own processes against RLIMIT_NPROC, and the
        # kernel lets nobody make another namespace from within it
        _call("unshare", _NEW_USER)
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        _call("capset", header, (ctypes.c_uint32 * 6)())
    if sys.platform == "linux":
        _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if order.folder:
            _die_with_parent(signal.SIGKILL)
    for what, limit in _limits(order).items():
        allowed = resource.getrlimit(what)[1]
        # beyond its CPU time a program gets SIGXCPU, a second later SIGKILL
        hard = limit + 1 if what == resource.RLIMIT_CPU else limit
        if allowed != resource.RLIM_INFINITY:
            hard = min(hard, allowed)
        resource.setrlimit(what, (min(limit, hard), hard))


def _limits(order: Order) -> dict[int, int]:
    limits = {
        resource.RLIMIT_CPU: order.cpu_seconds,
        resource.RLIMIT_FSIZE: order.disk_bytes,
        resource.RLIMIT_NPROC: order.num_processes,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform != "darwin":  # whose kernel refuses to limit address space
        limits[resource.RLIMIT_AS] = order.memory_bytes
    return limits


def _print_own_frames(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """A traceback that begins in the program."""
    while trace and trace.tb_frame.f_code.co_filename != NAME:
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)


def _die_with_parent(number: signal.Signals) -> None:
    if sys.platform == "linux":
        _call("prctl", _PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    encoded = kind.encode() if kind else None
    _call("mount", source.encode(), target.encode(), encoded, flags, options.encode())


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _tell(report: int, **facts: str | float) -> None:
    os.write(report, json.dumps(facts).encode() + b"\n")


def main() -> None:
    """Read the order, and leave the program a standard input with nothing in it."""
    order = Order(**json.load(sys.stdin))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    supervise(order)


if __name__ == "__main__":
    main()
