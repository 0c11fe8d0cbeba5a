"""A demo in a process of its own, and what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nimify_tui.demo.director import Heal, Play, Played
from nimify_tui.demo.kernel import MARK
from nimify_tui.demo.orders import Count, Order, Tally, Told
from nimify_tui.demo.places import Places
from nimify_tui.demo.stage import Truth
from nimify_tui.domain.embedded import FromSupervisor, Hello, Watch
from tests.support import PYTHON, REPO, Home, processes_naming, wait_for

T = TypeVar("T")
LIVE_S = 60.0


class Talk:
    """Lines of JSON over a unix socket, asked and answered one by one."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(40.0)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rwb")

    def ask(self, order: msgspec.Struct, kind: type[T]) -> T:
        self._file.write(msgspec.json.encode(order) + b"\n")
        self._file.flush()
        return msgspec.json.decode(self._file.readline(), type=kind)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Events:
    """Everything that a supervisor tells a watcher, read by a thread."""

    def __init__(self, path: str) -> None:
        self.seen: list[Any] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        hello, watch = Hello(id=1, client="test"), Watch(id=2)
        self._socket.sendall(msgspec.json.encode(hello) + b"\n" + msgspec.json.encode(watch) + b"\n")
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(FromSupervisor)
        with contextlib.suppress(OSError), self._socket.makefile("rb") as lines:
            for line in lines:
                self.seen.append(decoder.decode(line))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Demo:
    """A running ``nimify-tui demo --headless``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def value(self, word: str) -> str:
        """What follows ``word`` in the output."""
        return wait_for(
            lambda: next((line.partition(" ")[2] for line in self.lines if line.startswith(f"{word} ")), ""),
            20, why=f"{word} in the demo's output", detail=lambda: self.lines,
        )  # fmt: skip

    @property
    def places(self) -> Places:
        return Places(Path(self.value("folder")))

    def wait_live(self) -> None:
        wait_for(
            lambda: any(line.startswith("live") for line in self.lines), LIVE_S, why="a live demo", detail=self._logs
        )

    def wait_replicas(self) -> None:
        """Until some replica answers."""
        wait_for(lambda: self.places.read_status().first_at, LIVE_S, why="the first replica", detail=self._logs)

    def _logs(self) -> str:
        logs = [f"{path.name}:\n{path.read_text()[-1500:]}" for path in self.places.root.glob("*.log")]
        return "\n".join([*self.lines, *logs])

    def pids(self) -> list[int]:
        """Every process of the demo, the console's own one excepted."""
        return processes_naming(f"{MARK}={self.places.demo}")

    def serving(self) -> list[int]:
        """The replicas."""
        found = []
        for pid in self.pids():
            with contextlib.suppress(OSError):
                if b"nimify_tui.serving" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    found.append(pid)
        return found

    def of_module(self, module: str) -> list[int]:
        found = []
        for pid in self.pids():
            with contextlib.suppress(OSError):
                if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    found.append(pid)
        return found

    def play(self, scenario: str, seed: int = 1, region: str = "") -> Truth:
        talk = Talk(self.places.director)
        played = talk.ask(Play(scenario=scenario, seed=seed, region=region, lasts_s=300), Played)
        talk.close()
        assert played.ok, played.error
        assert played.truth is not None
        return played.truth

    def heal(self) -> None:
        talk = Talk(self.places.director)
        played = talk.ask(Heal(), Played)
        talk.close()
        assert played.ok, played.error

    def order(self, order: Order) -> Told:
        talk = Talk(self.places.traffic)
        told = talk.ask(order, Told)
        talk.close()
        assert told.ok, told.error
        return told

    def tallies(self) -> dict[tuple[str, str], Tally]:
        return {(one.service, one.region): one for one in self.order(Count()).tallies}


@contextlib.contextmanager
def running_demo(home: Home, *arguments: str) -> Iterator[Demo]:
    """A headless demo; what still lives at the end is killed."""
    command = [PYTHON, "-m", "nimify_tui", "demo", "--headless", *arguments]
    if "--scenario" not in arguments:
        command += ["--scenario", "none"]
    env = {**os.environ, **home.env, "PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=env, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    demo = Demo(process)
    try:
        yield demo
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
        if process.poll() is None:
            process.kill()
        for pid in processes_naming(f"{MARK}=" + demo.lines[0].rpartition("/")[2]) if demo.lines else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def leftovers(home: Home, demo_id: str) -> list[str]:
    """Processes, sockets, announcements and folders that a demo left."""
    found = [f"process {pid}" for pid in processes_naming(f"{MARK}={demo_id}")]
    place = home.runtime / "nimify-tui"
    for pattern in ("s/*", "regions/*", "demo", "demo/*"):
        found += [str(path) for path in place.glob(pattern)]
    return found


def check_nothing_left(home: Home, demo_id: str, deadline_s: float = 8.0) -> None:
    """The check of every way to end: within the deadline nothing of the demo is left."""
    wait_for(
        lambda: not leftovers(home, demo_id), deadline_s, why="an end without leftovers",
        detail=lambda: leftovers(home, demo_id),
    )  # fmt: skip
