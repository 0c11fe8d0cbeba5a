"""One container's log, followed over broken lines and restarts, until its pod is gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from nimify_tui.backends.kubernetes.errors import Forbidden, NotFound, Refused, Throttled
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.retry import Backoff
from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import LogLine
from nimify_tui.sources.kubernetes.loglines import Cutter, Overlap
from nimify_tui.sources.kubernetes.pace import Sleep
from nimify_tui.sources.kubernetes.wire import Api

#: How often a container that cannot be followed yet is looked at again (nothing is asked), seconds.
LOOK_S = 0.5
#: Its region tells that a container has ended about so long after its stream has, seconds.
ENDED_S = 3.0
#: Tries after a break, seconds.
RETRY_S = (0.5, 20.0)
#: A container may be silent for long, and that is legal: a dead line is found by keepalive and heartbeat, seconds.
SILENCE_S = 6 * 3600.0
#: Of a pod that appears while its service is followed so many lines are read from the end.
NEW_POD_LINES = 5_000


@dataclass(frozen=True)
class Seen:
    """A container as its region sees it now.

    ``run`` counts its starts, ``ended`` says that the newest run is over, ``before`` is the number of the run
    that ``previous`` means (0: none is known).
    """

    namespace: str
    pod: str
    uid: str
    container: str
    run: int
    running: bool
    ended: bool
    before: int
    troubled: bool
    started_at: float
    alone: bool

    @property
    def name(self) -> str:
        """How it is called in words of ours."""
        pod = clean_line(self.pod, 80)
        return pod if self.alone else f"{pod}/{clean_line(self.container, 80)}"


class Outlet:
    """Lines of one demand on their way: bounded, sorted when they are handed on."""

    #: Lines and bytes that are taken in between two hand-outs; more are counted and left out.
    MOST_LINES = 4_000
    MOST_BYTES = 4_000_000

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.left_out = 0
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether what comes now has to be left out."""
        return len(self.lines) >= self.MOST_LINES or self._bytes >= self.MOST_BYTES

    def put(self, line: LogLine) -> None:
        """Take one in."""
        self.lines.append(line)
        self._bytes += len(line.text)

    def take(self) -> tuple[list[LogLine], int]:
        """(lines by their time, how many were left out) since the last call."""
        lines, left_out = self.lines, self.left_out
        self.lines, self.left_out, self._bytes = [], 0, 0
        lines.sort(key=lambda line: line.at)
        return lines, left_out


