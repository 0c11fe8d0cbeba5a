"""Everything about one demanded row: its replicas, its hour, why it is so, and its numbers one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import sub

from nimify_tui.domain.alerts import Incident
from nimify_tui.domain.changes import Change, ChangeKind, Onset, Peer, Why
from nimify_tui.domain.measures import Measure, MeasureState, ReplicaUse, absent
from nimify_tui.domain.services import ReplicaState, ServiceState
from nimify_tui.fleet.budgets import Budget, budget_lines
from nimify_tui.fleet.cachestats import stats
from nimify_tui.fleet.counters import HAS_BATCHES, HAS_COMPUTE, HAS_CPU, HAS_DURATION, HAS_QUEUE
from nimify_tui.fleet.feeds import Changes, Security
from nimify_tui.fleet.frames import (
    ChartColumn,
    LatencyHistory,
    MetricLine,
    ReplicaRow,
    ServiceDetail,
    ServiceRow,
)
from nimify_tui.fleet.health import UNWELL
from nimify_tui.fleet.numbers import (
    ABSENT_S,
    NO_HISTOGRAM,
    SERVING,
    STALE_INTERVALS,
    absent_s,
    fresh_of,
    lag_columns,
    latencies,
    with_origin,
)
from nimify_tui.fleet.quantiles import merge, quantile
from nimify_tui.fleet.rows import budget_over
from nimify_tui.fleet.series import (
    BATCH_ITEMS,
    BATCHES,
    COLUMN_S,
    COMPUTE_S,
    COMPUTES,
    CPU_S,
    DURATION_S,
    ERRORS,
    HOSTILE,
    HOUR_COLUMNS,
    LIMITED,
    QUEUE_S,
    TOTAL,
    UNAVAILABLE,
    Window,
)
from nimify_tui.fleet.shared import SharedCache
from nimify_tui.fleet.tokenlines import token_lines
from nimify_tui.fleet.tracks import ReplicaTrack, ServiceTrack, unpacked
from nimify_tui.fleet.whereabouts import Whereabouts
from nimify_tui.fleet.words import span

#: A column is closed so long after its end: the scrapes that tell of it have come by then.
CLOSE_S = 3.0
#: What a host measures comes once a second; older than this it is stale, seconds.
USE_STALE_S = 10.0
#: Changes that get a mark in the chart: what somebody did.
MARKS = frozenset(
    {
        ChangeKind.ROLLOUT, ChangeKind.SCALE, ChangeKind.RESTART, ChangeKind.CONFIG, ChangeKind.OPERATOR,
        ChangeKind.CREATE,
    }
)  # fmt: skip
#: What only metrics show is known to a column.
_SLACK_S = COLUMN_S

Explain = Callable[[Onset, Sequence[Change], Sequence[Peer], float], Why]


class Detail:
    """The detail of one demanded row; keeps the closed columns of its chart between frames."""

    def __init__(self, row_id: str) -> None:
        self.row_id = row_id
        self._columns: list[ChartColumn] = []
        self._frozen: tuple[ChartColumn, ...] = ()
        self._keys: tuple[object, ...] = ()
        self._whereabouts = Whereabouts()
        self.shown: ServiceDetail | None = None

    def build(
        self,
        row: ServiceRow,
        tracks: Sequence[ServiceTrack],
        peers: Sequence[ServiceTrack],
        at: float,
        scrape_s: float,
        changes: Changes,
        security: Security,
        explain: Explain,
        incidents: tuple[Incident, ...] = (),
        shared: Sequence[SharedCache] = (),
    ) -> ServiceDetail:
        """The detail as it is at ``at``; ``tracks`` are the row's services, ``peers`` all of the same fold,
        ``shared`` the caches of its regions.
        """
        mine = sorted(
            {change.id: change for track in tracks for change in changes.of(track.key)}.values(),
            key=lambda each: -each.at,
        )
        around = [*mine, *(each for track in tracks for each in changes.of_region(track.key.region))]
        around += [each for peer in peers if peer not in tracks for each in changes.of(peer.key)]
        caches = [track.caches for track in tracks if track.caches is not None]
        self.shown = ServiceDetail(
            row_id=self.row_id,
            services=tuple(track.service for track in tracks if track.service is not None),
            replicas=tuple(
                replica_row(each, track, at, scrape_s) for track in tracks for each in track.replicas.values()
            ),
            history=self._history(row, tracks, at, mine, incidents),
            why=_why(row, tracks, peers, at, around, explain),
            changes=tuple(mine),
            security=security.of(track.key for track in tracks),
            metrics=(
                *fold_lines(row, tracks, at),
                *(line for track in tracks for line in metric_lines(track, at, scrape_s)),
            ),
            caches=stats(caches, at, "metrics", shared),
            models=tuple(each for track in tracks for each in track.models),
            asked=self._whereabouts.of(tracks),
        )
        return self.shown

    def _history(
        self,
        row: ServiceRow,
        tracks: Sequence[ServiceTrack],
        at: float,
        changes: Sequence[Change],
        incidents: tuple[Incident, ...],
    ) -> LatencyHistory:
        keys = tuple(track.key for track in tracks)
        if keys != self._keys:
            self._keys, self._columns, self._frozen = keys, [], ()
        series = [track.series for track in tracks if track.series is not None]
        reason = ""
        if series:
            self._extend(tracks, at)
        else:
            reason = row.p95.reason or "no scrape answered yet"
        newest = max((track.sampled_at for track in tracks), default=0.0)
        begin = self._frozen[0].at if self._frozen else at
        return LatencyHistory(
            column_s=COLUMN_S,
            columns=self._frozen,
            age_s=max(0.0, at - newest) if newest else None,
            source=row.p95.source or row.rps.source or "metrics",
            slo=row.slo,
            marks=tuple(each for each in reversed(changes) if each.kind in MARKS and each.at >= begin),
            reason=reason,
            incidents=incidents,
            runtime=next((track.runtime for track in tracks if track.runtime), ""),
        )

    def _extend(self, tracks: Sequence[ServiceTrack], at: float) -> None:
        last = int((at - CLOSE_S) // COLUMN_S) - 1 - max(map(lag_columns, tracks), default=0)
        if self._columns:
            first = round(self._columns[-1].at / COLUMN_S) + 1
        else:
            oldest = [track.series.oldest for track in tracks if track.series is not None and track.series.newest]
            if not oldest:
                return
            first = min(oldest)
        first = max(first, last - HOUR_COLUMNS + 1)
        if first > last:
            return
        self._columns += [chart_column(tracks, column) for column in range(first, last + 1)]
        del self._columns[: max(0, len(self._columns) - HOUR_COLUMNS)]
        self._frozen = tuple(self._columns)


def chart_column(tracks: Sequence[ServiceTrack], column: int) -> ChartColumn:
    """One column over all regions, merged by buckets; a column nobody was scraped in is a gap."""
    told = [(track, track.series.column(column) if track.series is not None else None) for track in tracks]
    windows = [window for _, window in told if window is not None]
    at = column * COLUMN_S
    if not windows:
        return ChartColumn(at, None, None, None, None, None)
    without = tuple(track.key.region for track, window in told if window is None and not _stopped(track))
    rps = sum(window.rps for window in windows)
    total = sum(window.values[TOTAL] for window in windows)
    error = sum(window.values[ERRORS] for window in windows) / total if total >= 0.5 else None
    together = merge((window.bounds, window.counts) for window in windows)
    if together is None or together[1][-1] < 0.5:
        return ChartColumn(at, None, None, None, rps, error, without=without)
    found = [quantile(q, *together) for q in (0.5, 0.95, 0.99)]
    p50, p95, p99 = (each.value if each is not None else None for each in found)
    signs = "".join(each.sign if each is not None else " " for each in found)
    return ChartColumn(at, p50, p95, p99, rps, error, signs if signs.strip() else "", without)


def _stopped(track: ServiceTrack) -> bool:
    return track.service is not None and (track.service.stopped or track.service.desired_replicas == 0)


def replica_row(track: ReplicaTrack, service: ServiceTrack, at: float, scrape_s: float) -> ReplicaRow:
    """One replica with its own numbers, over its last 12 to 24 s."""
    replica = track.replica
    units = ("rps", "s", "ratio", "bytes", "count")
    if replica.state in (ReplicaState.BACKOFF, ReplicaState.EXITED):
        why = "it does not run"
    elif not track.at:
        told = replica.admin_url or (service.service is not None and service.service.metrics_at)
        why = track.failed or ("no scrape answered yet" if told else "it tells no address for metrics")
    elif at - track.at > absent_s(service):
        why = f"no scrape answered for {span(at - track.at)}" + (f" ({track.failed})" if track.failed else "")
    else:
        why = ""
    if why:
        rps, p95, cpu, rss, busy = (absent(unit, why) for unit in units)
        if track.use is not None and at - track.use.at <= ABSENT_S:
            cpu, rss = _used(track.use, at, why)
        return ReplicaRow(replica=replica, rps=rps, p95=p95, cpu_ratio=cpu, rss=rss, in_flight=busy)
    stale = at - track.at > STALE_INTERVALS * (service.every_s or scrape_s)
    state = MeasureState.STALE if stale else MeasureState.FRESH
    reason = f"last scrape {span(at - track.at)} ago" + (f" ({track.failed})" if track.failed else "") if stale else ""

    def gauge(value: float | None, unit: str) -> Measure:
        if value is None:
            return absent(unit, "this runtime does not tell it", "metrics")
        return Measure(value, unit, track.at, "metrics", state, reason)

    rss, busy = gauge(track.rss_bytes, "bytes"), gauge(track.in_flight, "count")
    kept = track.old or track.mid
    now = track.now
    begin = unpacked(kept) if kept is not None else now
    if now.at <= begin.at:
        why = "two scrapes are needed, one answered so far"
        rps, p95, cpu = absent("rps", why), absent("s", why), absent("ratio", why)
        return ReplicaRow(replica=replica, rps=rps, p95=p95, cpu_ratio=cpu, rss=rss, in_flight=busy)
    span_s = now.at - begin.at
    counts = list(map(sub, now.counts, begin.counts))
    p95 = (
        latencies(track.bounds, counts, track.at, "metrics", state, reason)[1]
        if track.bounds
        else absent("s", service.latency_note or NO_HISTOGRAM, "metrics")
    )
    cpu = gauge((now.cpu_s - begin.cpu_s) / span_s if track.mask & HAS_CPU else None, "ratio")
    rps = Measure((now.total - begin.total) / span_s, "rps", track.at, "metrics", state, reason)
    return ReplicaRow(replica=replica, rps=rps, p95=p95, cpu_ratio=cpu, rss=rss, in_flight=busy)


def _used(use: ReplicaUse, at: float, why: str) -> tuple[Measure, Measure]:
    """(processor, memory) as the replica's host measures them."""
    state = MeasureState.STALE if at - use.at > USE_STALE_S else MeasureState.FRESH

    def told(value: float | None, unit: str) -> Measure:
        return absent(unit, why, use.source) if value is None else Measure(value, unit, use.at, use.source, state)

    return told(use.cpu_ratio, "ratio"), told(use.memory_bytes, "bytes")


