"""Caches beside the services, as they or who watches them tell: a shared one (tier "l2"), the edge ("l3")."""

from __future__ import annotations

import msgspec


class CacheKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """One cache of a region: its tier, and its name in words ("Redis cache-1:6379")."""

    region: str
    tier: str
    name: str


class CacheTold(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was told of it; None: not told. Counters go on from one telling to the next while ``began`` is the same.

    ``every_s`` is how often it is asked, ``limit_bytes`` 0.0 where it has none. ``probes``: the counters are of our own
    probes alone, and say nothing of anybody's traffic. ``source`` is who told it; ``note`` a few words on the last one.
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
