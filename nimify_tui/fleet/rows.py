"""Rows of the table, of the strip and of the status line, out of what the fleet remembers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from nimify_tui.domain.alerts import Alerts, AlertSeverity
from nimify_tui.domain.measures import Measure, MeasureState, absent
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import STATE_RANK, Replica, ReplicaState, ServiceState
from nimify_tui.domain.slos import Burning, Slo
from nimify_tui.fleet import numbers as measuring
from nimify_tui.fleet.budgets import Budget, burn
from nimify_tui.fleet.feeds import Changes
from nimify_tui.fleet.frames import RegionRow, ServiceRow, Summary
from nimify_tui.fleet.health import (
    GRAVITY_FAILING,
    GRAVITY_OVER,
    GRAVITY_PRESSED,
    Finding,
    judge,
    known_onset,
    ready_count,
    unseen,
    worst_of,
)
from nimify_tui.fleet.numbers import Numbers
from nimify_tui.fleet.quantiles import merge
from nimify_tui.fleet.series import BUCKETS, ERRORS, TOTAL
from nimify_tui.fleet.tracks import RegionTrack, ServiceTrack

FOREVER = float("inf")
_LOST = {
    RegionState.DOWN: "no contact",
    RegionState.AUTH: "no right to look",
    RegionState.CONNECTING: "connecting",
}


def service_row(track: ServiceTrack, at: float, slo: Slo | None, changes: Changes) -> ServiceRow:
    """The row of one service in one region; :attr:`ServiceTrack.next_at` is set to when time alone changes it."""
    service, region, numbers = track.service, track.region, track.numbers
    assert service is not None
    assert region.region is not None
    assert numbers is not None
    assert track.burnt is not None
    replicas = track.facts
    if region.seen:
        finding = _seen(track, replicas, at, changes)
        track.next_at, track.weight = finding.again_at, finding.weight
        ready: int | None = ready_count(replicas)
    else:
        finding = _unseen(track, at)
        track.next_at = FOREVER
        ready = None
    staying = {each.revision for each in replicas if each.state not in (ReplicaState.DRAINING, ReplicaState.EXITED)}
    return ServiceRow(
        id=track.row_id,
        name=track.key.name,
        depth=1,
        keys=(track.key,),
        region_states=((track.key.region, finding.state),),
        family=service.family,
        state=finding.state,
        reason=finding.reason,
        reason_region=track.key.region,
        since=finding.at,
        ready=ready,
        desired=0 if service.stopped else service.desired_replicas,
        rps=numbers.rps,
        p50=numbers.p50,
        p95=numbers.p95,
        p99=numbers.p99,
        error_ratio=numbers.error_ratio,
        burn=track.burnt,
        burning=_burning(slo, [track], at),
        slo=slo,
        revisions=tuple(sorted(staying | {service.revision})),
        production=region.region.production,
        demo=region.region.demo,
        stale=numbers.stale,
        progress=service.progress,
        models=tuple(each.name for each in track.models),
        models_note=service.models_note,
        gravity=finding.gravity,
    )


def _seen(track: ServiceTrack, replicas: Sequence[Replica], at: float, changes: Changes) -> Finding:
    service = track.service
    assert service is not None
    finding = judge(service, replicas, at)
    if finding.state is ServiceState.STOPPED:
        by = changes.stopped_by(track.key)
        finding = finding._replace(reason=f"{finding.reason} by {by}" if by else finding.reason)
    elif finding.at is not None and finding.state in (ServiceState.DOWN, ServiceState.DEGRADED):
        finding = finding._replace(at=known_onset(changes.of(track.key), replicas, finding.at))
    if track.findings and finding.state in (ServiceState.OK, ServiceState.DEGRADED):
        again_at = finding.again_at
        finding = worst_of([finding, *track.findings])
        if again_at < finding.again_at:
            finding = finding._replace(again_at=again_at)
    return track.episode.settle(finding, at)


def _unseen(track: ServiceTrack, at: float) -> Finding:
    """What is said of a service whose region is not seen: what it was, never that it is down."""
    region, service, episode = track.region, track.service, track.episode
    assert service is not None
    traffic = track.sampled_at > 0.0 and at - track.sampled_at <= measuring.ABSENT_S / 2
    if not episode.begun:
        was: ServiceState | None = judge(service, track.facts, FOREVER).state if track.replicas else None
        if service.stopped:
            was = ServiceState.STOPPED
    else:
        was = episode.state
    if region.last_known_at is not None:
        return Finding(ServiceState.UNKNOWN, unseen(was, "from the last session", traffic), region.last_known_at)
    health = region.health
    if health is None:
        return Finding(ServiceState.UNKNOWN, unseen(was, "not seen yet", traffic), None)
    cause = _LOST.get(health.state, str(health.state))
    since = health.last_contact_at if health.last_contact_at is not None else health.since
    gravity = GRAVITY_OVER if was is ServiceState.STOPPED else GRAVITY_PRESSED if traffic else GRAVITY_FAILING
    return Finding(ServiceState.UNKNOWN, unseen(was, cause, traffic), since, gravity=gravity)


def budget_of(
    slo: Slo | None, tracks: Sequence[ServiceTrack], at: float, rps: Measure | None = None
) -> Budget | None:
    """The error budget of a service over these regions at ``at``; None without an objective.

    ``rps``: its newest numbers. Where those are old, so is what burns, although its windows go on.
    """
    old = rps is not None and rps.state in (MeasureState.STALE, MeasureState.ABSENT)
    return budget_over(slo, tracks, at, (rps.reason or "old") if rps is not None and old else "")


def budget_over(slo: Slo | None, tracks: Sequence[ServiceTrack], at: float, old: str) -> Budget | None:
    """The same; ``old``: why what it is made of is not new."""
    kept = [(track.budget, track.episode.state) for track in tracks if track.budget is not None]
    if slo is None or not kept:
        return None
    idle = tuple(each for each, state in kept if state is ServiceState.STOPPED)
    return Budget(slo, tuple(each for each, _ in kept), at, old, idle)


def _burning(slo: Slo | None, tracks: Sequence[ServiceTrack], at: float) -> Burning:
    budget = budget_of(slo, tracks, at)
    return budget.burning() if budget is not None else Burning.NO


def order_key(row: ServiceRow) -> tuple[int, int, int, float, str, str]:
    """Worst first: state, whether the budget burns, what kind of trouble, then the newest, then the name."""
    calm = 0 if row.burning is Burning.FAST else 1
    return (STATE_RANK[row.state], calm, row.gravity, -(row.since or 0.0), row.name, row.id)


def fold_row(tracks: Sequence[ServiceTrack], slo: Slo | None, numbers: Numbers, at: float) -> ServiceRow:
    """One row for a service over its regions; ``tracks`` worst first, each with its row; ``numbers`` merged."""
    rows = [track.row for track in tracks if track.row is not None]
    worst = rows[0]
    if len(rows) == 1:
        return msgspec.structs.replace(worst, id=tracks[0].fold_id, depth=0)
    ready: int | None = 0
    desired, progress = 0, ""
    production = demo = False
    revisions = set(worst.revisions)
    for row in rows:
        desired += row.desired
        ready = None if ready is None or row.ready is None else ready + row.ready
        production |= row.production
        demo |= row.demo
        if row.progress and not progress:
            progress = f"{row.reason_region}: {row.progress}"
        if row.revisions != worst.revisions:
            revisions.update(row.revisions)
    return ServiceRow(
        id=tracks[0].fold_id,
        name=worst.name,
        depth=0,
        keys=tuple([row.keys[0] for row in rows]),
        region_states=tuple([row.region_states[0] for row in rows]),
        family=worst.family,
        state=worst.state,
        reason=worst.reason,
        reason_region=worst.reason_region,
        since=worst.since,
        ready=ready,
        desired=desired,
        rps=numbers.rps,
        p50=numbers.p50,
        p95=numbers.p95,
        p99=numbers.p99,
        error_ratio=numbers.error_ratio,
        burn=burn(budget_of(slo, tracks, at, numbers.rps), numbers.rps.at, numbers.rps.source),
        burning=_burning(slo, tracks, at),
        slo=slo,
        revisions=tuple(sorted(revisions)),
        production=production,
        demo=demo,
        stale=numbers.stale,
        progress=progress,
        drift=_drift(tracks),
        models=tuple(dict.fromkeys(each for row in rows for each in row.models)),
        gravity=worst.gravity,
    )


def _drift(tracks: Sequence[ServiceTrack]) -> str:
    """The versions of a service by region, "" when all that are known are the same."""
    found: dict[str, list[str]] = {}
    for track in tracks:
        service = track.service
        version = (service.labels.get("version") or service.model_sha256[:8]) if service is not None else ""
        if version:
            found.setdefault(version, []).append(track.key.region)
    if len(found) < 2:
        return ""
    most_first = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return "; ".join(f"{version} {', '.join(sorted(regions))}" for version, regions in most_first)


def region_row(track: RegionTrack, at: float, stale_s: float) -> RegionRow:
    """One region of the strip."""
    assert track.region is not None
    assert track.health is not None
    rows = [each.row for each in track.services.values() if each.row is not None]
    worst = min({row.state for row in rows}, key=STATE_RANK.__getitem__, default=None)
    rps, p95, _ = _together([track], at, stale_s)
    contact = track.health.last_contact_at
    if contact is None and track.health.state is RegionState.LIVE:
        contact = at
    return RegionRow(
        region=track.region, health=track.health, age_s=None if contact is None else max(0.0, at - contact),
        services=len(rows), worst=worst, rps=rps, p95=p95,
        traffic_seen=not track.seen and track.telling > 0 and not _late(track, at, stale_s, 2.0),
        last_known=track.last_known_at is not None,
    )  # fmt: skip


def _late(track: RegionTrack, at: float, stale_s: float, times: float = 1.0) -> bool:
    """Whether the newest sample of a region is ``times`` as old as one may be; what is read seldom may be older."""
    return at - track.sampled_at > times * (measuring.STALE_INTERVALS * track.every_s or stale_s)


def _together(regions: Iterable[RegionTrack], at: float, stale_s: float) -> tuple[Measure, Measure, Measure]:
    """rps, p95 and error ratio of everything in some regions."""
    telling = [track for track in regions if track.telling]
    if not telling:
        reason = "no service has told numbers yet"
        return absent("rps", reason), absent("s", reason), absent("ratio", reason)
    newest = max(track.sampled_at for track in telling)
    stale = all(_late(track, at, stale_s) for track in telling)
    state = MeasureState.STALE if stale else MeasureState.FRESH
    source = f"metrics of {sum(track.telling for track in telling)} services"
    rps = Measure(max(0.0, sum(track.rps for track in telling)), "rps", newest, source, state)
    sums = [pair for track in telling for pair in track.sums.items()]
    total, errors = (sum(values[index] for _, values in sums) for index in (TOTAL, ERRORS))
    none = f"no requests in {measuring.WINDOW_S:.0f} s"
    error = (
        Measure(min(1.0, max(0.0, errors / total)), "ratio", newest, source, state)
        if total >= 0.5
        else absent("ratio", none, source)
    )
    merged = merge((bounds, values[BUCKETS:]) for bounds, values in sums)
    if merged is None:
        told = any(bounds for bounds, _ in sums)
        reason = none if total < 0.5 and not told else "histograms without a common bucket bound"
        return rps, absent("s", reason, source), error
    return rps, measuring.latencies(*merged, newest, source, state)[1], error


def summary(
    regions: Sequence[RegionTrack], folds: Iterable[ServiceRow], alerts: Alerts, at: float, stale_s: float
) -> Summary:
    """The status line's numbers; regions that are paused on purpose are not among those that should be live."""
    states = [track.health.state for track in regions if track.health is not None]
    services = unhealthy = burning = 0
    for row in folds:
        services += 1
        unhealthy += STATE_RANK[row.state] < STATE_RANK[ServiceState.STARTING]
        burning += row.burning is Burning.FAST
    rps, p95, error = _together([track for track in regions if track.seen], at, stale_s)
    return Summary(
        regions_live=states.count(RegionState.LIVE),
        regions_total=len(states) - states.count(RegionState.PAUSED),
        services=services, unhealthy=unhealthy, rps=rps, p95=p95,
        error_ratio=error, burning=burning,
        alerts=alerts.count(AlertSeverity.CRITICAL) + alerts.count(AlertSeverity.WARNING) if alerts.judged else None,
        alerts_note=alerts.note, alerting=alerts.broken,
        alerts_critical=alerts.count(AlertSeverity.CRITICAL),
    )  # fmt: skip