def fold_lines(row: ServiceRow, tracks: Sequence[ServiceTrack], at: float) -> list[MetricLine]:
    """The row's own numbers where it stands for several regions (``region`` ""), its error budget over all of them."""
    if len(tracks) < 2:
        return []
    budget = budget_over(row.slo, tracks, at, _old(row))
    return [MetricLine(name=name, region="", measure=value) for name, value in _row_lines(row, budget)]


def _old(row: ServiceRow) -> str:
    return row.burn.reason if row.burn.state is MeasureState.STALE else ""


def _row_lines(row: ServiceRow, budget: Budget | None) -> list[tuple[str, Measure]]:
    lines = [
        ("requests a second", row.rps), ("latency p50", row.p50), ("latency p95", row.p95),
        ("latency p99", row.p99),
        ("error ratio (5xx, failed runs)", row.error_ratio),
    ]  # fmt: skip
    if budget is None:
        return [*lines, ("error budget burn", row.burn)]
    return [*lines, *budget_lines(budget, row.burn, row.burn.source)]


def metric_lines(track: ServiceTrack, at: float, scrape_s: float) -> list[MetricLine]:
    """The numbers of one service in one region with their sources, one a line."""
    row, region = track.row, track.key.region
    if row is None:
        return []
    lines = _row_lines(row, budget_over(row.slo, [track], at, _old(row)))
    window = track.window
    base = row.rps
    if window is not None and base.value is not None:

        def told(value: float | None, unit: str, has: int = 0, empty: str = "no requests in the window") -> Measure:
            if has and not track.mask & has:
                return absent(unit, "this runtime does not tell it", base.source)
            if value is None:
                return absent(unit, empty, base.source)
            return Measure(value, unit, base.at, base.source, base.state, base.reason)

        lines += [
            ("latency, mean", _mean_latency(track, window, base)),
            ("compute time per run", told(window.mean(COMPUTE_S, COMPUTES), "s", HAS_COMPUTE)),
            ("time in the queue", told(window.mean(QUEUE_S, COMPUTES), "s", HAS_QUEUE | HAS_COMPUTE)),
            ("items per run (batch)", told(window.mean(BATCH_ITEMS, BATCHES), "count", HAS_BATCHES)),
            ("CPUs in use", told(window.rate(CPU_S), "count", HAS_CPU)),
            ("refused or malformed", told(window.rate(HOSTILE), "rps")),
            ("refused by the rate limit", told(window.rate(LIMITED), "rps")),
            ("refused for overload", told(window.rate(UNAVAILABLE), "rps")),
        ]
    fresh = fresh_of(track, at, scrape_s)
    lines += [
        (name, _sum_of(track, fresh, attribute, unit, base.reason))
        for name, attribute, unit in (
            ("in flight", "in_flight", "count"), ("waiting", "queued", "count"), ("memory (RSS)", "rss_bytes", "bytes"),
        )
    ]  # fmt: skip
    lines += token_lines(track, fresh, base)
    return [MetricLine(name=name, region=region, measure=value) for name, value in lines]


