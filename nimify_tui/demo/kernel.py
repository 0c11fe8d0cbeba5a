"""What the demo asks of Linux so that it leaves nothing behind: proc(5), prctl(2), pidfds."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nimify_tui.base.process import die_with

_PR_SET_CHILD_SUBREAPER = 36

#: In the environment of every process of a demo, with the demo's id.
MARK = "NIMIFY_DEMO_ID"


def adopt_orphans() -> None:
    """From now on every descendant whose parent ends becomes our child (also one with a session of its own)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def start(command: Sequence[str], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A child that the kernel kills when we die, whatever state it is in; its output goes to ``log``."""
    with open(log, "ab") as file:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=dict(env),
            # Called by the warden, which has one thread for its whole life: the child is bound to the process.
            preexec_fn=die_with(os.getpid()),  # noqa: PLW1509  see above
        )


def descendants(root: int) -> list[int]:
    """Every living process below ``root``, children before parents' later ones; zombies are left out."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat(pid)
        if fields and fields[0] not in {"Z", "X"}:
            children.setdefault(int(fields[1]), []).append(pid)
    found, ahead = [], [root]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def marked(demo: str) -> list[int]:
    """Living processes of this user, other than this one, that carry the demo's mark."""
    needle = f"{MARK}={demo}".encode()
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if needle in words and pid != os.getpid() and (_stat(pid) or ["X"])[0] not in {"Z", "X"}:
                found.append(pid)
    return found


def kill(pids: Sequence[int]) -> None:
    """SIGKILL; it also ends stopped processes."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def reap() -> None:
    """Take note of every child that has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent ...; empty when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