class Stream:
    """Follows one container into an outlet. ``seen`` is kept up to date by its owner.

    ``link`` gives the region's open connection (None: no contact at the moment); ``opening`` bounds how
    many streams of a region are being opened at once.
    """

    def __init__(
        self,
        seen: Seen,
        out: Outlet,
        link: Callable[[], Api | None],
        opening: asyncio.Semaphore,
        clock: Clock,
        *,
        first_lines: int,
        previous: bool = False,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.seen = seen
        self.gone = False
        #: Whether what was there at the beginning has come (or cannot come).
        self.settled = False
        self._out, self._link, self._opening, self._clock, self._sleep = out, link, opening, clock, sleep
        self._first_lines = first_lines
        self._previous = previous
        self._run = 0
        self._cutter = Cutter()
        self._overlap = Overlap()
        self._waiting = b""
        self._broken = False
        self._backoff = Backoff(*RETRY_S)
        self._refusal = ""
        #: Why this log may not be read at all.
        self.refused = ""

    async def run(self) -> None:
        """Follow until cancelled, or until there is nothing more to come."""
        try:
            while not self.gone or self._run == 0:
                link = self._link()
                if link is None or not self._ready():
                    self.settled = link is not None
                    if self.gone:
                        return
                    await self._sleep(LOOK_S)
                    continue
                wait_s = await self._attempt(link)
                if wait_s is None:
                    return
                await self._sleep(wait_s)
        finally:
            self.settled = True

    def _ready(self) -> bool:
        """Whether asking makes sense: a container that only waits to be started has no log."""
        seen = self.seen
        if self._previous:
            return seen.before > 0
        return (seen.running or seen.ended) and (seen.running or self._broken or seen.run != self._run)

    async def _attempt(self, link: Api) -> float | None:
        """Read until the stream ends. Returns the seconds to wait, None when nothing more will come."""
        seen = self.seen
        try:
            await self._read(link)
        except NotFound:
            return None
        except Forbidden as error:
            self.refused = error.message
            return None
        except Throttled as error:
            return max(error.retry_after_s, self._backoff.next_s())
        except Refused as error:
            # 400: it is being started, or its node has lost the log.
            if error.message != self._refusal:
                self._refusal = error.message
                self._mark(f"{seen.name}: {error.message}")
            return self._backoff.next_s()
        except NimifyError as error:
            self._break(error.message)
            return self._backoff.next_s()
        finally:
            self.catch_up()
            self._cutter = Cutter()
        if self._previous:
            return None
        self._run = seen.run
        if self.gone:
            return None
        await self._sleep(ENDED_S)
        if self.seen.running and self.seen.run == seen.run and not self.gone:
            self._break("ended by the server")
            return self._backoff.next_s()
        return 0.0

    async def _read(self, link: Api) -> None:
        seen, since = self.seen, self._overlap.resume()
        query = {"container": seen.container, "timestamps": "true"}
        if self._previous:
            query["previous"] = "true"
        else:
            query["follow"] = "true"
        if since:
            query["sinceTime"] = since
        else:
            query["tailLines"] = str(self._first_lines)
        path = f"/api/v1/namespaces/{seen.namespace}/pods/{seen.pod}/log"
        async with contextlib.AsyncExitStack() as stack:
            async with self._opening:
                answer = await stack.enter_async_context(
                    link.get(path, query, accept="*/*", read_timeout_s=30.0 if self._previous else SILENCE_S)
                )
            self.settled = True
            run = seen.before if self._previous else seen.run
            if self._broken:
                self._broken = False
                self._mark(f"{seen.name}: the stream goes on{f' from {since[11:19]}' if since else ''}")
            elif self._run and run != self._run:
                self._mark(f"{seen.name}: run {run}")
            self._run = run
            async for piece in answer.chunks():
                self._backoff.reset()
                self._take(piece)

    def _take(self, piece: bytes) -> None:
        """Read a piece. While the outlet is full only the newest one is kept, unread: last words get through."""
        if self._waiting:
            if self._out.full:
                self._pass_over()
            else:
                self.catch_up()
        if self._out.full:
            self._waiting = piece
        else:
            self._lines(piece)

    def catch_up(self) -> None:
        """The outlet has room again."""
        piece, self._waiting = self._waiting, b""
        if piece:
            self._lines(piece)

    def _pass_over(self) -> None:
        piece, self._waiting = self._waiting, b""
        count, last = self._cutter.pass_over(piece)
        self._out.left_out += count
        at_ns = self._cutter.stamped(last).at_ns
        if at_ns is not None:
            self._overlap.passed_over(at_ns)

    def _lines(self, piece: bytes) -> None:
        out, cutter, overlap, seen = self._out, self._cutter, self._overlap, self.seen
        for line in cutter.feed(piece):
            at_ns, text = cutter.stamped(line)
            if at_ns is None:
                # The node's own words (the file was rotated away, too many files are watched): never the service's.
                self._mark(f"{seen.name}: its node says: {clean_line(text.decode('utf-8', 'replace'), 200)}")
            elif overlap.new(at_ns, line):
                out.put(LogLine(at_ns / 1e9, seen.pod, self._run, text.decode("utf-8", "replace"), seen.container))

    def _break(self, reason: str) -> None:
        """Say once that the stream broke, until it goes on."""
        if not self._broken:
            self._broken = True
            self._mark(f"{self.seen.name}: the stream broke ({reason}), it is taken up again")

    def _mark(self, text: str) -> None:
        at = self._overlap.last_ns / 1e9 or self._clock.now()
        self._out.put(LogLine(at, self.seen.pod, self._run, f"-- {text} --", self.seen.container, mark=True))