def _sum_of(track: ServiceTrack, fresh: Sequence[ReplicaTrack], attribute: str, unit: str, why: str) -> Measure:
    """A number of all replicas together; where some that run do not tell it, it is at least that."""
    known = [value for each in fresh if (value := getattr(each, attribute)) is not None]
    if not known:
        return absent(unit, why or "not told")
    newest, told = max(each.at for each in fresh), frozenset(fresh)
    running = sum(each in told or each.replica.state in SERVING for each in track.replicas.values())
    if len(known) < running:
        source = with_origin(f"sum of {len(known)} of {running} replicas", track)
        return Measure(sum(known), unit, newest, source, MeasureState.BOUND, "at least: not all tell it")
    source = with_origin("1 replica" if len(known) == 1 else f"sum of {len(known)} replicas", track)
    state = MeasureState.BOUND if track.partial else MeasureState.FRESH
    return Measure(sum(known), unit, newest, source, state, track.partial)


def _mean_latency(track: ServiceTrack, window: Window, base: Measure) -> Measure:
    """Over what was answered well, where its durations are counted for that alone; all requests elsewhere."""
    total_s, count = window.values[DURATION_S], window.values[TOTAL]
    if not track.mask & HAS_DURATION:
        count -= window.values[ERRORS]
    if not total_s or count < 0.5:
        return absent("s", "no requests in the window" if track.mask & HAS_DURATION else "not told", base.source)
    return Measure(total_s / count, "s", base.at, base.source, base.state, base.reason)


