"""Hit ratios of cache tiers out of cumulative counters, with a short trend for each tier."""

from __future__ import annotations

from array import array
from itertools import repeat
from typing import Protocol

from nimify_tui.domain.measures import Measure, MeasureState, ReplicaSample, absent
from nimify_tui.fleet.frames import CacheStat

#: One step of the trend, seconds, and how many there are.
STEP_S = 20.0
STEPS = 24
#: Names of the tiers on the screen; others keep their own.
_NAMES = {"l1": "response L1", "l2": "redis L2", "l3": "edge L3", "artifacts": "model artifacts"}
#: Results that are a hit.
_HITS = frozenset({"hit", "hits", "stale_hit"})


class Replica(Protocol):
    """Whose counters these are (any object that stays the same while the replica lives)."""

    #: What :meth:`CacheTracks.observe` keeps of its last scrape: when its process began (-1: not told), the counters.
    cached: array[float] | None


class _Tier:
    """Lookups of one tier, by step."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        #: [step, hits, lookups], newest last.
        self.steps: list[list[float]] = []

    def add(self, at: float, hits: float, lookups: float) -> None:
        step = at // STEP_S
        if not self.steps or self.steps[-1][0] != step:
            self.steps.append([step, 0.0, 0.0])
            del self.steps[:-STEPS]
        newest = self.steps[-1]
        newest[1] += hits
        newest[2] += lookups


class CacheTracks:
    """The caches of one service in one region."""

    __slots__ = ("_bytes", "_places", "_tiers", "at")

    def __init__(self) -> None:
        self._tiers: dict[str, _Tier] = {}
        #: Place of each (tier, result) in the arrays of counters; place 0 is the process's beginning.
        self._places: dict[tuple[str, str], int] = {}
        self._bytes: dict[int, float] = {}
        self.at = 0.0

    def observe(self, replica: Replica, sample: ReplicaSample, whole: CacheTracks) -> None:
        """Count one scrape, here and in the ``whole`` fleet; the first one of a process only sets the beginning."""
        told = sample.cache or {}
        who, places = id(replica), self._places
        for pair in told:
            if pair not in places:
                places[pair] = len(places) + 1
        began = -1.0 if sample.started_at is None else sample.started_at
        counters, before = array("d", [began, *map(told.get, places, repeat(0.0))]), replica.cached
        replica.cached = counters
        self.at = whole.at = sample.at
        if sample.cache_bytes is not None:
            self._bytes[who] = sample.cache_bytes
        if counters == before:
            return
        for pair, count in told.items():
            tier, result = pair
            mine = self._tiers.get(tier)
            if mine is None:
                mine = self.tier(tier)
                whole.tier(tier)
            if before is None or before[0] != began:
                continue
            place = places[pair]
            grown = count - (before[place] if place < len(before) else 0.0)
            if grown > 0.0:
                hits = grown if result in _HITS else 0.0
                mine.add(sample.at, hits, grown)
                whole.tier(tier).add(sample.at, hits, grown)

    def tier(self, name: str) -> _Tier:
        """The tier of this name, made when it is new."""
        found = self._tiers.get(name)
        if found is None:
            found = self._tiers[name] = _Tier()
        return found

    def forget(self, replica: Replica) -> None:
        """The replica is gone."""
        self._bytes.pop(id(replica), None)

    def sums(self, tier: str, at: float) -> dict[int, tuple[float, float]]:
        """(hits, lookups) of the last steps."""
        now = int(at // STEP_S)
        steps = self._tiers[tier].steps if tier in self._tiers else ()
        return {int(step): (hits, lookups) for step, hits, lookups in steps if now - STEPS < step <= now}

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers that were told of."""
        return tuple(self._tiers)

    @property
    def size_bytes(self) -> float | None:
        """Bytes in all replicas' caches together, None when nobody says."""
        return sum(self._bytes.values()) if self._bytes else None


def stats(
    tracks: list[CacheTracks], at: float, source: str, size_bytes: float | None = None
) -> tuple[CacheStat, ...]:
    """The tiers of all ``tracks`` together, and plainly what is not there.

    ``size_bytes`` is given when the tracks do not know their size.
    """
    tiers = sorted({tier for track in tracks for tier in track.tiers})
    found = [_stat(tier, tracks, at, source, size_bytes) for tier in tiers]
    if "l1" not in tiers:
        found.insert(0, _missing("response L1", "not used"))
    for tier, why in (("l2", "not used"), ("l3", "not probed"), ("artifacts", "no region tells")):
        if tier not in tiers:
            found.append(_missing(_NAMES[tier], why))
    return tuple(found)


def _stat(
    tier: str, tracks: list[CacheTracks], at: float, source: str, size_bytes: float | None
) -> CacheStat:
    steps: dict[int, tuple[float, float]] = {}
    for track in tracks:
        for step, (hits, lookups) in track.sums(tier, at).items():
            known = steps.get(step, (0.0, 0.0))
            steps[step] = (known[0] + hits, known[1] + lookups)
    newest = max((track.at for track in tracks if tier in track.tiers), default=at)
    last = int(at // STEP_S)
    recent = [steps.get(step, (0.0, 0.0)) for step in (last - 1, last)]
    hits, lookups = sum(each[0] for each in recent), sum(each[1] for each in recent)
    state = MeasureState.FRESH if at - newest <= STEP_S else MeasureState.STALE
    ratio = (
        Measure(hits / lookups, "ratio", newest, source, state)
        if lookups
        else absent("ratio", f"no lookups in {2 * STEP_S:.0f} s", source)
    )
    trend = []
    for step in range(min(steps, default=last), last + 1):
        one = steps.get(step)
        trend.append(one[0] / one[1] if one is not None and one[1] else None)
    sizes = [track.size_bytes for track in tracks if track.size_bytes is not None]
    total = sum(sizes) if sizes else size_bytes
    size = Measure(total, "bytes", newest, source, state) if total is not None and tier == "l1" else None
    return CacheStat(
        tier=_NAMES.get(tier, tier), hit_ratio=ratio, size=size or absent("bytes", "not told", source),
        trend=tuple(trend),
    )  # fmt: skip


def _missing(tier: str, why: str) -> CacheStat:
    return CacheStat(tier=tier, hit_ratio=absent("ratio", why), size=absent("bytes", why), note=why)
