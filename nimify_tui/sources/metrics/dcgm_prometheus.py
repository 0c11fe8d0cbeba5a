"""Reads the GPUs of a region out of its Prometheus: one bounded question each thirty seconds.

dcgm-exporter collects every 30 s (its default), so a shorter step would only ask for the same again. The numbers have
the time of the scrape, not ours; a series that its exporter tells no more (its pod ended) is no part of the newest one.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from nimify_tui.backends.prometheus.answers import Row
from nimify_tui.backends.prometheus.errors import QueryRefused
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.asked import both
from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.updates import GpusSeen, Update
from nimify_tui.sources.gpu_faults import GpuFaults
from nimify_tui.sources.metrics.dcgm import FEW, WANTED, Card, Said, Way, cards
from nimify_tui.sources.metrics.dcgm_xids import XidHistory

log = logging.getLogger(__name__)
#: How often a server is asked, and how far back its newest scrape may be: two of the slowest usual ones, seconds.
EVERY_S, WINDOW_S = 30.0, 120
#: A scrape with fewer series than the one before may still be coming in for so long, seconds.
_SETTLE_S = 5.0
_TARGET = ("job", "instance", "Hostname", "hostname")
_LEFT_OUT = "too many series for one answer: clocks, links and limits are left out"


class PrometheusCards:
    """Reads all regions that have a server, until cancelled; the servers are closed by who made them."""

    def __init__(self, servers: Mapping[str, PrometheusServer], faults: GpuFaults, clock: Clock) -> None:
        self._regions = [RegionCards(name, server, faults, clock) for name, server in servers.items()]

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """A region that is slow or broken delays no other."""
        async with asyncio.TaskGroup() as group:
            for region in self._regions:
                group.create_task(region.run(sink), name=f"{region.name}: GPUs")


class RegionCards:
    """One region."""

    def __init__(self, name: str, server: PrometheusServer, faults: GpuFaults, clock: Clock) -> None:
        self.name, self._server, self._clock = name, server, clock
        self._history = XidHistory(name, faults)
        self._fields: tuple[str, ...] = WANTED
        self._told: GpuPanel | None = None

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Ask at whole multiples of the step, the same times for all who look; at once at first."""
        at = self._clock.now()
        while True:
            try:
                updates = await self.turn(at)
            except Exception:  # whatever an answer makes of it: it is logged whole, and asked again
                log.exception("the DCGM series of a Prometheus could not be understood")
                updates = self._failed(at, "its DCGM series could not be understood")
            if updates:
                sink(updates)
            now = self._clock.now()
            at = (math.floor(now / EVERY_S) + 1) * EVERY_S
            await asyncio.sleep(at - now)

    async def turn(self, at: float) -> list[Update]:
        """Ask as of ``at``; what came, or why nothing did. What is as it was is not told again."""
        try:
            rows = await self._rows(at)
        except NimifyError as error:
            return self._failed(at, f"{error.message}: {error.remedy}" if error.remedy else error.message)
        source = f"DCGM through {self._server.who}"
        # Hundreds of GPUs take a tenth of a second: not on the loop that serves all regions.
        found = await asyncio.to_thread(_understood, rows, at, source, self._server.match)
        gpus, events = self._history.told(found, source)
        if events:
            await asyncio.to_thread(self._history.write)
        reason = "" if gpus else f"{self._server.part} has no series of dcgm-exporter: is it there, and scraped?"
        newest_at = max((each.at for each in found), default=at)
        partial = _LEFT_OUT if self._fields is FEW and gpus else ""
        panel = GpuPanel(at=newest_at, gpus=tuple(gpus), reason=reason, source=source, region=self.name,
                         partial=partial)  # fmt: skip
        return [*self._tell(at, panel), *events]

    async def _rows(self, at: float) -> Sequence[Row]:
        """The rows of all fields, or of the few that matter most where all are too much."""
        while True:
            try:
                return (await self._server.samples(_question(self._fields, self._server.match), at)).rows
            except QueryRefused as error:
                if not error.too_much or self._fields is FEW:
                    raise
                self._fields = FEW

    def _failed(self, at: float, why: str) -> list[Update]:
        """What was told last stays, and grows old; why nothing newer came is said."""
        before = self._told
        if before is None or not before.gpus:
            source = f"DCGM through {self._server.who}"
            return self._tell(at, GpuPanel(at=None, reason=why, source=source, region=self.name))
        return self._tell(at, msgspec.structs.replace(before, partial=why))

    def _tell(self, at: float, panel: GpuPanel) -> list[Update]:
        same = self._told is not None and msgspec.structs.replace(panel, at=self._told.at) == self._told
        self._told = panel
        return [] if same and not panel.gpus else [GpusSeen(at, self.name, panel)]


def _understood(rows: Sequence[Row], at: float, source: str, match: str) -> list[Card]:
    said, every_s = newest(rows, at)
    return cards(said, Way(source, max(EVERY_S, every_s), match=match))


def newest(rows: Sequence[Row], at: float) -> tuple[list[Said], float]:
    """Of each exporter what its newest scrape told, and how far apart its scrapes are (the longest, seconds)."""
    by_target: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.values:
            by_target.setdefault(tuple(row.metric.get(name, "") for name in _TARGET), []).append(row)
    said: list[Said] = []
    every_s = 0.0
    for members in by_target.values():
        counts = Counter(when for row in members for when, _ in row.values)
        times = sorted(counts)
        if len(times) > 1:
            every_s = max(every_s, times[-1] - times[-2])
            if at - times[-1] < _SETTLE_S and counts[times[-1]] < counts[times[-2]]:
                times.pop()
        for row in members:
            value = next((value for when, value in reversed(row.values) if when == times[-1]), None)
            if value is not None:
                said.append(Said(row.metric.get("__name__", ""), row.metric, value, times[-1]))
    return said, every_s


def _question(fields: Sequence[str], match: str) -> str:
    return "{" + both(f'__name__=~"{"|".join(fields)}"', match) + f"}}[{WINDOW_S}s]"
