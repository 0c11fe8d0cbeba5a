"""Which process is which (a pid alone is used again), and how one process of ours starts another."""

from __future__ import annotations

import getpass
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

#: prctl(2): the signal a child gets when its parent dies.
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ProcessId:
    """One process for ever: its host, boot, pid namespace, pid and start (clock ticks after boot)."""

    pid: int
    start_ticks: int
    boot_id: str
    pid_namespace: str
    host: str


def boot_id() -> str:
    """The kernel's id of this boot, "" where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat (proc(5)); None when there is no such process or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def user_name() -> str:
    """Who runs this process, for people; "uid1000" for a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}"


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def this_process() -> ProcessId:
    """The process that asks."""
    pid = os.getpid()
    return ProcessId(pid, start_ticks(pid) or 0, boot_id(), _pid_namespace(), os.uname().nodename)


def lives(process: ProcessId) -> bool | None:
    """Whether ``process`` still runs; None when that cannot be told from here (other host or container)."""
    here = this_process()
    if process.host != here.host:
        return None
    if process.boot_id != here.boot_id:
        return False
    if process.pid_namespace != here.pid_namespace:
        return None
    return start_ticks(process.pid) == process.start_ticks


def python_command(module: str) -> list[str]:
    """How a module of ours is run: this interpreter, the current folder not on its path."""
    return [sys.executable, "-P", "-m", module]


def importable(ours: Mapping[str, str]) -> dict[str, str]:
    """The environment ``ours`` in which a child finds this package first, wherever we ourselves got it from."""
    root = str(Path(__file__).resolve().parent.parent.parent)
    rest = ours.get("PYTHONPATH", "")
    return {**ours, "PYTHONPATH": root + (os.pathsep + rest if rest else "")}


def die_with(parent: int) -> Callable[[], None]:
    """A ``preexec_fn``: the kernel kills the child when the thread of process ``parent`` that forks it ends."""
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above took effect
            os._exit(1)

    return bind
