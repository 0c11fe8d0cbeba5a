"""The numbers of a row: measured over a window, merged by buckets, honest about age and absence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.gpus import EXPORTER_FAMILY
from nimify_tui.domain.measures import Measure, MeasureState, absent
from nimify_tui.domain.services import ReplicaState, ServiceState
from nimify_tui.domain.slos import Slo
from nimify_tui.fleet.counters import HAS_DURATION, HAS_REQUESTS
from nimify_tui.fleet.detect import ERROR_CLEAR, MUCH_SLOWER, Flag, failing, refusing
from nimify_tui.fleet.health import (
    GRAVITY_FAILING,
    GRAVITY_MUCH_SLOWER,
    GRAVITY_PRESSED,
    GRAVITY_SLOWER,
    Finding,
)
from nimify_tui.fleet.quantiles import Bounds, merge, quantile
from nimify_tui.fleet.series import COLUMN_S, ERRORS, TOTAL, Series, Window
from nimify_tui.fleet.tracks import HAS_STATUS, ReplicaTrack, ServiceTrack
from nimify_tui.fleet.words import seconds, short, span

#: Columns in the window of a row: five whole ones and the open one.
WINDOW_COLUMNS = 6
WINDOW_S = WINDOW_COLUMNS * COLUMN_S
#: A number that is older than three scrapes is stale, and after so many seconds not known any more.
STALE_INTERVALS = 3.0
ABSENT_S = 30.0
#: What is read more seldom may be so many intervals old before it is not known any more.
ABSENT_INTERVALS = 5.0
NO_STATUS = "this runtime does not tell which requests failed"
NO_HISTOGRAM = "this runtime has no latency histogram"
#: Said beside the source of numbers whose names no recorded page has been checked with.
FROM_DOCUMENTATION = "from documentation"
#: NIM 2.x tells its backend's metrics; that they are told unchanged nobody has shown with a page of its own.
NIM, NIM_BACKENDS = "nim", frozenset({"vllm", "sglang"})
#: What switches a runtime's metrics on, where that is not so by itself (docs.sglang.ai, production metrics;
#: tritonserver --help; trtllm-serve's LLM API options).
SWITCHES = {
    "sglang": "start it with --enable-metrics", "triton": "start it with --allow-metrics=true",
    "trtllm": "serve it with return_perf_metrics: true",
}  # fmt: skip
#: How it is said that nothing tells metrics there.
_SILENT = ("404", "does not answer", "refused")
#: A replica in one of these should tell its numbers.
SERVING = frozenset({ReplicaState.READY, ReplicaState.HUNG, ReplicaState.NOT_READY})
#: Of the columns.
QUANTILES = (0.5, 0.95, 0.99)


class Numbers(NamedTuple):
    """The measured columns of a row."""

    rps: Measure
    p50: Measure
    p95: Measure
    p99: Measure
    error_ratio: Measure

    @property
    def stale(self) -> bool:
        """Whether what is shown is old."""
        return self.rps.state is MeasureState.STALE


def measure(track: ServiceTrack, at: float, scrape_s: float) -> Numbers:
    """The numbers of one service in one region at ``at``; :attr:`ServiceTrack.window` is renewed."""
    series, service = track.series, track.service
    if service is not None and (service.stopped or service.desired_replicas == 0):
        track.window = None
        return _absent("stopped")
    age = at - track.sampled_at
    if series is None or not track.sampled_at:
        return _absent(_why_not(track))
    if age > absent_s(track):
        track.window = None
        failed = f" ({track.failed})" if track.failed else ""
        return _absent(f"no scrape answered for {span(age)}{failed}")
    scrape_s = track.every_s or scrape_s
    # What is read seldom has told of the newest columns only in part.
    newest = series.newest - lag_columns(track)
    if age <= STALE_INTERVALS * scrape_s or track.window is None:
        track.window = series.window(newest - WINDOW_COLUMNS + 1, newest)
    window = track.window
    if window is None:
        return _absent("two scrapes are needed, one answered so far")
    state, reason = MeasureState.FRESH, track.partial
    if age > STALE_INTERVALS * scrape_s:
        state = MeasureState.STALE
        reason = f"last scrape {span(age)} ago" + (f" ({track.failed})" if track.failed else "")
    source = _source(track, at, scrape_s)
    mask, note = track.mask, track.latency_note
    if not mask & HAS_DURATION and track.front is not None and track.front.fresh(at):
        mask, note = mask | HAS_DURATION, track.front.note
    return of_window(window, mask, track.sampled_at, source, state, reason, series.conflict, note)


def fresh_of(track: ServiceTrack, at: float, scrape_s: float) -> list[ReplicaTrack]:
    """The replicas whose last scrape counts at ``at``."""
    fresh_s = STALE_INTERVALS * (track.every_s or scrape_s)
    return [each for each in track.replicas.values() if each.at and at - each.at <= fresh_s]


def absent_s(track: ServiceTrack) -> float:
    """The numbers of a service are not known any more when they are older, seconds."""
    return max(ABSENT_S, ABSENT_INTERVALS * track.every_s)


def lag_columns(track: ServiceTrack) -> int:
    """So many of the newest columns are not told by all replicas yet: none at the fleet's own pace."""
    return math.ceil(track.every_s / COLUMN_S)


