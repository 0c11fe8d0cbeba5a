"""A service's detail: replicas, events, revisions, metrics, configuration as rows and lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nimify_tui.base.text import clean_line
from nimify_tui.domain.measures import Measure
from nimify_tui.domain.names import ServiceKey, short_region
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import Limits, Replica, ReplicaState, Service, ServiceState
from nimify_tui.fleet.frames import MetricLine, ModelRow, RegionRow, ReplicaRow, ServiceDetail, ServiceRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.glyphs import STATE_STYLES, Glyphs
from nimify_tui.ui.present import around
from nimify_tui.ui.present.models import model_facts
from nimify_tui.ui.present.services import reason_text, since_text, where_text
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.table import Row

Spans = tuple[tuple[str, str], ...]

TABS: tuple[str, ...] = ("overview", "logs", "events", "revisions", "metrics", "configuration", "try")

REPLICA_COLUMNS: tuple[Column, ...] = (
    Column("replica", "REPLICA", 14, 24, flex=1, shorten="middle"),
    Column("where", "WHERE", 7, 14, flex=1, priority=1),
    Column("state", "STATE", 9),
    Column("since", "SINCE", 5, align="right", priority=2),
    Column("rev", "REV", 4, align="right", priority=3),
    Column("run", "RUN", 4, align="right", priority=4),
    Column("pid", "PID", 7, align="right", priority=9),
    Column("rps", "RPS", 5, align="right", priority=5),
    Column("p95", "P95", 5, align="right", priority=3),
    Column("busy", "BUSY", 4, align="right", priority=6),
    Column("cpu", "CPU", 5, align="right", priority=7),
    Column("memory", "MEM", 5, align="right", priority=6),
    Column("reason", "REASON, LAST WORDS", 18, flex=5),
)
REVISION_COLUMNS: tuple[Column, ...] = (
    Column("rev", "REV", 4, align="right"),
    Column("where", "WHERE", 7, 14, flex=1),
    Column("runs", "", 7),
    Column("created", "CREATED", 11),
    Column("by", "BY", 10, 24, flex=1, priority=1),
    Column("model", "MODEL", 8, priority=2),
    Column("note", "WHAT DIFFERS", 20, flex=4),
)
METRIC_COLUMNS: tuple[Column, ...] = (
    Column("name", "METRIC", 25, 34, flex=2),
    Column("where", "WHERE", 6, 14, flex=1, priority=2),
    Column("value", "VALUE", 7, align="right"),
    Column("age", "AGE", 8, align="right", priority=3),
    Column("state", "", 6, priority=1),
    Column("source", "SOURCE, REASON", 14, flex=3, priority=4),
)
#: The service is the screen's own: its column would say the same in each row.


def revision_columns(services: Sequence[Service]) -> tuple[Column, ...]:
    """The columns of the revisions: a cluster tells neither who made one nor a model's digest."""
    told = any(each.revisions for each in services)
    return tuple(
        replace(each, shown=told) if each.key in ("by", "model") else each for each in REVISION_COLUMNS
    )


def columns_at(columns: Sequence[Column], width: int) -> tuple[Column, ...]:
    """Columns for a screen of ``width``: whole region names where there is room."""
    if width < 100:
        return tuple(columns)
    return tuple(replace(each, min_width=14, max_width=16) if each.key == "where" else each for each in columns)


#: State of a replica -> the service state whose symbol and style it gets.
_REPLICA_LOOK: dict[ReplicaState, str] = {
    ReplicaState.READY: "ok",
    ReplicaState.STARTING: "starting",
    ReplicaState.NOT_READY: "degraded",
    ReplicaState.HUNG: "down",
    ReplicaState.DRAINING: "stopped",
    ReplicaState.BACKOFF: "down",
    ReplicaState.EXITED: "stopped",
}
_ENDED = (ReplicaState.BACKOFF, ReplicaState.EXITED)


def title_spans(row: ServiceRow | None, row_id: str, now: float, short: bool, glyphs: Glyphs) -> tuple[Spans, str]:
    """The first rule: who, how, since when and why; and at the right what revision and family."""
    if row is None:
        return ((clean_line(row_id, 80), "title"), ("  is no longer there", "warn")), ""
    state = row.state.lower()
    style = STATE_STYLES.get(state, "") if row.state is not ServiceState.OK else ""
    since = since_text(row, now)
    spans = [
        (f"{clean_line(row.name, 60)}", "title"),
        (f" @ {where_text(row, short and row.region_count == 1)} ", ""),
        (f"{glyphs.state(state)} {row.state}{f' {since}' if since else ''}", style),
    ]
    if reason := reason_text(row, now, short):
        spans.append((f"  {reason}", ""))
    revisions = " ".join(f"r{each}" for each in row.revisions[-3:])
    ready = "?" if row.ready is None else row.ready
    return tuple(spans), f"{ready}/{row.desired} ready · {revisions} · {clean_line(row.family, 16)}"


