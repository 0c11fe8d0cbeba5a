"""What the fleet remembers of each replica, service and region between two frames. Only the store writes it."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add, and_, or_, sub
from typing import TYPE_CHECKING, NamedTuple

from nimify_tui.domain.asked import Found
from nimify_tui.domain.measures import Measure, ReplicaUse
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionState
from nimify_tui.domain.served import ServedModel
from nimify_tui.domain.services import Replica, Service
from nimify_tui.fleet.caches import CacheTracks
from nimify_tui.fleet.detect import Detector
from nimify_tui.fleet.frames import ModelRow, RegionRow, ServiceRow
from nimify_tui.fleet.health import Episode, Finding
from nimify_tui.fleet.quantiles import Bounds
from nimify_tui.fleet.series import CPU_S, TOTAL, Series, Window
from nimify_tui.fleet.tokens import TokenTrack

if TYPE_CHECKING:
    from nimify_tui.domain.slos import Slo
    from nimify_tui.fleet.budgets import Ledger
    from nimify_tui.fleet.fronts import FrontTrack
    from nimify_tui.fleet.numbers import Numbers

#: States in which what a region has told still counts.
SEEN = frozenset({RegionState.LIVE, RegionState.THROTTLED, RegionState.STALE, RegionState.PAUSED})
#: The bit of a service's mask for "it tells which requests failed" (the others: fleet.counters).
HAS_STATUS = 64
#: No buckets.
NOTHING = array("d")


class Mark(NamedTuple):
    """A replica's counters at some time."""

    at: float
    total: float
    cpu_s: float
    counts: Sequence[float]


def packed(mark: Mark) -> array[float]:
    """A mark to keep: a third of its size, and there are two for each replica."""
    return array("d", (mark.at, mark.total, mark.cpu_s, *mark.counts))


def unpacked(kept: array[float]) -> Mark:
    """The mark that was kept."""
    return Mark(kept[0], kept[1], kept[2], kept[3:])


class ReplicaTrack:
    """One replica: its facts and the counters of its last scrape."""

    __slots__ = (
        "at", "bounds", "cached", "column", "counts", "failed", "failed_at", "found", "in_flight", "mask", "mid",
        "models", "old", "queued", "refused", "replica", "rss_bytes", "scalars", "security", "started_at",
        "tokens", "use",
    )  # fmt: skip

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.at = 0.0
        self.started_at: float | None = None
        self.mask = 0
        self.scalars: array[float] = NOTHING
        self.bounds: Bounds = ()
        self.counts: array[float] = NOTHING
        #: Packed marks, the first of them the time.
        self.mid: array[float] | None = None
        self.old: array[float] | None = None
        #: Of the last scrape: refusals as (code, count, code, count ...), None before the first; and what the
        #: service's caches keep of it.
        self.refused: tuple[str | float, ...] | None = None
        self.cached: array[float] | None = None
        self.column = 0
        self.failed = ""
        self.failed_at = 0.0
        #: The series that its last scrape was told of, where a Prometheus has told it.
        self.found: Found | None = None
        self.in_flight: float | None = None
        self.queued: float | None = None
        self.rss_bytes: float | None = None
        self.security: dict[tuple[str, str], float] | None = None
        #: What it says that it serves, None while it has not.
        self.models: tuple[ServedModel, ...] | None = None
        self.use: ReplicaUse | None = None
        #: Of servers of language models alone.
        self.tokens: TokenTrack | None = None

    def forget_counters(self) -> None:
        """The next scrape is of another process: nothing is subtracted from it."""
        self.at = 0.0
        self.scalars = NOTHING
        self.mid = self.old = None
        self.security = None
        self.models = None
        self.tokens = None

    @property
    def now(self) -> Mark:
        """The counters of the last scrape."""
        return Mark(self.at, self.scalars[TOTAL], self.scalars[CPU_S], self.counts)


