"""Replica processes: started, adopted, watched and ended by what the kernel says, never by a bare pid."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nimify_tui.base.process import boot_id, die_with, importable, start_ticks


@dataclass(frozen=True)
class Ended:
    """How a process ended; ``seen`` False: nobody watched, so neither code nor signal is known."""

    seen: bool
    code: int | None = None
    signal: str | None = None


@dataclass(frozen=True)
class Start:
    """A process to be started. ``log`` takes stdout and stderr; ``fds`` are handed on under their numbers."""

    command: Sequence[str]
    log: Path
    fds: Sequence[int]
    cwd: Path
    memory_bytes: int = 0
    dies_with_us: bool = False


class Watched:
    """One living process, a child or an adopted one; :attr:`ended` becomes true when it ends.

    Signals go through a pidfd (pidfd_open(2)), so they can never reach another process that got the
    same pid. For an adopted process the kernel tells nobody but its parent how it ended.
    """

    def __init__(self, pid: int, ticks: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.start_ticks = ticks
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._child = child
        self._pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_end)

    @property
    def adopted(self) -> bool:
        """True when another supervisor started it."""
        return self._child is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def duplicate_fd(self, number: int) -> int:
        """A copy of the process's file descriptor ``number`` (pidfd_getfd(2)). Raises OSError."""
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        found = int(libc.syscall(438, self._pidfd, number, 0))
        if found < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return found

    def release(self) -> None:
        """Stop watching; the process goes on."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._child is not None and self._child.returncode is None:
            self._child.returncode = 0  # it outlives us on purpose: subprocess must not warn about it

    def _on_end(self) -> None:
        ended = Ended(seen=False)
        if self._child is not None:
            code = self._child.poll()
            if code is None:  # the pidfd speaks when the last thread is gone; the status follows at once
                asyncio.get_running_loop().call_later(0.005, self._on_end)
                return
            ended = Ended(True, code, None) if code >= 0 else Ended(True, None, signal_name(-code))
        self.release()
        if not self.ended.done():
            self.ended.set_result(ended)


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def start(what: Start) -> Watched:
    """Start a process in a session of its own. Raises OSError when that cannot be done."""
    handle = os.open(what.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        child = subprocess.Popen(
            list(what.command),
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            pass_fds=tuple(what.fds),
            cwd=what.cwd,
            env={**importable(os.environ), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            # Only a demo pays for this; the loop's thread forks, and it lives as long as the process.
            preexec_fn=die_with(os.getpid()) if what.dies_with_us else None,  # noqa: PLW1509  see above
        )
    finally:
        os.close(handle)
    if what.memory_bytes:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(child.pid, resource.RLIMIT_AS, (what.memory_bytes, what.memory_bytes))
    return Watched(child.pid, start_ticks(child.pid) or 0, child)


def adopt(pid: int, ticks: int, boot: str) -> Watched | None:
    """Watch a process that an earlier supervisor started; None when it is gone (or the pid is another's)."""
    if boot != boot_id() or start_ticks(pid) != ticks:
        return None
    try:
        watched = Watched(pid, ticks)
    except ProcessLookupError:
        return None
    if start_ticks(pid) != ticks:  # it ended, and the pid was given away, between the two lines above
        watched.release()
        return None
    return watched


def run_state(pid: int) -> str:
    """The state letter of proc(5): ``T`` stopped by a signal, ``t`` by a tracer, ``""`` gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return chr(stat[stat.rindex(b")") + 2])


def find_by_argument(argument: str) -> int | None:
    """The pid of this user's process that has ``argument`` on its command line."""
    needle = argument.encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            if needle in words and os.stat(f"/proc/{name}").st_uid == os.getuid():
                return int(name)
    return None


def oom_kills() -> int:
    """How often the kernel's out-of-memory killer has struck on this machine (``oom_kill`` of /proc/vmstat)."""
    with contextlib.suppress(OSError), open("/proc/vmstat", encoding="ascii") as file:
        for line in file:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def listening_fd(pid: int, port: int) -> int | None:
    """The number under which ``pid`` holds the socket that listens on 127.0.0.1:``port``; None if it has none."""
    inodes = _listening_inodes(pid, port)
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}") in inodes:
                    return int(name)
    return None


def _listening_inodes(pid: int, port: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError), open(f"/proc/{pid}/net/tcp", encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
                found.add(f"socket:[{fields[9]}]")
    return found


def receive_fd(path: str, timeout_s: float) -> socket.socket:
    """Ask a replica's control socket for the listening socket. Raises OSError (also for a timeout)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(timeout_s)
        control.connect(path)
        control.sendall(b"listener\n")
        _, fds, _, _ = socket.recv_fds(control, 64, 4, socket.MSG_CMSG_CLOEXEC)
    if not fds:
        raise ConnectionError("the replica sent no socket")
    for extra in fds[1:]:
        os.close(extra)
    return socket.socket(fileno=fds[0])