def of_window(
    window: Window,
    mask: int,
    at: float,
    source: str,
    state: MeasureState,
    reason: str,
    conflict: str = "",
    latency_note: str = "",
) -> Numbers:
    """All numbers out of the sums of a window."""
    total = window.values[TOTAL]
    if not mask & HAS_REQUESTS:
        rps = error = absent("rps", "this runtime does not count requests", source)
        error = absent("ratio", rps.reason, source)
    else:
        at_least = MeasureState.BOUND if reason and state is MeasureState.FRESH else state
        rps = Measure(max(0.0, window.rps), "rps", at, source, at_least, reason)
        error = (
            absent("ratio", NO_STATUS, source)
            if not mask & HAS_STATUS
            else Measure(min(1.0, window.values[ERRORS] / total), "ratio", at, source, state, reason)
            if total >= 0.5
            else absent("ratio", f"no requests in {WINDOW_S:.0f} s", source)
        )
    if not mask & HAS_DURATION:
        missing = absent("s", latency_note or NO_HISTOGRAM, source)
        return Numbers(rps, missing, missing, missing, error)
    source = ", ".join(filter(None, (source, latency_note)))
    p50, p95, p99 = latencies(window.bounds, window.counts, at, source, state, reason, conflict)
    return Numbers(rps, p50, p95, p99, error)


def latencies(
    bounds: Bounds,
    counts: Sequence[float],
    at: float | None,
    source: str,
    state: MeasureState = MeasureState.FRESH,
    reason: str = "",
    conflict: str = "",
    quantiles: Sequence[float] = QUANTILES,
) -> list[Measure]:
    """Quantiles of cumulative buckets, one for each that is asked for."""
    if conflict or counts[-1] < 0.5:
        return [absent("s", conflict or f"no requests in {WINDOW_S:.0f} s", source)] * len(quantiles)
    found = []
    for q in quantiles:
        value = quantile(q, bounds, counts)
        if value is None:
            found.append(absent("s", "no latency buckets", source))
        else:
            kind = MeasureState.BOUND if value.bound and state is MeasureState.FRESH else state
            why = "; ".join(filter(None, (value.bound, reason)))
            found.append(Measure(value.value, "s", at, source, kind, why, value.sign.strip()))
    return found


def _absent(reason: str) -> Numbers:
    seconds_ = absent("s", reason)
    return Numbers(absent("rps", reason), seconds_, seconds_, seconds_, absent("ratio", reason))


def _why_not(track: ServiceTrack) -> str:
    if track.failed:
        family = track.service.family if track.service is not None else ""
        off = SWITCHES.get(family) if any(word in track.failed for word in _SILENT) else None
        return f"metrics cannot be read: {track.failed}" + (f"; are they on? {off}" if off else "")
    if not track.replicas:
        return "no replica"
    if track.service is not None and track.service.family == EXPORTER_FAMILY:
        return "it tells GPUs, which have a panel of their own"
    told = track.service is not None and track.service.metrics_at
    if told or any(each.replica.admin_url for each in track.replicas.values()):
        return "no scrape answered yet"
    return "its replicas tell no address for metrics"


