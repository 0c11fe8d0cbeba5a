"""Where a demo lives, and that there is only one: its folder, its lock, what it leaves to clean up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nimify_tui.base.clock import rfc3339
from nimify_tui.base.errors import ClusterError
from nimify_tui.base.files import private_dir, runtime_home, supervisor_socket
from nimify_tui.demo.cast import REGIONS
from nimify_tui.domain.embedded import Announced


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock."""

    pid: int
    since: float


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How far the demo has come: the director's ``status.json``. Times are unix seconds."""

    phase: str
    services: int = 0
    replicas: int = 0
    live_at: float | None = None
    #: When the first service answered its first request.
    first_at: float | None = None
    scenario: str = ""
    error: str = ""


@dataclass(frozen=True)
class Places:
    """The folder of one demo, ``runtime_home()/"demo"/ID``."""

    root: Path

    @property
    def demo(self) -> str:
        """The demo's id."""
        return self.root.name

    @property
    def models(self) -> Path:
        """The zoo."""
        return self.root / "zoo"

    @property
    def traffic(self) -> Path:
        """The traffic's socket."""
        return self.root / "t.sock"

    @property
    def director(self) -> Path:
        """The director's socket."""
        return self.root / "d.sock"

    @property
    def status(self) -> Path:
        """How far it has come."""
        return self.root / "status.json"

    @property
    def truth(self) -> Path:
        """The ground truth, when no other place was named."""
        return self.root / "ground-truth.jsonl"

    def state_dir(self, region: str) -> Path:
        """The folder of a region's supervisor."""
        return self.root / region

    def read_status(self) -> Status:
        """The newest status; "starting" before there is one."""
        try:
            return msgspec.json.decode(self.status.read_bytes(), type=Status)
        except (FileNotFoundError, msgspec.DecodeError):
            return Status(phase="starting")

    def remove(self) -> None:
        """Remove what supervisors that were killed left outside the folder, then the folder."""
        for region in REGIONS:
            state_dir = self.state_dir(region)
            supervisor_socket(state_dir).unlink(missing_ok=True)
            note = runtime_home() / "regions" / f"{region}.json"
            with contextlib.suppress(OSError, msgspec.DecodeError):
                if msgspec.json.decode(note.read_bytes(), type=Announced).state_dir == str(state_dir):
                    note.unlink()
            for path in state_dir.glob("*/instances/*.json"):
                with contextlib.suppress(OSError, msgspec.DecodeError):
                    control = msgspec.json.decode(path.read_bytes(), type=_Instance).control_socket
                    if control:
                        Path(control).unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)


class _Instance(msgspec.Struct):
    control_socket: str = ""


def listens(place: Places, region: str) -> bool:
    """Whether the supervisor of a region has made itself known."""
    note = runtime_home() / "regions" / f"{region}.json"
    try:
        return msgspec.json.decode(note.read_bytes(), type=Announced).state_dir == str(place.state_dir(region))
    except (OSError, msgspec.DecodeError):
        return False


def demo_home() -> Path:
    """Where demos live."""
    return runtime_home() / "demo"


def acquire() -> int:
    """Take the lock of this user's demo; the descriptor that holds it.

    Raises ClusterError that says which demo runs, and what to do.
    """
    path = private_dir(demo_home()) / "lock"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 4096, 0)
            os.close(handle)
            raise ClusterError(*_running(text)) from None
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                break
        os.close(handle)  # the demo before removed the file while we waited
    os.ftruncate(handle, 0)
    os.pwrite(handle, msgspec.json.encode(Holder(os.getpid(), time.time())), 0)
    return handle


def _running(text: bytes) -> tuple[str, str]:
    remedy = "look at it with `nimify-tui`, or end it"
    try:
        holder = msgspec.json.decode(text, type=Holder)
    except msgspec.DecodeError:
        return "a demo is just starting or ending on this machine", remedy
    return f"a demo runs already: pid {holder.pid}, since {rfc3339(holder.since)}", f"{remedy} (`kill {holder.pid}`)"


def give_up(handle: int) -> None:
    """Remove the lock that ``handle`` holds, and the demos' folder when it is empty."""
    with contextlib.suppress(FileNotFoundError):
        (demo_home() / "lock").unlink()
    with contextlib.suppress(OSError):
        demo_home().rmdir()
    os.close(handle)


def new_places() -> Places:
    """A folder for a new demo; what a demo that was cut short left is removed. Hold the lock."""
    home = private_dir(demo_home())
    for entry in os.scandir(home):
        if entry.is_dir(follow_symlinks=False):
            Places(Path(entry.path)).remove()
    return Places(private_dir(home / secrets.token_hex(4)))
