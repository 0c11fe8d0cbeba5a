"""Caches beside the services: what each has told, as lookups by step; one that cannot be asked says why."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nimify_tui.domain.caches import CacheKey, CacheTold
from nimify_tui.fleet.caches import Steps

#: What was told longer ago than so many times it is asked in is not known any more.
LOST_INTERVALS = 6.0
#: Beginnings of one server as two tell them are not further apart: whole seconds, and looks take their time, seconds.
SAME_S = 10.0
#: Caches of one region that are followed: what is configured, or exported, and never a flood.
MAX_CACHES = 64


class SharedCache:
    """One of them."""

    __slots__ = ("at", "evicted_s", "failed", "failed_at", "key", "steps", "told")

    def __init__(self, key: CacheKey) -> None:
        self.key = key
        self.told: CacheTold | None = None
        self.at = 0.0
        self.steps = Steps()
        #: What it gave up a second between the last two tellings, None: not told.
        self.evicted_s: float | None = None
        self.failed, self.failed_at = "", 0.0

    def observe(self, at: float, told: CacheTold) -> None:
        """Take one telling in. Another beginning, and a counter that goes back, are no lookups."""
        before, since = self.told, self.at
        if at <= since:  # what was known already: whoever tells of it was asked more often than that one asks
            self.failed = ""
            return
        self.told, self.at, self.failed = told, at, ""
        self.evicted_s = None
        if before is None and told.probes:  # those are ours, from the first one on
            before = msgspec.structs.replace(told, hits=0.0, misses=0.0)
        if before is None or before.began != told.began:
            return
        hits, misses = _grown(before.hits, told.hits), _grown(before.misses, told.misses)
        if hits is not None and misses is not None and hits + misses > 0.0:
            self.steps.add(at, hits, hits + misses)
        evicted = _grown(before.evictions, told.evictions)
        self.evicted_s = evicted / (at - since) if evicted is not None else None

    def known(self, at: float) -> CacheTold | None:
        """What it told, while that is young enough to be shown at all."""
        return self.told if self.told is not None and at - self.at <= LOST_INTERVALS * self.told.every_s else None


def once(caches: Iterable[SharedCache]) -> list[SharedCache]:
    """Each server once, as the one told last tells it: several regions may name the same one.

    A name that we reach ourselves is the same server for all of them. What the Prometheus of each region calls
    "redis:6379" is another one in each, unless it began at the same time. Probes are our own, and each counts.
    """
    kept: dict[str, list[SharedCache]] = {}
    for cache in sorted(caches, key=lambda each: -each.at):
        found = kept.setdefault(cache.key.name, [])
        if not any(_same(cache.told, each.told) for each in found):
            found.append(cache)
    return sorted((each for found in kept.values() for each in found), key=lambda each: each.key)


def _same(one: CacheTold | None, other: CacheTold | None) -> bool:
    """Whether two of one name are one server."""
    if one is None or other is None or one.probes or other.probes:
        return False
    direct = one.source == one.key.name and other.source == other.key.name
    return direct or abs(one.began - other.began) <= SAME_S


class SharedCaches:
    """All of them."""

    def __init__(self) -> None:
        self._caches: dict[CacheKey, SharedCache] = {}

    def observe(self, at: float, told: CacheTold) -> None:
        """One was asked."""
        cache = self._cache(told.key)
        if cache is not None:
            cache.observe(at, told)

    def fail(self, at: float, key: CacheKey, reason: str) -> None:
        """One could not be asked."""
        cache = self._cache(key)
        if cache is not None:
            cache.failed, cache.failed_at = reason, at

    def forget_region(self, region: str) -> None:
        """The region is gone."""
        for key in [key for key in self._caches if key.region == region]:
            del self._caches[key]

    def of(self, regions: Iterable[str] | None = None) -> list[SharedCache]:
        """Those of some regions (None: of all), in their order."""
        wanted = None if regions is None else frozenset(regions)
        return [self._caches[key] for key in sorted(self._caches) if wanted is None or key.region in wanted]

    def _cache(self, key: CacheKey) -> SharedCache | None:
        cache = self._caches.get(key)
        if cache is None and sum(each.region == key.region for each in self._caches) < MAX_CACHES:
            cache = self._caches[key] = SharedCache(key)
        return cache


def _grown(before: float | None, now: float | None) -> float | None:
    return now - before if before is not None and now is not None and now >= before else None
