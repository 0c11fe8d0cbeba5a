"""Hit ratios of the caches in the replicas, out of cumulative counters, with a short trend for each tier."""

from __future__ import annotations

from array import array
from itertools import repeat
from typing import Protocol

from nimify_tui.domain.caches import ARTIFACTS, HITS, PREFIX, READINGS, STEP_S, STEPS
from nimify_tui.domain.measures import ReplicaSample, TokenSample
from nimify_tui.fleet.series import YOUNG_S

#: A counter that a scrape did not tell: what comes after it is no growth, it may be all of a process's life.
_ABSENT = -1.0
#: Results that are a hit.
_HITS = frozenset(HITS)


class Replica(Protocol):
    """Whose counters these are (any object that stays the same while the replica lives)."""

    #: What :meth:`CacheTracks.observe` keeps of its last scrape: when its process began (-1: not told), the counters.
    cached: array[float] | None


class Steps:
    """Lookups of one tier, by step."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        #: [step, hits, lookups], each step once, newest last.
        self.steps: list[list[float]] = []

    def add(self, at: float, hits: float, lookups: float) -> None:
        """Count some lookups."""
        found = _of_step(self.steps, at // STEP_S, 2)
        found[1] += hits
        found[2] += lookups

    def sums(self, at: float) -> dict[int, tuple[float, float]]:
        """(hits, lookups) of the last steps."""
        now = int(at // STEP_S)
        return {int(step): (hits, lookups) for step, hits, lookups in self.steps if now - STEPS < step <= now}


class CacheTracks:
    """The caches of one service in one region."""

    __slots__ = ("_bytes", "_kv", "_kv_steps", "_one_disk", "_places", "_tiers", "at", "every_s")

    def __init__(self, *, one_disk: bool = False) -> None:
        """``one_disk``: the replicas keep their graphs in one folder, and each tells all that is in it."""
        self._one_disk = one_disk
        self._tiers: dict[str, Steps] = {}
        #: Place of each (tier, result) in the arrays of counters; place 0 is the process's beginning.
        self._places: dict[tuple[str, str], int] = {}
        #: By replica: the sizes by tier; when its KV cache was told of, and how full it was.
        self._bytes: dict[int, dict[str, float]] = {}
        self._kv: dict[int, tuple[float, float]] = {}
        #: [step, the fullest].
        self._kv_steps: list[list[float]] = []
        self.at = 0.0
        #: How often its replicas are read where that is not the fleet's own pace, else 0; not told of a whole fleet,
        #: whose services have their own.
        self.every_s = 0.0

    def observe(self, replica: Replica, sample: ReplicaSample, whole: CacheTracks) -> None:
        """Count one scrape, here and in the ``whole`` fleet.

        The first one of a process only sets the beginning, but where it has just begun: what a server looks up at its
        start (its graph) is looked up then and never again.
        """
        told = told_by(sample)
        who, places = id(replica), self._places
        for pair in told:
            if pair not in places:
                places[pair] = len(places) + 1
        began = -1.0 if sample.started_at is None else sample.started_at
        counters, before = array("d", [began, *map(told.get, places, repeat(_ABSENT))]), replica.cached
        replica.cached = counters
        self.at, whole.at = max(self.at, sample.at), max(whole.at, sample.at)
        self.every_s = sample.every_s or 0.0
        if sample.tokens is not None and sample.tokens.kv_ratio is not None:
            self._kv[who] = (sample.at, sample.tokens.kv_ratio)
            self.fill(sample.at, sample.tokens.kv_ratio)
            whole.fill(sample.at, sample.tokens.kv_ratio)
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
                was = 0.0 if _has_just_begun(sample) else _ABSENT
            else:
                place = places[pair]
                was = before[place] if place < len(before) else _ABSENT
            grown = count - was
            if was != _ABSENT and grown > 0.0:
                hits = grown if result in _HITS else 0.0
                mine.add(sample.at, hits, grown)
                whole.tier(tier).add(sample.at, hits, grown)

    def tier(self, name: str) -> Steps:
        """The tier of this name, made when it is new."""
        found = self._tiers.get(name)
        if found is None:
            found = self._tiers[name] = Steps()
        return found

    def fill(self, at: float, ratio: float) -> None:
        """How full the KV cache of a replica is, in the trend."""
        found = _of_step(self._kv_steps, at // STEP_S, 1)
        found[1] = max(found[1], ratio)

    def forget(self, replica: Replica) -> None:
        """The replica is gone."""
        self._bytes.pop(id(replica), None)
        self._kv.pop(id(replica), None)

    def sums(self, tier: str, at: float) -> dict[int, tuple[float, float]]:
        """(hits, lookups) of the last steps."""
        return self._tiers[tier].sums(at) if tier in self._tiers else {}

    def filled(self, since: float) -> list[tuple[float, float]]:
        """(when, how full) of the KV caches of a service that were told of after ``since``."""
        return [told for told in self._kv.values() if told[0] > since]

    def fresh_s(self, least_s: float) -> float:
        """How old what it told may be, seconds: ``least_s``, and longer for what is read seldom."""
        return max(least_s, READINGS * self.every_s)

    def kv_steps(self, at: float) -> dict[int, float]:
        """The fullest KV cache of the last steps."""
        now = int(at // STEP_S)
        return {int(step): ratio for step, ratio in self._kv_steps if now - STEPS < step <= now}

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers that were told of."""
        return tuple(self._tiers)

    def size_bytes(self, tier: str) -> float | None:
        """Bytes in all replicas' caches of a tier together, None when nobody says."""
        told = [sizes[tier] for sizes in self._bytes.values() if tier in sizes]
        if self._one_disk and tier == ARTIFACTS:
            return max(told, default=None)
        return sum(told) if told else None


def _of_step(steps: list[list[float]], step: float, values: int) -> list[float]:
    """The entry of a step in ``steps``, made in its place when it is new: what one region tells is older than what
    another does, and a Prometheus tells of one replica after the other.
    """
    place = len(steps)
    while place and steps[place - 1][0] > step:
        place -= 1
    if place and steps[place - 1][0] == step:
        return steps[place - 1]
    found = [step, *[0.0] * values]
    steps.insert(place, found)
    del steps[:-STEPS]
    return found


def _has_just_begun(sample: ReplicaSample) -> bool:
    """The clock of who is far away is another one: its start is no time of ours."""
    near, began = sample.every_s is None, sample.started_at
    return near and began is not None and 0.0 < sample.at - began <= YOUNG_S


def has_caches(tokens: TokenSample) -> bool:
    """Whether a server of language models tells of its caches."""
    return tokens.kv_ratio is not None or (tokens.prefix_hits is not None and tokens.prefix_queries is not None)


def told_by(sample: ReplicaSample) -> dict[tuple[str, str], float]:
    """All lookups by (tier, result): those of prefixes are counted apart."""
    tokens = sample.tokens
    if tokens is None or tokens.prefix_hits is None or tokens.prefix_queries is None:
        return sample.cache or {}
    missed = max(0.0, tokens.prefix_queries - tokens.prefix_hits)
    return {**(sample.cache or {}), (PREFIX, "hit"): tokens.prefix_hits, (PREFIX, "miss"): missed}