def unseen_regions(regions: Sequence[RegionRow]) -> frozenset[str]:
    """Regions of which nothing is known now: what stands there was so when they were last seen."""
    seen = (RegionState.LIVE, RegionState.THROTTLED)
    return frozenset(each.region.name for each in regions if each.health.state not in seen or each.last_known)


def replica_rows(
    replicas: Sequence[ReplicaRow], now: float, short: bool, unseen: frozenset[str] = frozenset()
) -> list[tuple[str, Row]]:
    """The unwell first, then by region and name; of the ``unseen`` regions only what was so is told."""
    order = {state: rank for rank, state in enumerate(("down", "degraded", "unknown", "starting", "stopped", "ok"))}

    def rank(each: ReplicaRow) -> tuple[int, str, str]:
        region = each.replica.key.service.region
        look = "unknown" if region in unseen else _REPLICA_LOOK[each.replica.state]
        return order[look], region, each.replica.key.replica

    return [
        (replica_id(each), replica_row(each, now, short, each.replica.key.service.region in unseen))
        for each in sorted(replicas, key=rank)
    ]


def replica_id(row: ReplicaRow) -> str:
    """Identity of a replica's row."""
    key = row.replica.key
    return f"{key.service.row_id}/{key.replica}"


def replica_row(row: ReplicaRow, now: float, short: bool, unseen: bool = False) -> Row:
    """One replica with its own numbers; ``unseen``: its region is not seen, so it says what it was."""
    replica = row.replica
    look = "unknown" if unseen else _REPLICA_LOOK[replica.state]
    style = "" if look == "ok" else STATE_STYLES.get(look, "")
    region = replica.key.service.region
    ended = replica.state in _ENDED
    numbers = [Cell("") if ended else Cell(fmt.measure(each), fmt.style_of(each)) for each in _numbers(row)]
    return Row(
        (
            Cell(clean_line(replica.key.replica, 80)),
            Cell(short_region(region) if short else clean_line(region, 40)),
            Cell("UNKNOWN" if unseen else str(replica.state), style),
            Cell(fmt.span(now - replica.since)),
            Cell(f"r{replica.revision}"),
            Cell(str(replica.run), "warn" if replica.restarts else ""),
            Cell(str(replica.pid) if replica.pid is not None else ""),
            *numbers,
            Cell(
                f"no contact; was {replica.state}" if unseen else replica_words(row, now),
                style if style in ("bad", "warn") else "dim",
            ),
        ),
        state=look,
    )


def _numbers(row: ReplicaRow) -> tuple[Measure, ...]:
    return (row.rps, row.p95, row.in_flight, row.cpu_ratio, row.rss)


def replica_words(row: ReplicaRow, now: float) -> str:
    """Why, its last words, when it starts again."""
    replica = row.replica
    parts = [clean_line(replica.reason, 200)]
    if replica.exit_code is not None and str(replica.exit_code) not in replica.reason:
        parts.append(f"exit {replica.exit_code}")
    if replica.exit_signal and replica.exit_signal not in replica.reason:
        parts.append(clean_line(replica.exit_signal, 20))
    if replica.state in _ENDED and not replica.exit_seen:
        parts.append("how it ended was not seen")
    if replica.next_start_at is not None and replica.next_start_at > now:
        parts.append(f"starts again in {fmt.span_words(replica.next_start_at - now)}")
    if replica.last_words and replica.last_words not in replica.reason:
        parts.append(f"said: {clean_line(replica.last_words, 300)}")
    return "; ".join(filter(None, parts))


