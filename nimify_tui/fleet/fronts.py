"""Percentiles that what stands before a service tells, for services that have none of their own."""

from __future__ import annotations

from collections.abc import Iterable
from operator import sub

from nimify_tui.domain.measures import Front, Histogram
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.fleet.counters import GAP_INTERVALS, HAS_DURATION
from nimify_tui.fleet.series import BUCKETS, COLUMN_S
from nimify_tui.fleet.tracks import ServiceTrack

#: One that was silent for so many intervals gives its place to another kind of front.
LOST_INTERVALS = 5.0


class FrontTrack:
    """What stands before one service: the last histograms of each of its replicas."""

    __slots__ = ("_told", "at", "every_s", "note")

    def __init__(self, note: str) -> None:
        self.note = note
        self.at = self.every_s = 0.0
        self._told: dict[ReplicaKey, tuple[float, Histogram]] = {}

    def grown(self, who: ReplicaKey, at: float, now: Histogram, every_s: float) -> list[float] | None:
        """By how much its buckets grew, None when that has no beginning: a first telling, a gap, another process."""
        known = self._told.get(who)
        self._told[who] = (at, now)
        self.at, self.every_s = max(self.at, at), every_s
        if known is None or at <= known[0] or at - known[0] > GAP_INTERVALS * every_s:
            return None
        before = known[1]
        if before.bounds_s != now.bounds_s:
            return None
        values = list(map(sub, now.counts, before.counts))
        return values if min(values) >= 0.0 else None

    def fresh(self, at: float) -> bool:
        """Whether it still tells."""
        return at - self.at <= LOST_INTERVALS * self.every_s


def observe_front(
    services: Iterable[ServiceTrack], who: ReplicaKey, at: float, front: Front, every_s: float
) -> list[ServiceTrack]:
    """Give each service of the region that has no percentiles those that are told of its address; who got some.

    An address before several services tells of all of them together, and so of none.
    """
    by_address: dict[tuple[str, str], list[ServiceTrack]] = {}
    for service in services:
        if service.service is not None:
            for address in service.service.around.addresses:
                by_address.setdefault((service.key.namespace, address.name), []).append(service)
    found = []
    for key, histogram in front.services.items():
        behind = by_address.get(key, ())
        if len(behind) == 1 and _take(behind[0], who, at, front.who, histogram, every_s):
            found.append(behind[0])
    return found


def _take(
    service: ServiceTrack, who: ReplicaKey, at: float, note: str, histogram: Histogram, every_s: float
) -> bool:
    if service.mask & HAS_DURATION or service.series is None:
        service.front = None
        return False
    track = service.front
    if track is None or (track.note != note and not track.fresh(at)):
        track = service.front = FrontTrack(note)
    if track.note != note:  # each request passes both: one of them is heard
        return False
    values = track.grown(who, at, histogram, every_s)
    if values is None:
        return False
    service.series.add(int(at // COLUMN_S), [0.0] * BUCKETS + values, histogram.bounds_s)
    return True
