"""What tests of all rooms share: waiting with a deadline, short private homes, and ending what was started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

REPO = Path(__file__).resolve().parent.parent
PYTHON = sys.executable

_WAKE = threading.Event()  # never set: waiting on it is a pause that a deadline always ends


def wait_for(
    probe: Callable[[], T | None],
    deadline_s: float = 10.0,
    *,
    why: str = "",
    every_s: float = 0.02,
    detail: Callable[[], object] | None = None,
) -> T:
    """Ask ``probe`` until its answer is truthy and return that answer.

    Raises AssertionError after ``deadline_s`` with ``why``, the last answer and what ``detail()`` says.
    For what runs in other threads and processes; inside one thread a test steps its clock instead.
    """
    end = time.monotonic() + deadline_s
    while not (answer := probe()):
        if time.monotonic() > end:
            more = f"; {detail()}" if detail is not None else ""
            raise AssertionError(f"{why or 'condition'}: not within {deadline_s} s (last answer: {answer!r}){more}")
        _WAKE.wait(every_s)
    return answer


def freeze(pid: int, deadline_s: float = 30.0) -> None:
    """SIGSTOP, and wait until it has stopped: until then a thread of it may still answer."""
    os.kill(pid, signal.SIGSTOP)

    def still() -> bool:
        states = []
        for each in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has just ended
                states.append((each / "stat").read_text(errors="replace").rpartition(")")[2].split()[0])
        return set(states) == {"T"}

    wait_for(still, deadline_s, why=f"process {pid} to stop")


def wait_until_dead(pid: int, deadline_s: float = 10.0) -> None:
    """Wait until the process ``pid`` is gone or a zombie."""
    wait_for(lambda: not alive(pid), deadline_s, why=f"end of process {pid}")


def alive(pid: int) -> bool:
    """Whether ``pid`` exists and is no zombie (read from /proc, so it also works for strangers' children)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def processes_naming(needle: str) -> list[int]:
    """Pids of living processes whose command line or environment holds ``needle``: what a test left behind.

    The needle is a private folder of the test (see :func:`private_home`), so nothing else can match;
    Python's own helpers (resource tracker, fork server), which live as long as this process, are left out.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if not command:  # one of the kernel's own, or ended
                continue
            text = command + b"\0" + (entry / "environ").read_bytes()
            if needle.encode() in text and b"multiprocessing." not in text and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


@dataclass(frozen=True)
class Home:
    """A private home on a short path (a unix socket's path has 107 bytes at most)."""

    root: Path

    @property
    def state(self) -> Path:
        """``$XDG_STATE_HOME``."""
        return self.root / "s"

    @property
    def config(self) -> Path:
        """``$XDG_CONFIG_HOME``."""
        return self.root / "c"

    @property
    def runtime(self) -> Path:
        """``$XDG_RUNTIME_DIR``."""
        return self.root / "r"

    @property
    def env(self) -> dict[str, str]:
        """The variables that point into this home; merge them over an environment."""
        return {
            "HOME": str(self.root / "h"),
            "XDG_STATE_HOME": str(self.state),
            "XDG_CONFIG_HOME": str(self.config),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_CACHE_HOME": str(self.root / "k"),
            "XDG_DATA_HOME": str(self.root / "d"),
        }


def make_home() -> Home:
    """A new private home; the caller removes ``root``. :func:`private_home` does both."""
    home = Home(Path(tempfile.mkdtemp(prefix="nt-", dir="/tmp")))
    for folder in home.env.values():
        Path(folder).mkdir(mode=0o700)
    return home


@contextlib.contextmanager
def private_home(*, kill_leftovers: bool = True) -> Iterator[Home]:
    """A private home for one test; what still runs in it at the end is killed, and the folder removed."""
    home = make_home()
    try:
        yield home
    finally:
        if kill_leftovers:
            for pid in processes_naming(str(home.root)):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(home.root, ignore_errors=True)


def run_cli(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    deadline_s: float = 60.0,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``nimify-tui ARGUMENTS`` from the source tree without a terminal; never raises for the exit code."""
    return run_python("-m", "nimify_tui", *arguments, env=env, stdin=stdin, deadline_s=deadline_s, cwd=cwd)


def run_python(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    deadline_s: float = 60.0,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run this Python with ``arguments``, the source tree importable, output captured."""
    full = {**os.environ, "PYTHONPATH": str(REPO), **(env or {})}
    return run_command([PYTHON, *arguments], env=full, stdin=stdin, deadline_s=deadline_s, cwd=cwd or REPO)


def run_command(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    deadline_s: float = 60.0,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with captured text output and no terminal."""
    return subprocess.run(
        [str(part) for part in command],
        env=None if env is None else dict(env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
        input=stdin or "",
    )