def _why(
    row: ServiceRow,
    tracks: Sequence[ServiceTrack],
    peers: Sequence[ServiceTrack],
    at: float,
    changes: Sequence[Change],
    explain: Explain,
) -> Why:
    track = next((each for each in tracks if each.key.region == row.reason_region), tracks[0])
    service = track.service
    assert service is not None
    shown = track.row
    by_metrics = shown is not None and shown.ready is not None and shown.ready >= shown.desired > 0
    unwell = row.state in UNWELL or row.state is ServiceState.UNKNOWN or row.state is ServiceState.STARTING
    onset = Onset(
        row_id=row.id, key=track.key, at=row.since if unwell else None, symptom=row.reason,
        slack_s=_SLACK_S if by_metrics else 0.0, revision=service.revision, content=service.model_sha256,
    )  # fmt: skip
    if row.state is ServiceState.STOPPED:
        verdict = f"nothing to explain: {row.reason or 'stopped'}"
        return Why(row_id=row.id, region=track.key.region, onset_at=None, symptom=row.reason, clues=(), verdict=verdict)
    others = [
        Peer(region=peer.key.region, well=_well(peer), revision=fact.revision, content=fact.model_sha256)
        for peer in peers
        if peer is not track and (fact := peer.service) is not None
    ]
    return explain(onset, changes, others, at)


def _well(track: ServiceTrack) -> bool | None:
    if track.row is None or track.row.state in (ServiceState.UNKNOWN, ServiceState.STARTING, ServiceState.STOPPED):
        return None
    return track.row.state is ServiceState.OK


def unexplained(onset: Onset, changes: Sequence[Change], peers: Sequence[Peer], now: float) -> Why:
    """Stands in where nobody explains: says nothing."""
    del changes, peers, now
    return Why(row_id=onset.row_id, region=onset.key.region, onset_at=onset.at, symptom=onset.symptom, clues=(),
               verdict="not looked into")  # fmt: skip

