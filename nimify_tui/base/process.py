"""Which process is which: a pid alone is used again, a pid with its start time and boot is not."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path


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
