"""Live logs of containers: followed only while somebody looks, a bounded number in each region.

The engine keeps one log over all runs of a container. A stream that stalls or ends while its container goes on
(the engine loses its place when a log file is rotated) is taken up again where it ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from nimify_tui.backends.docker.kinds import seconds, unix_text
from nimify_tui.backends.docker.logs import Frames
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import LogDemand, LogLine, LogSink, Looks
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.updates import Update
from nimify_tui.sources.docker.host import Known
from nimify_tui.sources.docker.region import Link, Sleep
from nimify_tui.sources.following import Following

#: Streams at once in a region, and lines from before the demand of each.
MOST_STREAMS, EARLIER_LINES = 40, 2_000
#: A stream that broke is taken up again after this, seconds.
AGAIN_S = 1.0
#: So many lines of a container are remembered, so that none is shown twice.
_REMEMBERED = 2_000
#: Lines that wait to be handed on; more are left out.
_MOST_WAITING = 20_000

Members = Callable[[ServiceKey], Sequence[Known]]
Links = Callable[[str], Link | None]


class ContainerLogs:
    """Follows every demanded log of Docker regions.

    ``members`` gives the containers of a service as their region sees them, ``link`` a region's open connection,
    ``ours`` says whether a region is a Docker host.
    """

    def __init__(
        self,
        looks: Looks,
        members: Members,
        link: Links,
        ours: Callable[[str], bool],
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._members, self._link, self._clock, self._sleep = members, link, clock, sleep
        self._following = Following(looks, ours, self._made, self._look, clock, sleep)

    async def run(self, _sink: Callable[[Sequence[Update]], None]) -> None:
        """Follow until cancelled."""
        await self._following.run()

    def _made(self, demand: LogDemand, tail: LogSink) -> _Followed:
        return _Followed(demand, tail, self._link, self._clock, self._sleep)

    def _look(self, one: _Followed) -> None:
        one.look(self._members(one.demand.key))


class _Memory:
    """The newest lines of one container: the engine tells some again when a log file is rotated or taken up again.

    Its stamps alone would not do: those of the two streams are not in order. Podman's are of whole seconds, in which
    the same words may well come several times: those are counted, and told again only as often as before.
    """

    def __init__(self) -> None:
        self._order: deque[tuple[str, int]] = deque()
        #: How often a line was told, and how often since the stream began.
        self._told: dict[tuple[str, int], int] = {}
        self._again: dict[tuple[str, int], int] = {}

    def begin(self) -> None:
        """A stream begins, or is taken up again."""
        self._again.clear()

    def known(self, stamp: str, text: str) -> bool:
        """Whether this very line was told before; it is from now on."""
        line = stamp, hash(text)
        if (told := self._told.get(line)) is None:
            if len(self._order) >= _REMEMBERED:
                oldest = self._order.popleft()
                del self._told[oldest]
                self._again.pop(oldest, None)
            self._order.append(line)
        elif "." in stamp:  # a time of its own
            return True
        count = self._again[line] = self._again.get(line, 0) + 1
        self._told[line] = max(told or 0, count)
        return count <= (told or 0)


class _Followed:
    """One demand with a stream for each container, by id."""

    def __init__(self, demand: LogDemand, tail: LogSink, link: Links, clock: Clock, sleep: Sleep) -> None:
        self.demand, self.tail = demand, tail
        self._link, self._clock, self._sleep = link, clock, sleep
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._lines: list[LogLine] = []
        self._left_out = 0
        self._said = ""

    def look(self, members: Sequence[Known]) -> None:
        """Bring the streams in line with the containers that there are."""
        wanted = [
            each for each in members if self.demand.replica in ("", clean_line(each.one.plain_name, 120))
        ]
        ids = {each.one.id for each in wanted}
        for uid in self._streams.keys() - ids:
            self._streams.pop(uid).cancel()
        for known in wanted[:MOST_STREAMS]:
            if known.one.id not in self._streams:
                self._streams[known.one.id] = asyncio.get_running_loop().create_task(
                    self._follow(known), name=f"log of {known.one.plain_name}"
                )
        left = len(wanted) - MOST_STREAMS
        region = clean_line(self.demand.key.region, 60)
        words = ""
        if left > 0:
            words = f"{region}: {left} more containers are not followed; choose one replica alone"
        elif self._link(self.demand.key.region) is None:
            words = f"{region}: no contact yet, its lines come when there is"
        elif not wanted:
            words = f"{region}: there is no container"
        if words and words != self._said:
            self._mark(words)
        self._said = words

    def _mark(self, text: str, replica: str = "") -> None:
        self._lines.append(LogLine(self._clock.now(), replica, 0, f"-- {text} --", mark=True))

    async def _follow(self, known: Known) -> None:
        """One container's log for as long as somebody looks; of the run before only what was written until its end."""
        name, since, told, memory = clean_line(known.one.plain_name, 120), "", "", _Memory()
        while True:
            link = self._link(self.demand.key.region)
            if link is not None:
                try:
                    since = await self._stream(link, known, name, since, memory)
                    told = ""
                except NimifyError as error:
                    if error.message != told:
                        self._mark(f"{name}: {error.message}", name)
                    told = error.message
                if self.demand.previous:
                    return
            await self._sleep(AGAIN_S)

    async def _stream(self, link: Link, known: Known, name: str, since: str, memory: _Memory) -> str:
        """Read until the engine ends it; returns the time of the last line, from which it goes on."""
        query = {"stdout": "true", "stderr": "true", "timestamps": "true", "tail": str(EARLIER_LINES)}
        run = 1 + known.one.restart_count
        if self.demand.previous:
            started = seconds(known.one.state.started_at)
            if known.one.state.status == "running" and started is not None:
                query["until"] = f"{started - 0.001:.9f}"
                run -= 1
        else:
            query["follow"] = "true"
        if since:
            query |= {"since": unix_text(since), "tail": "all"}
        frames = Frames(tty=known.one.config.tty)
        memory.begin()
        async with link.stream(f"/containers/{known.one.id}/logs", query) as pieces:
            async for piece in pieces:
                for line in frames.feed(piece):
                    stamp, text = _cut(line)
                    if stamp and memory.known(stamp, text):
                        continue
                    since = stamp or since
                    self._put(LogLine(seconds(stamp) or self._clock.now(), name, run, text))
        return since

    def _put(self, line: LogLine) -> None:
        if len(self._lines) >= _MOST_WAITING:
            self._left_out += 1
            return
        self._lines.append(line)

    def flush(self) -> None:
        """Hand on what came, in order of time."""
        if self._lines:
            lines, self._lines = self._lines, []
            if len(self._streams) > 1:
                lines.sort(key=lambda each: each.at)
            self.tail.append(lines)
        if self._left_out:
            self.tail.leave_out(self._left_out)
            self._left_out = 0

    def end(self) -> None:
        """Nobody looks any more."""
        for task in self._streams.values():
            task.cancel()


def _cut(line: bytes) -> tuple[str, str]:
    """(the engine's time stamp, the line); the stamp can be compared as text and be given as ``since``."""
    head, _, text = line.partition(b" ")
    stamp = head.decode("ascii", "replace")
    if seconds(stamp) is None:
        return "", line.decode("utf-8", "replace")
    return stamp, text.decode("utf-8", "replace")
