"""What containers take of their host: one stream for each container that somebody looks at, none otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from nimify_tui.backends.docker.taps import Tap, let_in
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.demands import DetailDemand, Looks
from nimify_tui.domain.measures import ReplicaUse
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.updates import Update, Used
from nimify_tui.sources.docker.region import Link, Sleep
from nimify_tui.sources.docker.stats import Stats, cpu_ratio, memory_bytes
from nimify_tui.sources.waking import Wake

Sink = Callable[[Sequence[Update]], None]
#: (region, replica, container id) of what runs in a row.
_One = tuple[str, ReplicaKey, str]
Shown = Callable[[str], Sequence[_One]]
#: How often it is looked at what is looked at, and how long a stream that broke is left alone; seconds.
LOOK_S, AGAIN_S = 0.5, 2.0
#: All streams are looked into together, so that their samples make one frame and one waking; seconds.
FLUSH_S = 0.9
#: Streams at once, over all regions.
MOST_STREAMS = 64
#: An engine writes a sample each second; one that is silent so long has stopped, seconds.
_SILENT_S = 15.0
_SOURCE = "Docker stats"
_DECODE = msgspec.json.Decoder(Stats).decode


class _Stream:
    """One container that is measured: its tap while there is one, and the sample before."""

    def __init__(self, region: str, key: ReplicaKey, container_id: str) -> None:
        self.region, self.key, self.container_id = region, key, container_id
        self.tap: Tap | None = None
        self.broken = asyncio.Event()
        self.heard_s = 0.0
        self._before: Stats | None = None

    def opened(self, tap: Tap, mono_s: float) -> None:
        """It has begun (again)."""
        self.tap, self.heard_s, self._before = tap, mono_s, None
        self.broken.clear()

    def sample(self, at: float, mono_s: float) -> Used | None:
        """What its newest sample says, None where none came. Raises NimifyError and msgspec.DecodeError."""
        assert self.tap is not None
        lines = self.tap.take()
        if self.tap.ended or mono_s - self.heard_s > _SILENT_S:
            self.broken.set()
        if not lines:
            return None
        self.heard_s = mono_s
        now = _DECODE(lines[-1])
        ratio = cpu_ratio(self._before, now) if self._before is not None else None
        self._before, memory = now, memory_bytes(now)
        if ratio is None and memory is None:
            return None
        return Used(at, self.key, ReplicaUse(at=at, source=_SOURCE, cpu_ratio=ratio, memory_bytes=memory))


class UseSource:
    """Measures what the demanded rows show. ``shown`` finds the containers of a row, ``link`` a region's connection."""

    def __init__(
        self,
        looks: Looks,
        shown: Shown,
        link: Callable[[str], Link | None],
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._looks, self._shown, self._link = looks, shown, link
        self._clock, self._sleep = clock, sleep
        self._streams: dict[_One, tuple[_Stream, asyncio.Task[None]]] = {}

    async def run(self, sink: Sink) -> None:
        """Measure until cancelled."""
        flush_at_s, wake = 0.0, Wake(self._looks, lambda demand: isinstance(demand, DetailDemand))
        try:
            while True:
                if self._streams and self._clock.mono_s() >= flush_at_s:
                    flush_at_s = self._clock.mono_s() + FLUSH_S
                    if found := await self._samples():
                        sink(found)
                looked_at = self._look()
                await (self._sleep(LOOK_S) if looked_at else wake.wait())
        finally:
            for _, task in self._streams.values():
                task.cancel()

    def _look(self) -> bool:
        """Measure what is shown, and nothing else. Returns whether anything is looked at."""
        rows = [each.row_id for each in self._looks.demands() if isinstance(each, DetailDemand)]
        wanted = list(dict.fromkeys(one for row_id in rows for one in self._shown(row_id)))[:MOST_STREAMS]
        for gone in self._streams.keys() - set(wanted):
            self._streams.pop(gone)[1].cancel()
        for one in wanted:
            if one not in self._streams:
                stream = _Stream(*one)
                task = asyncio.create_task(self._follow(stream), name=f"use of {one[2][:12]}")
                self._streams[one] = stream, task
        return bool(rows)

    async def _samples(self) -> list[Update]:
        """What came on all streams since the last time."""
        streams = [stream for stream, _ in self._streams.values() if stream.tap is not None]
        await let_in(stream.tap for stream in streams if stream.tap is not None)
        at, mono_s = self._clock.now(), self._clock.mono_s()
        found: list[Update] = []
        for stream in streams:
            if stream.tap is None:
                continue  # it ended in between
            try:
                used = stream.sample(at, mono_s)
            except (NimifyError, msgspec.DecodeError):
                stream.broken.set()  # the region's own heartbeat says what is the matter; the numbers grow old
                continue
            if used is not None:
                found.append(used)
        return found

    async def _follow(self, stream: _Stream) -> None:
        """Keep its tap, for ever."""
        path = f"/containers/{stream.container_id}/stats"
        while True:
            link = self._link(stream.region)
            if link is not None:
                try:
                    tap = await link.tap(path, {"stream": "true"})
                except NimifyError:
                    tap = None  # as above
                if tap is not None:
                    stream.opened(tap, self._clock.mono_s())
                    try:
                        await stream.broken.wait()
                    finally:
                        stream.tap = None
                        tap.close()
            await self._sleep(AGAIN_S)
