"""Cumulative counters of one scrape, made into what grew since the scrape before.

A restarted process, a gap between scrapes and a first scrape are new beginnings: never a spike.

Whose fault a status is: every 5xx is the service's, and so is a well-formed request that the model could not
run. That one is answered with 422, but not every 422 is one of them (a client that asked for NaN as JSON gets
it too), so it is told by the refusal's reason :data:`FAILED_RUN` and not by its code. All other 4xx are the
clients' mistakes, but for 499 (the client left), which is nobody's.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from operator import sub

from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.domain.regions import RegionKind
from nimify_tui.fleet.caches import CacheTracks, has_caches
from nimify_tui.fleet.detect import Detector
from nimify_tui.fleet.series import (
    CLIENT_ERRORS,
    COLUMN_S,
    COVERED_S,
    CPU_S,
    OPEN_COLUMNS,
    REPLICAS,
    TOTAL,
    YOUNG_S,
    Series,
)
from nimify_tui.fleet.tokens import TokenTrack
from nimify_tui.fleet.tracks import HAS_STATUS, NOTHING, Mark, ReplicaTrack, ServiceTrack, packed

#: Scrapes further apart than so many intervals leave a gap: what happened meanwhile has no time.
GAP_INTERVALS = 4.5
#: The window of a replica's own numbers is once to twice as long.
OWN_WINDOW_S = 12.0
#: Start times of one process differ less than this between scrapes.
_SAME_START_S = 1.0
#: Refusals that are the server's state, not the client's doing.
OWN_FAULTS = frozenset(
    {
        "queue_full",
        "busy",
        "deadline",
        "timeout",
        "loading",
        "draining",
        "disconnected",
        "unavailable",
        "overloaded",
    }
)
#: The reason of a refusal of well-formed inputs that the model could not run; such a request is an error.
FAILED_RUN = "failed"
_LEFT = "499"
_OVERLOAD = frozenset({"queue_full", "busy", "deadline", "timeout", "overloaded", "unavailable"})

HAS_REQUESTS, HAS_DURATION, HAS_COMPUTE, HAS_BATCHES, HAS_CPU, HAS_QUEUE = 1, 2, 4, 8, 16, 32


def observe(
    service: ServiceTrack, track: ReplicaTrack, sample: ReplicaSample, scrape_s: float, caches: CacheTracks
) -> None:
    """Count one scrape. A restarted process, a gap or a first scrape is a new beginning, never a spike."""
    at = sample.at
    if at <= track.at:
        return
    service.every_s, service.latency_note = sample.every_s or 0.0, sample.latency_note
    service.via, service.partial, service.runtime = sample.via, sample.partial, sample.runtime
    _note_digests(service, track, sample.digests)
    service.documented, track.found = sample.documented, sample.found
    scalars, mask, duration = _scalars(sample), _mask(sample), sample.duration
    series = service.series
    if series is None:
        service.detector = Detector()
        series = service.series = Series(service.learn)
    # What is read seldom fills columns of long ago, its replicas each at its own time.
    series.open = max(OPEN_COLUMNS, math.ceil(service.every_s / COLUMN_S) + 2)
    grown = _grown(track, sample, scalars, mask, sample.every_s or scrape_s)
    if grown is None:
        track.mid = track.old = None
        track.security = None
    else:
        begin, values = grown
        if values[CLIENT_ERRORS] > 0.0 and sample.requests and service.detector is not None:
            track.refused = service.detector.refusals.note(track.refused, sample.requests, at)
        bounds = duration.bounds_s if duration is not None else series.bounds
        if duration is None:
            values += [0.0] * (len(series.bounds) + 1)
        for column, covered_s, share in _columns(begin, at, whole=not sample.every_s):
            part = values if share == 1.0 else [each * share for each in values]
            part[COVERED_S] = covered_s
            part[REPLICAS] = float(column != track.column)
            track.column = column
            series.add(column, part, bounds)
    if sample.security is not None and sample.security != track.security:
        _note_hostile(service, at, track.security, sample.security)
        track.security = sample.security
    if sample.cache or (sample.tokens is not None and has_caches(sample.tokens)):
        if service.caches is None:
            region = service.region.region
            service.caches = CacheTracks(one_disk=region is not None and region.kind is RegionKind.EMBEDDED)
        service.caches.observe(track, sample, caches)
    if sample.tokens is not None:
        if track.tokens is None:
            track.tokens = TokenTrack()
        track.tokens.observe(sample.tokens, sample.at, sample.started_at, GAP_INTERVALS * (sample.every_s or scrape_s))
        if service.budget is not None and (first := track.tokens.first_tokens) is not None:
            service.budget.first_tokens(at, *first)
    _remember(track, sample, scalars, mask)
    service.tells(mask, at - GAP_INTERVALS * (sample.every_s or scrape_s))
    if at > service.sampled_at:
        service.sampled_at = at


def _columns(begin: float, at: float, *, whole: bool) -> list[tuple[int, float, float]]:
    """(column, seconds of it, share) for what grew between ``begin`` and ``at``: the one in the middle if ``whole``.

    Scrapes further apart than a column is long would leave every other column empty; nobody knows when in between
    something happened, so it is spread evenly (as Prometheus' ``rate`` does it).
    """
    span_s = at - begin
    if whole:
        return [(int((begin + at) / 2.0 // COLUMN_S), span_s, 1.0)]
    found, since, last = [], begin, int(at // COLUMN_S)
    for column in range(int(begin // COLUMN_S), last):
        until = (column + 1) * COLUMN_S
        found.append((column, until - since, (until - since) / span_s))
        since = until
    if at > since:
        found.append((last, at - since, (at - since) / span_s))
    return found


def _grown(
    track: ReplicaTrack, sample: ReplicaSample, scalars: list[float], mask: int, scrape_s: float
) -> tuple[float, list[float]] | None:
    """(since when, by how much everything grew), None when that has no beginning."""
    at, started_at, duration = sample.at, sample.started_at, sample.duration
    counts = duration.counts if duration is not None else ()
    known = bool(track.scalars) and mask == track.mask
    if known and (duration is None or duration.bounds_s == track.bounds):
        before = track.started_at
        if started_at is None or before is None or abs(started_at - before) < _SAME_START_S:
            if at - track.at > GAP_INTERVALS * scrape_s:
                return None
            values = list(map(sub, scalars, track.scalars))
            values += map(sub, counts, track.counts)
            if min(values) >= 0.0:
                return track.at, values
    # The clock of who is far away is another one: its start is no time of ours to divide by.
    near = sample.every_s is None
    if near and started_at is not None and 0.0 < at - started_at <= YOUNG_S and started_at >= track.at - _SAME_START_S:
        track.mid = track.old = None
        track.security = {}
        # What waited for it is answered in a moment: the time since a scrape would have been is the least to divide by.
        return min(started_at, at - scrape_s), [*scalars, *counts]
    return None


def _scalars(sample: ReplicaSample) -> list[float]:
    """The head of a column out of cumulative counters; see :mod:`nimify_tui.fleet.series`."""
    refused = watched = failed = 0.0
    total, errors, client, limited, unavailable = _answers(sample.requests or {})
    if sample.rejected:
        overload = 0.0
        for reason, count in sample.rejected.items():
            if reason == "limited":
                limited = max(limited, count)
            if reason in _OVERLOAD:
                overload += count
            if reason == FAILED_RUN:
                failed = count
            elif reason not in OWN_FAULTS:
                refused += count
        unavailable = max(unavailable, overload)
    if sample.security:
        watched = sum(sample.security.values())
    if failed:  # each is in its 4xx too
        failed = min(failed, client)
        client -= failed
        errors += failed
    compute, queue, duration = sample.compute, sample.queue, sample.duration
    return [
        0.0, 0.0, total, errors, client, limited, unavailable, max(client, refused, watched),
        compute.sum_s if compute is not None else 0.0,
        compute.counts[-1] if compute is not None else 0.0,
        duration.sum_s if duration is not None else 0.0,
        sample.batch_sum or 0.0, sample.batch_count or 0.0, sample.cpu_s or 0.0,
        queue.sum_s if queue is not None else 0.0, failed,
    ]  # fmt: skip


def _answers(requests: dict[str, float]) -> tuple[float, float, float, float, float]:
    """(all, 5xx, 4xx that are refusals, 429, 503) of the counts by status."""
    total = errors = client = 0.0
    for code, count in requests.items():
        total += count
        first = code[:1]
        if first == "5":
            errors += count
        elif first == "4" and code != _LEFT:
            client += count
    return total, errors, client, requests.get("429", 0.0), requests.get("503", 0.0)


def _mask(sample: ReplicaSample) -> int:
    """Which families are there: absent is not zero, so a family that comes or goes is no increase."""
    return (
        (sample.requests is not None)
        | (sample.duration is not None and bool(sample.duration.bounds_s)) << 1
        | (sample.compute is not None) << 2
        | (sample.batch_count is not None) << 3
        | (sample.cpu_s is not None) << 4
        | (sample.queue is not None) << 5
        | (sample.requests is not None and "" not in sample.requests) * HAS_STATUS
    )


def _remember(track: ReplicaTrack, sample: ReplicaSample, scalars: list[float], mask: int) -> None:
    duration = sample.duration
    track.counts = array("d", duration.counts) if duration is not None else NOTHING
    if track.mid is None or sample.at - track.mid[0] >= OWN_WINDOW_S:
        track.old = track.mid
        track.mid = packed(Mark(sample.at, scalars[TOTAL], scalars[CPU_S], track.counts))
    track.at, track.started_at, track.scalars, track.mask = (
        sample.at,
        sample.started_at,
        array("d", scalars),
        mask,
    )
    track.bounds = duration.bounds_s if duration is not None else ()
    track.in_flight, track.queued, track.rss_bytes = sample.in_flight, sample.queued, sample.rss_bytes
    track.failed = ""


def _note_digests(service: ServiceTrack, track: ReplicaTrack, told: tuple[str, ...] | None) -> None:
    """Keep which replica serves a model that no revision of its service has, where its own revision is known."""
    if told is None:
        return
    fact, name = service.service, track.replica.key.replica
    service.tells_digests = True
    if fact is None or not fact.model_sha256:
        return
    if service.foreign is None and told == (fact.model_sha256,):
        return  # as nearly always
    revisions = {each.number: each.spec.model_sha256 for each in fact.revisions} | {fact.revision: fact.model_sha256}
    known = track.replica.revision in revisions
    strange = [each for each in told if each not in revisions.values()] if known else []
    if strange:
        service.foreign = (service.foreign or {}) | {name: strange[0]}
    elif service.foreign is not None and name in service.foreign:
        del service.foreign[name]


def _note_hostile(
    service: ServiceTrack,
    at: float,
    before: dict[tuple[str, str], float] | None,
    now: dict[tuple[str, str], float],
) -> None:
    """Keep by how much each category of security events grew."""
    if before is None:
        return
    for pair, count in now.items():
        grown = count - before.get(pair, 0.0)
        if grown > 0.0:
            if service.hostile is None:
                service.hostile = deque(maxlen=256)
            service.hostile.append((at, pair[0], grown))