class ServiceTrack:
    """One service in one region."""

    __slots__ = (
        "_mask", "_telling_since", "budget", "burnt", "by_model", "caches", "counted", "counted_rps", "detector",
        "documented", "episode", "every_s", "failed", "findings", "fold_id", "foreign", "front", "hostile", "key",
        "latency_note", "models", "next_at", "numbers", "partial", "place", "region", "replicas", "row", "row_id",
        "runtime", "sampled_at", "series", "service", "slo", "slo_problem", "tells_digests", "via", "weight",
        "window",
    )  # fmt: skip

    def __init__(self, key: ServiceKey, region: RegionTrack) -> None:
        self.key = key
        self.row_id = key.row_id
        self.fold_id = key.fold_id
        self.region = region
        self.service: Service | None = None
        self.replicas: dict[str, ReplicaTrack] = {}
        self.series: Series | None = None
        self.detector: Detector | None = None
        self.episode = Episode()
        self.caches: CacheTracks | None = None
        self.hostile: deque[tuple[float, str, float]] | None = None
        self._mask = 0
        #: Who told last before this counts no more among those that tell; None while what they tell is known.
        self._telling_since: float | None = None
        self.sampled_at = 0.0
        #: How often its replicas are read where that is not the fleet's own pace (0.0), seconds.
        self.every_s = 0.0
        #: Why it has no latency histogram, or what that one measures; "" where who reads it has nothing to say.
        self.latency_note = ""
        #: Whether its replicas tell the digests of their models; those that no revision has, by replica.
        self.tells_digests = False
        self.foreign: dict[str, str] | None = None
        #: The family whose metrics are read, "" before the first were.
        self.runtime = ""
        #: Whether names of its metrics are known from documentation alone.
        self.documented = False
        #: Who tells its numbers where that are not its replicas, and why they may be only a part ("": they are whole).
        self.via = self.partial = ""
        self.failed = ""
        #: What stands before it and tells its percentiles, where it has none itself.
        self.front: FrontTrack | None = None
        #: Its objective, by the configuration or what the service itself tells; what is wrong with the latter.
        self.slo: Slo | None = None
        self.slo_problem = ""
        self.budget: Ledger | None = None
        self.window: Window | None = None
        #: Measured once a second: the numbers, the budget's burn, and what they say about health.
        self.numbers: Numbers | None = None
        self.burnt: Measure | None = None
        self.findings: Sequence[Finding] = ()
        self.row: ServiceRow | None = None
        #: Its models where it has several: the numbers of each, and the rows.
        self.by_model: dict[str, ServiceTrack] | None = None
        self.models: tuple[ModelRow, ...] = ()
        #: How bad it is among those of the same state and gravity.
        self.weight = 0.0
        #: Its place among the regions of its fold.
        self.place: tuple[int, int, int, float, float, str, str] = (0, 0, 0, 0.0, 0.0, "", "")
        #: When its row changes by time alone.
        self.next_at = float("inf")
        #: What of it is in the region's sums.
        self.counted: Window | None = None
        self.counted_rps: float | None = None

    @property
    def mask(self) -> int:
        """Which families there are among the replicas that tell, not of the last one alone: revisions may differ.

        Failures are told only where all tell them: what one does not tell would look as if it never failed. Looked
        for when it is asked: with each scrape it would be all replicas for each of them.
        """
        since, self._telling_since = self._telling_since, None
        if since is not None:
            told = {each.mask for each in self.replicas.values() if each.at and each.at >= since}
            if told:  # else they are gone since: it stays what they told
                self._mask = reduce(or_, told) & ~HAS_STATUS | reduce(and_, told) & HAS_STATUS
        return self._mask

    def tells(self, mask: int, since: float) -> None:
        """A replica has told these families; who told last before ``since`` counts no more."""
        if self._telling_since is not None or mask != self._mask:
            self._telling_since = since

    def learn(self, column: int, window: Window) -> None:
        """A column has closed."""
        if self.detector is not None:
            self.detector.learn(window)
        if self.budget is not None and self.mask & HAS_STATUS:
            self.budget.learn(column, window)

    @property
    def countable(self) -> Window | None:
        """Its window as it counts in sums over services: who does not tell its failures has no part in their ratio."""
        window = self.window
        if window is None or self.mask & HAS_STATUS:
            return window
        values = list(window.values)
        values[TOTAL] = 0.0
        return Window(window.bounds, values, window.span_s)

    @property
    def facts(self) -> list[Replica]:
        """Its replicas."""
        return [track.replica for track in self.replicas.values()]


class RegionTrack:
    """One region: how it is seen, and its services."""

    __slots__ = (
        "every_s", "health", "last_known_at", "name", "region", "row", "rps", "sampled_at", "services", "sums",
        "telling",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.region: Region | None = None
        self.health: RegionHealth | None = None
        self.services: dict[ServiceKey, ServiceTrack] = {}
        #: When the rows were written down, for rows from the disk.
        self.last_known_at: float | None = None
        self.row: RegionRow | None = None
        #: Sums of its services' windows by their bounds, and what they are made of.
        self.sums: dict[Bounds, list[float]] = {}
        self.rps = 0.0
        self.telling = 0
        #: When its newest sample is from, and how often such come, seconds (0: as often as we scrape).
        self.sampled_at = self.every_s = 0.0

    @property
    def seen(self) -> bool:
        """Whether its services are seen now."""
        return self.health is not None and self.health.state in SEEN and self.last_known_at is None

    def count(self, track: ServiceTrack, window: Window | None, rps: float | None) -> None:
        """Replace what of ``track`` is in the sums."""
        old = track.counted
        if window is not old:
            if old is not None:
                self._add(old, sub)
            if window is not None:
                self._add(window, add)
            track.counted = window
        if track.counted_rps is not None:
            self.rps -= track.counted_rps
            self.telling -= 1
        if rps is not None:
            self.rps += rps
            self.telling += 1
        track.counted_rps = rps
        if self.telling == 0:  # nothing is left: neither are rounding errors
            self.sums.clear()
            self.rps = 0.0
        if track.sampled_at >= self.sampled_at:
            self.sampled_at, self.every_s = track.sampled_at, track.every_s

    def _add(self, window: Window, how: Callable[[float, float], float]) -> None:
        known = self.sums.get(window.bounds)
        if known is None:
            known = [0.0] * len(window.values)
        self.sums[window.bounds] = list(map(how, known, window.values))