def revision_rows(
    services: Sequence[Service], now: float, short: bool, replicas: Sequence[ReplicaRow] = ()
) -> list[tuple[str, Row]]:
    """Revisions of every region, newest first; the running one is marked. Of a cluster's each with its pods."""
    pairs = []
    for service in services:
        pairs += _kept_rows(service, replicas, now, short)
        for each in service.revisions:
            current = each.number == service.revision
            where = short_region(service.key.region) if short else clean_line(service.key.region, 40)
            cells = (
                Cell(f"r{each.number}", "bold" if current else ""),
                Cell(where),
                Cell("running" if current else "", "ok" if current else ""),
                Cell(fmt.date_clock(each.created_at, now)),
                Cell(clean_line(each.created_by, 60)),
                Cell(each.spec.model_sha256[:8], "dim"),
                Cell(clean_line(each.note, 300)),
            )
            pairs.append((-each.number, service.key.region, revision_id(service.key, each.number), Row(cells)))
    pairs.sort(key=lambda each: each[:2])
    return [(key, row) for _, _, key, row in pairs]


def _kept_rows(
    service: Service, replicas: Sequence[ReplicaRow], now: float, short: bool
) -> list[tuple[int, str, str, Row]]:
    """The roll-out tree: each revision with the object that holds it, and below it its pods."""
    found = []
    where = short_region(service.key.region) if short else clean_line(service.key.region, 40)
    for each in service.around.kept:
        current, row_id = each.number == service.revision, revision_id(service.key, each.number)
        at = "" if each.created_at is None else fmt.date_clock(each.created_at, now)
        cells = (
            Cell(f"r{each.number}", "bold" if current else ""), Cell(where),
            Cell("running" if current else "", "ok" if current else ""), Cell(at), Cell(""), Cell(""),
            Cell(around.kept_text(each)),
        )  # fmt: skip
        found.append((-each.number, service.key.region, row_id, Row(cells)))
        for pod in around.pods_of(replicas, service, each.number):
            look = _REPLICA_LOOK[pod.replica.state]
            words = replica_words(pod, now)
            text = f"  {clean_line(pod.replica.key.replica, 80)} {pod.replica.state}{f': {words}' if words else ''}"
            style = "" if look == "ok" else STATE_STYLES.get(look, "")
            row = Row((Cell(""), Cell(""), Cell(""), Cell(""), Cell(""), Cell(""), Cell(text, style)))
            found.append((-each.number, service.key.region, f"{row_id}/{pod.replica.key.replica}", row))
    return found


def revision_id(key: ServiceKey, number: int) -> str:
    """Identity of a revision's row."""
    return f"{key.row_id}#{number}"


def revision_about(services: Sequence[Service], row_id: str) -> str:
    """What differs in one revision, in full, and its model."""
    for service in services:
        for each in service.revisions:
            if revision_id(service.key, each.number) == row_id:
                model = f"model {clean_line(each.spec.model_path, 300)} sha256 {each.spec.model_sha256[:16]}"
                return f"r{each.number}: {clean_line(each.note, 600)}; {model}"
    return ""


def metric_rows(detail: ServiceDetail, now: float, short: bool) -> list[tuple[str, Row]]:
    """Each number with its source and its age; what is not known says why."""
    pairs = []
    for index, line in enumerate(detail.metrics):
        value = line.measure
        region = short_region(line.region) if short else clean_line(line.region, 40)
        cells = (
            Cell(clean_line(line.name, 80), "" if line.region else "bold"),
            Cell(region or "all"),
            Cell(fmt.measure(value), fmt.style_of(value)),
            Cell("" if value.at is None else fmt.age(now - value.at)),
            Cell("" if value.state == "fresh" else str(value.state), "stale"),
            Cell(metric_about(value), "dim"),
        )
        pairs.append((metric_id(index, line), Row(cells)))
    return pairs


def metric_id(index: int, line: MetricLine) -> str:
    """Identity of a metric's row."""
    return f"{index}{line.name}@{line.region}"


def metric_about(value: Measure) -> str:
    """Where a number comes from; of what is not known (or only a bound) the reason."""
    parts = [value.reason or value.source] if value.value is None else [value.source, value.reason]
    return clean_line("; ".join(dict.fromkeys(filter(None, parts))), 300)


def metric_line_about(detail: ServiceDetail, row_id: str) -> str:
    """Which number it is, and the whole of its source or reason."""
    line = metric_line(detail, row_id)
    if line is None:
        return ""
    where = clean_line(line.region, 60) or "all its regions"
    return f"{clean_line(line.name, 80)} @ {where}: {metric_about(line.measure)}"


def metric_line(detail: ServiceDetail, row_id: str) -> MetricLine | None:
    """The number of a row."""
    return next((line for index, line in enumerate(detail.metrics) if metric_id(index, line) == row_id), None)


