"""Frames: immutable pictures of the fleet. The only thing the screens and the snapshot look at.

A frame shares every unchanged row with the frame before (``new.rows[id] is old.rows[id]``), so a
reader finds what changed by identity.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from nimify_tui.domain.alerts import NO_ALERTS, Alerts, Incident
from nimify_tui.domain.asked import Asked
from nimify_tui.domain.changes import Change, Why
from nimify_tui.domain.demands import HistoryDemand, ObjectDemand
from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.history import History
from nimify_tui.domain.measures import Measure
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.objects import ObjectText
from nimify_tui.domain.plans import Rights
from nimify_tui.domain.regions import Region as RegionFact
from nimify_tui.domain.regions import RegionHealth
from nimify_tui.domain.security import SecurityEvent
from nimify_tui.domain.served import ModelKind
from nimify_tui.domain.services import Replica, Service, ServiceState
from nimify_tui.domain.slos import Burning, Slo


class RegionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One region of the strip. ``age_s`` is the time since the last contact, None before the first.

    ``traffic_seen`` is True while metrics of its services still come in although the region itself
    does not answer. ``last_known`` marks rows read from disk, never seen in this session.
    """

    region: RegionFact
    health: RegionHealth
    age_s: float | None
    services: int
    worst: ServiceState | None
    rps: Measure
    p95: Measure
    traffic_seen: bool = False
    last_known: bool = False


class ServiceRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of the service table.

    ``id`` is ``ServiceKey.fold_id`` for a folded service and ``ServiceKey.row_id`` for one region
    of it (``depth`` 1). ``keys`` are the services in it, worst first; ``region_count`` how many
    regions; ``region_states`` pairs (region, state). ``reason_region`` names the region that the
    state and the reason come from. ``ready`` is None when not known (region not seen).
    Measures are over the last ``window_s`` of the fleet; quantiles are merged by buckets.
    """

    id: str
    name: str
    depth: int
    keys: tuple[ServiceKey, ...]
    region_states: tuple[tuple[str, ServiceState], ...]
    family: str
    state: ServiceState
    reason: str
    reason_region: str
    since: float | None
    ready: int | None
    desired: int
    rps: Measure
    p50: Measure
    p95: Measure
    p99: Measure
    error_ratio: Measure
    burn: Measure
    slo: Slo | None
    revisions: tuple[int, ...]
    production: bool
    demo: bool
    stale: bool = False
    #: Whether the error budget goes so fast that somebody should know.
    burning: Burning = Burning.NO
    progress: str = ""
    #: Which versions run where, when they are not the same in all regions ("1.12.0 us-east-1; 1.11.0 eu-west-1").
    drift: str = ""
    #: The names it answers to where there are several, and what is not known of them.
    models: tuple[str, ...] = ()
    models_note: str = ""
    #: Among rows of one state: how grave the trouble is, 0 first (see ``fleet.health.Finding``).
    gravity: int = 0

    @property
    def region_count(self) -> int:
        """How many regions this row stands for."""
        return len(self.region_states)

    @property
    def expandable(self) -> bool:
        """True for a folded row with more than one region, and where several models are served."""
        return self.opens_by_region or bool(self.models)

    @property
    def opens_by_region(self) -> bool:
        """True for a folded row with more than one region."""
        return self.depth == 0 and len(self.region_states) > 1


class ModelRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One of several models (or adapters) of a service in one region.

    ``state`` is UNKNOWN where nobody who knows was asked; ``reason`` says so. ``ready`` of ``told`` replicas that
    tell what they serve have it ready; ``told`` 0: none tells. ``source`` is where its name is from.
    """

    id: str
    name: str
    kind: ModelKind
    state: ServiceState
    reason: str
    ready: int
    told: int
    versions: tuple[str, ...]
    source: str
    rps: Measure
    p50: Measure
    p95: Measure
    p99: Measure
    error_ratio: Measure


class CacheStat(msgspec.Struct, frozen=True, kw_only=True):
    """One cache tier: "response L1", "redis L2", "edge L3", "KV", "prefix", "model artifacts" ...

    ``trend`` oldest first, 0 to 1: of ``use`` where that is told (how full it is), of the hit ratio elsewhere.
    ``evictions`` are those a second, ``limit`` is how large it may become, ``latency`` how long it takes to answer;
    None of any: does not apply. ``asked``: where the numbers of caches beside the services came from.
    """

    tier: str
    hit_ratio: Measure
    size: Measure
    trend: tuple[float | None, ...] = ()
    note: str = ""
    use: Measure | None = None
    evictions: Measure | None = None
    limit: Measure | None = None
    latency: Measure | None = None
    asked: tuple[Asked, ...] = ()


