"""The caches beside the services of a session: who of the regions has a Redis or an edge, and what asks there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from nimify_tui.base.clock import Clock, SystemClock
from nimify_tui.base.durations import seconds
from nimify_tui.config import Config
from nimify_tui.config.caching import edge_of, is_exported, redis_of
from nimify_tui.config.schema import RegionConfig
from nimify_tui.engine import FleetWork, Sink
from nimify_tui.fleet.store import Fleet

if TYPE_CHECKING:
    from nimify_tui.backends.prometheus.server import PrometheusServer


class Watch(Protocol):
    """Asks one cache until cancelled."""

    async def run(self, sink: Sink) -> None:
        """Ask."""
        ...


class CacheWatch:
    """The regions that name a cache; ``server`` gives the Prometheus of one that has it.

    Nothing of it is imported before one is watched.
    """

    def __init__(
        self, config: Config, only: Sequence[str], server: Callable[[str], PrometheusServer], clock: Clock
    ) -> None:
        self._server, self._clock = server, clock
        self._told = [
            item for item in config.region if (item.redis or item.edge) and (not only or item.name in only)
        ]

    def fleet_work(self, numbers: bool) -> tuple[FleetWork, ...]:
        """What runs beside the regions; nothing without ``numbers``, or where no region names a cache."""
        return (self._watch,) if numbers and self._told else ()

    async def _watch(self, _fleet: Fleet, sink: Sink) -> None:
        watches = [watch for item in self._told for watch in self._of(item)]
        tasks = [asyncio.create_task(watch.run(sink)) for watch in watches]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _of(self, item: RegionConfig) -> list[Watch]:
        found: list[Watch] = []
        if item.redis:
            found.append(self._redis(item))
        if item.edge:
            from nimify_tui.sources.caches.edge import EdgeProbe

            told = edge_of(item.edge)
            found.append(EdgeProbe(item.name, told.url, seconds(told.every), self._clock, told.ca_file or ""))
        return found

    def _redis(self, item: RegionConfig) -> Watch:
        assert item.redis is not None
        place, instance = redis_of(item.redis)
        if is_exported(item.redis):
            from nimify_tui.sources.caches.exporter import ExportedRedis

            return ExportedRedis(item.name, self._server(item.name), self._clock, instance)
        from nimify_tui.backends.redis.server import RedisServer
        from nimify_tui.sources.caches.redis import RedisWatch

        return RedisWatch(item.name, RedisServer(place, self._clock), self._clock)


async def redis_words(item: RegionConfig) -> str:
    """What the Redis of a region says, in one line. Raises NimifyError for one that is of no use."""
    from nimify_tui.backends.redis.server import looked_at

    assert item.redis is not None
    place, _ = redis_of(item.redis)
    look = await looked_at(place, SystemClock())
    ratio = look.hits / (look.hits + look.misses) if look.hits and look.misses is not None else None
    hits = f", {ratio:.0%} hits since it started" if ratio is not None else ""
    return f"{place.who} answers in {look.ping_s * 1e3:.1f} ms{hits}"


async def edge_words(item: RegionConfig) -> str:
    """What one probe of the edge of a region says, in one line. Raises NimifyError for one that says nothing."""
    from nimify_tui.sources.caches.edge import EdgeProbe

    assert item.edge is not None
    told = edge_of(item.edge)
    probe = EdgeProbe(item.name, told.url, seconds(told.every), SystemClock(), told.ca_file or "")
    return probe.told(await probe.probe()).note