def _source(track: ServiceTrack, at: float, scrape_s: float) -> str:
    """``metrics of 2 replicas``, or how many of them could be read."""
    limit = at - STALE_INTERVALS * scrape_s
    serving = told = bare = 0
    for each in track.replicas.values():
        if each.at >= limit:
            told += 1
            serving += 1
            bare += not each.mask & HAS_DURATION
        elif each.replica.state in SERVING:
            serving += 1
    via = f"{track.via}, " if track.via else ""
    of = f" of {serving}" if told < serving else ""
    # Of several revisions some may tell a histogram: the percentiles are theirs.
    some = f", percentiles of {told - bare}" if 0 < bare < told else ""
    replicas = "replica" if told == 1 and not of else "replicas"
    return with_origin(f"{via}metrics of {told}{of} {replicas}{some}", track)


def with_origin(source: str, *tracks: ServiceTrack) -> str:
    """The source, and whether what was read there is known from its maker's documentation alone."""
    return f"{source}, {FROM_DOCUMENTATION}" if any(map(_documented, tracks)) else source


def _documented(track: ServiceTrack) -> bool:
    of_nim = track.service is not None and track.service.family == NIM
    return track.documented or (of_nim and track.runtime in NIM_BACKENDS)


def merged(children: Sequence[tuple[ServiceTrack, Numbers]]) -> Numbers:
    """The numbers of several regions together. A part is said to be a part: "2 of 3 regions"."""
    asked = [pair for pair in children if pair[0].episode.state is not ServiceState.STOPPED]
    if not asked:
        return children[0][1]
    known = [(track, numbers) for track, numbers in asked if numbers.rps.value is not None]
    if not known:
        return asked[0][1]
    if len(asked) == 1:
        return known[0][1]
    state = MeasureState.STALE if any(numbers.stale for _, numbers in known) else MeasureState.FRESH
    part = f"{len(known)} of {len(asked)} regions" if len(known) < len(asked) else ""
    at = min(numbers.rps.at or 0.0 for _, numbers in known)
    source = with_origin(f"metrics, {part or f'{len(asked)} regions'}", *(track for track, _ in known))
    total_rps = sum(numbers.rps.value or 0.0 for _, numbers in known)
    rps_state = MeasureState.BOUND if part and state is MeasureState.FRESH else state
    rps = Measure(total_rps, "rps", at, source, rps_state, part)
    windows = [track.window for track, _ in known if track.window is not None]
    total = sum(window.values[TOTAL] for window in windows)
    failed = sum(window.values[ERRORS] for window in windows)
    error = (
        absent("ratio", NO_STATUS, source)
        if not all(track.mask & HAS_STATUS for track, _ in known)
        else Measure(min(1.0, failed / total), "ratio", at, source, state, part)
        if total >= 0.5
        else absent("ratio", f"no requests in {WINDOW_S:.0f} s", source)
    )
    together = merge((window.bounds, window.counts) for window in windows)
    if together is None:
        reason = "its regions have histograms without a common bucket bound"
        if not any(window.bounds for window in windows):
            reason = next((track.latency_note for track, _ in known if track.latency_note), NO_HISTOGRAM)
        missing = absent("s", reason, source)
        return Numbers(rps, missing, missing, missing, error)
    conflicts = [track.series.conflict for track, _ in known if track.series is not None]
    conflict = next(filter(None, conflicts), "")
    # Requests of a region without a histogram are in no bucket: the percentiles are those of the others.
    blind = sum(not window.bounds and window.values[TOTAL] >= 0.5 for window in windows)
    if blind:
        part = f"{len(known) - blind} of {len(asked)} regions, the others tell no histogram"
        source = with_origin(f"metrics, {len(known) - blind} of {len(asked)} regions", *(track for track, _ in known))
    p50, p95, p99 = latencies(*together, at, source, state, part, conflict)
    return Numbers(rps, p50, p95, p99, error)


# -- what the numbers say about health ---------------------------------------------------