class ChartColumn(msgspec.Struct, frozen=True, gc=False):
    """One closed column of the latency chart, ``at`` its start. None is a gap (no data), never zero.

    ``bounds`` has a sign for each percentile: ">" in the open bucket, "<" in the first one, else " "; "" is none at
    all. ``without`` are the regions that told nothing of it while others did.
    """

    at: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    rps: float | None
    error_ratio: float | None
    bounds: str = ""
    without: tuple[str, ...] = ()


class LatencyHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The chart's data for the demanded row; columns of ``column_s`` seconds aligned to whole ones.

    ``marks`` and ``incidents`` are in the order of time; ``runtime`` is the family whose metrics are read,
    "" where none is.
    """

    column_s: float
    columns: tuple[ChartColumn, ...]
    age_s: float | None
    source: str
    slo: Slo | None
    marks: tuple[Change, ...] = ()
    reason: str = ""
    incidents: tuple[Incident, ...] = ()
    runtime: str = ""


class ReplicaRow(msgspec.Struct, frozen=True, kw_only=True):
    """One replica in the detail with its own numbers."""

    replica: Replica
    rps: Measure
    p95: Measure
    cpu_ratio: Measure
    rss: Measure
    in_flight: Measure


class MetricLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the metrics tab: what, value, and where it came from. ``region`` "": all of the row's together."""

    name: str
    region: str
    measure: Measure


class ServiceDetail(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one demanded row. ``services`` holds one fact for each region in it."""

    row_id: str
    services: tuple[Service, ...]
    replicas: tuple[ReplicaRow, ...]
    history: LatencyHistory
    why: Why
    changes: tuple[Change, ...]
    security: tuple[SecurityEvent, ...]
    metrics: tuple[MetricLine, ...]
    caches: tuple[CacheStat, ...]
    models: tuple[ModelRow, ...] = ()
    #: Where the numbers came from.
    asked: tuple[Asked, ...] = ()


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The status line's numbers over all regions that are seen.

    ``alerts`` is how many fire (mere information and what is silenced not counted), ``alerts_critical`` how many of
    them are critical; None: nothing can be judged, and ``alerts_note`` says why. ``alerting`` says where alerts do
    not arrive and why, "" where they do.
    """

    regions_live: int
    regions_total: int
    services: int
    unhealthy: int
    rps: Measure
    p95: Measure
    error_ratio: Measure
    burning: int
    alerts: int | None
    alerts_note: str
    alerts_critical: int = 0
    alerting: str = ""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at ``at`` (unix seconds).

    ``order`` is worst first over folded rows (depth 0) only; ``children[id]`` are the rows of one
    region each, worst first, and exist for expandable rows. ``rows`` holds both. ``details`` holds
    what is demanded. ``models[id]`` are the models of a row of one region (the folded row where it is the only
    one) that serves several, the unwell first; they are no rows of their own in ``rows``.
    ``security`` and ``changes`` are newest first and bounded;
    ``security_dropped`` counts what fell out. ``applied`` counts the updates applied so far.
    ``objects`` and ``histories`` are the newest answers to ObjectDemands and HistoryDemands.
    """

    version: int
    at: float
    summary: Summary
    regions: tuple[RegionRow, ...]
    rows: Mapping[str, ServiceRow]
    order: tuple[str, ...]
    children: Mapping[str, tuple[str, ...]]
    security: tuple[SecurityEvent, ...]
    security_dropped: int
    changes: tuple[Change, ...]
    gpus: tuple[GpuPanel, ...]
    caches: tuple[CacheStat, ...]
    details: Mapping[str, ServiceDetail]
    window_s: float
    applied: int
    objects: Mapping[ObjectDemand, ObjectText] = {}
    histories: Mapping[HistoryDemand, History] = {}
    models: Mapping[str, tuple[ModelRow, ...]] = {}
    #: Where the numbers of the caches in replicas came from.
    asked: tuple[Asked, ...] = ()
    #: What may be done to services that were looked at, as far as their regions have said.
    rights: Mapping[ServiceKey, Rights] = {}
    alerts: Alerts = NO_ALERTS
