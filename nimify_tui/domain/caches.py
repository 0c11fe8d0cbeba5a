"""Caches beside the services, as they or who watches them tell: a shared one (tier "l2"), the edge ("l3")."""

from __future__ import annotations

import math

import msgspec

#: One step of a trend, seconds, and how many there are.
STEP_S = 20.0
STEPS = 24
#: Counters that are read seldom are compared over so many readings.
READINGS = 3.0
#: The tier of prefixes that are found in a KV cache.
PREFIX = "prefix"
#: The tier of optimised graphs on a disk.
ARTIFACTS = "artifact"
#: Results of a lookup that are a hit.
HITS = ("hit", "hits", "stale_hit")


class CacheKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """One cache of a region: its tier, and its name in words ("Redis cache-1:6379")."""

    region: str
    tier: str
    name: str


class CacheTold(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was told of it; None: not told. Counters go on from one telling to the next while ``began`` is the same.

    ``every_s`` is how often it is asked, ``limit_bytes`` 0.0 where it has none. ``probes``: the counters are of our own
    probes alone, and say nothing of anybody's traffic. ``source`` is who told it; ``note`` a few words on the last one;
    ``series`` are the matchers of its series where that is a Prometheus, "" elsewhere.
    """

    key: CacheKey
    source: str
    every_s: float
    began: float = 0.0
    hits: float | None = None
    misses: float | None = None
    evictions: float | None = None
    size_bytes: float | None = None
    limit_bytes: float | None = None
    latency_s: float | None = None
    probes: bool = False
    note: str = ""
    series: str = ""


def steps_in(span_s: float) -> int:
    """So many of the newest steps are looked at for what is compared over ``span_s``."""
    return min(STEPS, max(2, math.ceil(span_s / STEP_S)))