def assess(track: ServiceTrack, numbers: Numbers, slo: Slo | None, late: str = "") -> list[Finding]:
    """What is the matter by the numbers, worst first; nothing when they are not fresh.

    ``late``: in words how its first tokens miss its objective.
    """
    series, detector = track.series, track.detector
    if series is None or detector is None or numbers.rps.value is None or numbers.stale:
        return []
    newest = series.newest
    found = []
    recent, window = series.window(newest - 1, newest), track.window
    failed = next((hit for each in (recent, window) if each is not None and (hit := failing(each))), None)
    if failed is not None:
        onset = _error_onset(series, failed[0])
        found.append(Finding(ServiceState.DEGRADED, failed[1], onset, gravity=GRAVITY_FAILING))
    refused = detector.refusals.found
    if refused is not None:
        found.append(Finding(ServiceState.DEGRADED, refused.text, refused.onset, gravity=GRAVITY_FAILING))
    found += [
        Finding(
            ServiceState.DEGRADED, _flag_words(flag), flag.onset,
            gravity=_gravity(flag), weight=_WEIGHTS[flag.kind] * flag.factor,
        )
        for flag in detector.flags.values()
        if flag.unwell
    ]  # fmt: skip
    if recent is not None and (words := refusing(recent)):
        found.append(Finding(ServiceState.DEGRADED, words, newest * COLUMN_S, gravity=GRAVITY_PRESSED))
    if slo is not None and (words := over_slo(slo, window)):
        found.append(
            Finding(ServiceState.DEGRADED, words, _slow_onset(series, slo), gravity=GRAVITY_MUCH_SLOWER)
        )
    if late:
        found.append(Finding(ServiceState.DEGRADED, late, newest * COLUMN_S, gravity=GRAVITY_MUCH_SLOWER))
    return sorted(found, key=lambda each: (each.gravity, -each.weight))


#: An attack explains the traffic and the slowness that it makes; traffic the slowness.
_WEIGHTS = {ChangeKind.ATTACK: 1e3, ChangeKind.TRAFFIC: 10.0, ChangeKind.SLOWDOWN: 1.0}


def _gravity(flag: Flag) -> int:
    if flag.kind is not ChangeKind.SLOWDOWN:
        return GRAVITY_PRESSED
    return GRAVITY_MUCH_SLOWER if flag.factor >= MUCH_SLOWER else GRAVITY_SLOWER


def _flag_words(flag: Flag) -> str:
    """How much first: on a narrow screen the rest is cut."""
    if flag.kind is ChangeKind.SLOWDOWN:
        return f"{step}x slower: {flag.text}" if (step := steady(flag.factor)) else f"slow: {flag.text}"
    return f"attacked: {flag.text}" if flag.kind is ChangeKind.ATTACK else flag.text


def steady(factor: float) -> str:
    """``factor`` rounded down to 1.5, 2, 3, 5, 10, 15, 20, 30, 50 ...: it is at least that much slower, and
    the words are not new ones each second while it grows. "" below 1.5, where it says nothing.
    """
    if factor < 1.5:
        return ""
    tens = 10.0 ** math.floor(math.log10(factor))
    step = max(each for each in (1.0, 1.5, 2.0, 3.0, 5.0) if each * tens <= factor)
    return short(step * tens)


def _error_onset(series: Series, ratio: float) -> float:
    newest = onset = series.newest
    for column in range(newest, newest - 15, -1):
        window = series.column(column)
        if window is None or window.total < 1.0:
            continue
        if window.values[ERRORS] / window.total < max(ERROR_CLEAR, ratio / 4):
            break
        onset = column
    return onset * COLUMN_S


def over_slo(slo: Slo, window: Window | None) -> str:
    """In words, "" where it is not so or not known: in its first bucket nobody knows where a request is."""
    if window is None or slo.latency_ms is None or window.total < slo.min_requests:
        return ""
    value = quantile(slo.quantile, window.bounds, window.counts)
    limit_s = slo.latency_ms / 1000
    if value is None or value.value <= limit_s or value.at_most:
        return ""
    least = "at least " if value.bound else ""
    return f"p{slo.quantile * 100:g} {least}{seconds(value.value)} over {seconds(limit_s)} (SLO)"


def _slow_onset(series: Series, slo: Slo) -> float:
    newest = onset = series.newest
    for column in range(newest, newest - 15, -1):
        window = series.column(column)
        value = quantile(slo.quantile, window.bounds, window.counts) if window is not None else None
        if value is not None and value.value <= (slo.latency_ms or 0.0) / 1000:
            break
        onset = column
    return onset * COLUMN_S