def configuration_lines(services: Sequence[Service], now: float, models: Sequence[ModelRow] = ()) -> list[Spans]:
    """What runs, with which limits, in each region; the ``models`` of all where it serves several."""
    lines: list[Spans] = []
    for service in services:
        lines.append(((clean_line(service.key.row_id, 120), "bold"),))
        spec = next((each.spec for each in service.revisions if each.number == service.revision), None)
        made = service.observed_generation == service.generation
        waits = "" if made else f"; the region is still at {service.observed_generation}"
        kept = len(service.revisions) or len(service.around.kept)
        facts = _model_facts(service, spec.model_path if spec is not None else "")
        facts += model_facts(models, service)
        facts += [
            ("replicas", f"{service.desired_replicas}{' (stopped)' if service.stopped else ''}"),
            ("revision", f"r{service.revision} of {kept} kept"),
            ("generation", f"{service.generation}{', as wanted' if made else waits}"),
            (
                "changed",
                f"{fmt.date_clock(service.changed_at, now)} (created {fmt.date_clock(service.created_at, now)})",
            ),
        ]
        facts += [("progress", service.progress)] if service.progress else []
        facts += [("failure", service.failure)] if service.failure else []
        facts += around.around_facts(service)
        if spec is not None:
            facts += limit_facts(spec.limits)
            facts += [("arguments", " ".join(spec.arguments))] if spec.arguments else []
        facts += (
            [("labels", " ".join(f"{key}={value}" for key, value in service.labels.items()))] if service.labels else []
        )
        lines += [((f"  {label:<12}", "dim"), (clean_line(text, 400), "")) for label, text in facts]
        lines.append(())
    return lines


def _model_facts(service: Service, path: str) -> list[tuple[str, str]]:
    """Where it answers and what it serves; of a cluster's workload its kind and its image."""
    if kind := service.labels.get("kind", ""):
        image = ":".join(filter(None, (service.labels.get("image", ""), service.labels.get("version", ""))))
        return [("kind", kind), ("model", service.model_name or fmt.UNKNOWN), ("image", image or fmt.UNKNOWN)]
    return [
        ("endpoint", service.endpoint or "none"),
        ("model", f"{service.model_name}  sha256 {service.model_sha256[:16] or fmt.UNKNOWN}"),
        ("file", path or fmt.UNKNOWN),
    ]


def limit_facts(limits: Limits) -> list[tuple[str, str]]:
    """The limits of one replica in words."""
    rate = f"{fmt.count(limits.rate_limit_rps)} requests/s and client" if limits.rate_limit_rps else "no rate limit"
    memory = f"memory {fmt.size(limits.memory_bytes)}" if limits.memory_bytes else "no memory limit"
    body = f"body {fmt.size(limits.max_body_bytes)}, request {fmt.latency(limits.request_timeout_s)}"
    return [
        ("limits", f"{body}, {rate}, {memory}"),
        (
            "",
            f"{limits.max_concurrency} at once, {limits.max_queue} waiting, {fmt.plural(limits.threads, 'thread')}",
        ),
        *_cache_facts(limits),
    ]


def _cache_facts(limits: Limits) -> list[tuple[str, str]]:
    """The caches that are wanted; none: no line."""
    words = []
    if limits.cache_bytes:
        kept = fmt.latency(limits.cache_ttl_s)
        words.append(f"answers {fmt.size(limits.cache_bytes)} for each model and replica ({kept})")
    if limits.artifact_cache_bytes:
        words.append(f"model artifacts {fmt.size(limits.artifact_cache_bytes)} on the disk")
    return [("caches", ", ".join(words))] if words else []


def crashed_replica(detail: ServiceDetail) -> tuple[ReplicaRow, bool] | None:
    """The replica whose log tells most, and whether its run before is meant; None when none has crashed."""
    for state in (ReplicaState.BACKOFF, ReplicaState.STARTING, ReplicaState.NOT_READY, ReplicaState.EXITED):
        for each in detail.replicas:
            replica = each.replica
            if replica.state is state and (replica.restarts or replica.exit_code or replica.exit_signal):
                return each, tells_before(replica)
    return None


def tells_before(replica: Replica) -> bool:
    """Whether the last words of a replica that crashed are in its run before.

    One that is up again (but not ready) has them there. One that waits to be started again has them in its
    newest run; in a cluster that one is asked for as the run before, of the containers that crashed alone.
    """
    if replica.state is ReplicaState.BACKOFF:
        return bool(replica.key.service.namespace)
    return replica.state in (ReplicaState.STARTING, ReplicaState.NOT_READY)
