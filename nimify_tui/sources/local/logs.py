"""Live logs of embedded replicas: asked for only while somebody looks, read from the files themselves."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from nimify_tui.backends.local import LocalBackend
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.demands import LogDemand, LogLine, LogSink, Looks
from nimify_tui.domain.updates import Update
from nimify_tui.sources.waking import Wake

#: How often files are looked at, and how often the supervisor is asked which files there are; seconds.
POLL_S = 0.25
ASK_S = 2.0
#: How much of a file is read when it is opened, and at most at one look; older lines are left out, and it is said.
FIRST_BYTES = 512 * 1024
LOOK_BYTES = 4 * 1024 * 1024
#: A line longer than this is cut in pieces.
_LINE_BYTES = 64 * 1024
_NAME = re.compile(r"(?P<replica>.+)\.(?P<run>\d+)\.log\Z")
_STAMP = re.compile(rb'"(?:ts|time|timestamp)"\s*:\s*"(\d{4}-[^"]{5,32})"')


class FileTail:
    """One run's log file, read as it grows; see supervisor.logs for how such a file is cut.

    The part that was cut off is found again in ``.1``, so that nothing is missed as long as the file is
    looked at more often than it is cut.
    """

    def __init__(self, path: Path) -> None:
        match = _NAME.match(path.name)
        self.replica = match["replica"] if match else path.name
        self.run = int(match["run"]) if match else 0
        self._path = path
        self._old = path.with_name(path.name + ".1")
        self._old_inode = self._inode()
        self._offset = -1
        self._rest = b""
        self.left_out_bytes = 0

    def read(self) -> list[bytes]:
        """The lines that came since the last call; ``left_out_bytes`` tells what was passed over."""
        data = b""
        inode = self._inode()
        if inode != self._old_inode:
            self._old_inode = inode
            if self._offset >= 0:
                data += self._part(self._old, self._offset, LOOK_BYTES)
            self._offset = 0
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return self._lines(data)
        if self._offset < 0:
            self._offset = 0
            if size < FIRST_BYTES:  # it was cut a moment ago: the part before belongs to it
                data += self._part(self._old, 0, FIRST_BYTES - size)
            data += self._part(self._path, 0, FIRST_BYTES)
            self._offset, self.left_out_bytes = size, 0
        if size > self._offset:
            data += self._part(self._path, self._offset, LOOK_BYTES)
            self._offset = size
        return self._lines(data)

    def _part(self, path: Path, offset: int, most_bytes: int) -> bytes:
        """From ``offset`` to the end; of more than ``most_bytes`` the newest, from a line's beginning."""
        try:
            with open(path, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                begin = max(offset, size - most_bytes)
                file.seek(begin)
                data = file.read(max(0, size - begin))
        except FileNotFoundError:
            return b""
        if begin > offset:
            head, _, data = data.partition(b"\n")
            self.left_out_bytes += begin - offset + len(head)
            self._rest = b""
        return data

    def _lines(self, data: bytes) -> list[bytes]:
        if not data:
            return []
        whole, found, rest = (self._rest + data).rpartition(b"\n")
        if not found:
            self._rest = rest[-_LINE_BYTES:]
            return [rest[:-_LINE_BYTES]] if len(rest) > _LINE_BYTES else []
        self._rest = rest
        return whole.split(b"\n")

    def _inode(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return self._old.stat().st_ino
        return 0


class _Followed:
    """One demand and the files that answer it."""

    def __init__(self, demand: LogDemand, tail: LogSink) -> None:
        self.demand = demand
        self.tail = tail
        self.files: dict[str, FileTail] = {}
        self.ask_at_mono_s = 0.0
        self.asking: asyncio.Task[None] | None = None
        self.trouble = ""

    def say(self, trouble: str) -> None:
        """A gap, once for each new trouble."""
        if trouble and trouble != self.trouble:
            self.tail.gap(trouble)
        self.trouble = trouble


class LogSource:
    """Follows every demanded log. ``backend`` finds a region's backend."""

    def __init__(self, fleet: Looks, backend: Callable[[str], LocalBackend | None], clock: Clock) -> None:
        self._fleet = fleet
        self._backend = backend
        self._clock = clock
        self._followed: dict[LogDemand, _Followed] = {}

    async def run(self, _sink: Callable[[Sequence[Update]], None]) -> None:
        """Follow until cancelled."""
        wake = Wake(self._fleet, lambda demand: isinstance(demand, LogDemand))
        try:
            while True:
                looked_at = self._take_up()
                for followed in self._followed.values():
                    self._ask_when_due(followed)
                    self._read(followed)
                await (asyncio.sleep(POLL_S) if looked_at else wake.wait())
        finally:
            for followed in self._followed.values():
                if followed.asking is not None:
                    followed.asking.cancel()

    def _take_up(self) -> bool:
        """Follow what is looked at, and nothing else. Returns whether anything is."""
        wanted = {demand for demand in self._fleet.demands() if isinstance(demand, LogDemand)}
        for demand, followed in list(self._followed.items()):
            # One that was given back and wanted again between two looks has a new tail.
            if demand not in wanted or self._fleet.log_tail(demand) is not followed.tail:
                gone = self._followed.pop(demand)
                if gone.asking is not None:
                    gone.asking.cancel()
        for demand in wanted - self._followed.keys():
            if self._backend(demand.key.region) is not None:
                self._followed[demand] = _Followed(demand, self._fleet.log_tail(demand))
        return bool(wanted)

    def _ask_when_due(self, followed: _Followed) -> None:
        now_s = self._clock.mono_s()
        if now_s >= followed.ask_at_mono_s and (followed.asking is None or followed.asking.done()):
            followed.ask_at_mono_s = now_s + ASK_S
            followed.asking = asyncio.get_running_loop().create_task(self._ask(followed))

    async def _ask(self, followed: _Followed) -> None:
        demand = followed.demand
        backend = self._backend(demand.key.region)
        if backend is None:
            return
        try:
            paths = await backend.read_log_paths(demand.key.name, demand.replica, -1 if demand.previous else None)
        except NimifyError as error:
            followed.say(f"which logs there are cannot be asked: {error.message}")
            return
        followed.say("")
        main = [path for path in paths if path.endswith(".log")]
        for path in main:
            if path not in followed.files:
                followed.files[path] = FileTail(Path(path))
        for path in [path for path in followed.files if path not in main]:
            # Its last lines were read before the new list came; a replica that is gone writes no more.
            del followed.files[path]

    def _read(self, followed: _Followed) -> None:
        lines: list[LogLine] = []
        now = self._clock.now()
        for file in list(followed.files.values()):
            try:
                found = file.read()
            except OSError as error:
                followed.say(f"the log of {file.replica} cannot be read: {error.strerror}")
                continue
            if file.left_out_bytes:
                followed.tail.gap(f"{file.left_out_bytes} bytes of {file.replica} left out here")
                file.left_out_bytes = 0
            lines += [
                LogLine(_stamp(line, now), file.replica, file.run, line.decode("utf-8", "replace"))
                for line in found
            ]
        if lines:
            if len(followed.files) > 1:
                lines.sort(key=lambda line: line.at)
            followed.tail.append(lines)


def _stamp(line: bytes, otherwise: float) -> float:
    """When a line was written, as it says itself; else when it was read."""
    if match := _STAMP.search(line, 0, 256):
        with contextlib.suppress(ValueError):
            moment = datetime.datetime.fromisoformat(match[1].decode())
            return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    return otherwise
