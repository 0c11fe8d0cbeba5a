"""A region's Redis as redis_exporter tells of it, out of the region's Prometheus.

oliver006/redis_exporter (README, exporter/redis.go): one server for each ``addr`` or, with one exporter each, for each
``instance`` of the scrape.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from nimify_tui.backends.prometheus.answers import Row
from nimify_tui.backends.prometheus.errors import QueryRefused
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.base.clock import Clock
from nimify_tui.base.retry import Backoff
from nimify_tui.base.text import clean_line
from nimify_tui.domain.asked import both, matching
from nimify_tui.domain.caches import CacheKey, CacheTold
from nimify_tui.domain.updates import CacheFailed, CacheSeen, Update
from nimify_tui.sources.caches.redis import TROUBLE_CAP_S, TROUBLE_S, sentence

_UP, _HITS, _MISSES, _EVICTED, _USED, _LIMIT, _START, _PING = (
    f"redis_{name}"
    for name in (
        "up", "keyspace_hits_total", "keyspace_misses_total", "evicted_keys_total", "memory_used_bytes",
        "memory_max_bytes", "start_time_seconds", "exporter_last_scrape_ping_time_seconds",
    )
)  # fmt: skip
_NAMES = (_UP, _HITS, _MISSES, _EVICTED, _USED, _LIMIT, _START, _PING)
#: It is asked so often, about what was scraped so lately: once a minute is Prometheus' default, seconds.
EVERY_S, WINDOW_S = 15.0, 130
#: Servers of one region that are told of.
MAX_SERVERS = 32


class ExportedRedis:
    """All servers of a region that its Prometheus has, or the one scraped at ``instance``."""

    def __init__(self, region: str, server: PrometheusServer, clock: Clock, instance: str = "") -> None:
        self._region, self._server, self._clock = region, server, clock
        self._query = query(instance, server.match)
        self._key = CacheKey(region, "l2", f"{server.who}, redis_exporter")
        self._known: set[CacheKey] = set()

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Ask until cancelled."""
        backoff = Backoff(TROUBLE_S, TROUBLE_CAP_S)
        try:
            while True:
                wait_s = EVERY_S
                try:
                    sink(await self.look())
                    backoff.reset()
                except Exception as error:  # noqa: BLE001 - sentence() logs it whole; it is said, and asked again
                    now, why = self._clock.now(), sentence(error, self._server.who)
                    sink([CacheFailed(now, key, why) for key in self._known or {self._key}])
                    wait_s = max(EVERY_S, backoff.next_s())
                await asyncio.sleep(wait_s)
        finally:
            self._server.close()

    async def look(self) -> list[Update]:
        """What it has of each server now. Raises the errors of the server."""
        samples = await self._server.samples(self._query, self._clock.now())
        found: dict[tuple[str, str], list[Row]] = {}
        for row in samples.rows:
            if row.values and (len(found) < MAX_SERVERS or _who(row.metric) in found):
                found.setdefault(_who(row.metric), []).append(row)
        if not found:
            what = f"{self._server.part} has no series of redis_exporter"
            raise QueryRefused(what, "is it scraped? else give the url of the Redis itself")
        updates = [self._told(name or at, rows) for (name, at), rows in found.items()]
        self._known = {each.told.key if isinstance(each, CacheSeen) else each.key for each in updates}
        return list[Update](updates)

    def _told(self, name: str, rows: Sequence[Row]) -> CacheSeen | CacheFailed:
        key = CacheKey(self._region, "l2", f"Redis {clean_line(name, 80)}")
        newest = {row.metric.get("__name__", ""): row.values[-1] for row in rows}
        at = max(when for when, _ in newest.values())
        every_s = max(EVERY_S, *(_apart(row) for row in rows))
        values = {each: value for each, (_, value) in newest.items() if 0.0 <= value < float("inf")}
        if values.get(_UP) == 0.0:
            return CacheFailed(at, key, "its exporter cannot reach it: look at it, and at the exporter's login")
        who = rows[0].metric
        own = (matching(label, (who[label],)) for label in ("addr", "instance") if who.get(label))
        told = CacheTold(
            key=key, source=f"{self._server.who}, redis_exporter", every_s=every_s, began=values.get(_START, 0.0),
            series=both(*own, self._server.match),
            hits=values.get(_HITS), misses=values.get(_MISSES), evictions=values.get(_EVICTED),
            size_bytes=values.get(_USED), limit_bytes=values.get(_LIMIT), latency_s=values.get(_PING),
        )  # fmt: skip
        return CacheSeen(at, told)


def query(instance: str, match: str = "") -> str:
    """The range selector. ``instance`` "" is every one; ``match`` are more matchers."""
    names = '__name__=~"' + "|".join(_NAMES) + '"'
    return "{" + both(names, matching("instance", (instance,)) if instance else "", match) + f"}}[{WINDOW_S}s]"


def _who(metric: Mapping[str, str]) -> tuple[str, str]:
    """(``addr``, which an exporter for several servers gives, and the target)."""
    return metric.get("addr", "").removeprefix("redis://"), metric.get("instance", "")


def _apart(row: Row) -> float:
    return row.values[-1][0] - row.values[-2][0] if len(row.values) > 1 else 0.0
