"""What containers take of their host: one stream for each container that somebody looks at, none otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.demands import DetailDemand, Looks
from nimify_tui.domain.measures import ReplicaUse
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.updates import Update, Used
from nimify_tui.sources.docker.region import Link, Sleep, whole_lines
from nimify_tui.sources.docker.stats import Stats, cpu_ratio, memory_bytes

Sink = Callable[[Sequence[Update]], None]
#: (region, replica, container id) of what runs in a row.
Shown = Callable[[str], Sequence[tuple[str, ReplicaKey, str]]]
#: How often it is looked at what is looked at, and how long a stream that broke is left alone; seconds.
LOOK_S, AGAIN_S = 0.5, 2.0
#: All samples that came meanwhile are handed on together, so that they make one frame; seconds.
FLUSH_S = 0.9
#: Streams at once, over all regions.
MOST_STREAMS = 64
#: An engine writes a sample each second; one that is silent so long has stopped, seconds.
_SILENT_S = 15.0
_SOURCE = "Docker stats"
_DECODE = msgspec.json.Decoder(Stats).decode


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
        self._streams: dict[tuple[str, ReplicaKey, str], asyncio.Task[None]] = {}
        self._found: list[Update] = []

    async def run(self, sink: Sink) -> None:
        """Measure until cancelled."""
        flush_at_s = 0.0
        try:
            while True:
                if self._found and self._clock.mono_s() >= flush_at_s:
                    flush_at_s = self._clock.mono_s() + FLUSH_S
                    found, self._found = self._found, []
                    sink(found)
                rows = [each.row_id for each in self._looks.demands() if isinstance(each, DetailDemand)]
                wanted = list(dict.fromkeys(one for row_id in rows for one in self._shown(row_id)))[
                    :MOST_STREAMS
                ]
                for gone in self._streams.keys() - set(wanted):
                    self._streams.pop(gone).cancel()
                for one in wanted:
                    if one not in self._streams:
                        self._streams[one] = asyncio.create_task(
                            self._follow(*one), name=f"use of {one[2][:12]}"
                        )
                await self._sleep(LOOK_S)
        finally:
            for task in self._streams.values():
                task.cancel()

    async def _follow(self, region: str, key: ReplicaKey, container_id: str) -> None:
        while True:
            link = self._link(region)
            if link is not None:
                try:
                    await self._stream(link, key, container_id)
                except NimifyError:
                    pass  # the region's own heartbeat says what is the matter; the numbers grow old by themselves
            await self._sleep(AGAIN_S)

    async def _stream(self, link: Link, key: ReplicaKey, container_id: str) -> None:
        before: Stats | None = None
        path = f"/containers/{container_id}/stats"
        async with link.stream(path, {"stream": "true"}, read_timeout_s=_SILENT_S) as pieces:
            async for line in whole_lines(pieces):
                try:
                    now = _DECODE(line)
                except msgspec.DecodeError:
                    return
                ratio = cpu_ratio(before, now) if before is not None else None
                before, memory = now, memory_bytes(now)
                if ratio is not None or memory is not None:
                    at = self._clock.now()
                    use = ReplicaUse(at=at, source=_SOURCE, cpu_ratio=ratio, memory_bytes=memory)
                    self._found.append(Used(at, key, use))
