"""The fleet as one JSON object for machines: kind "Snapshot" of nimify-tui/v1. Fields are only ever added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nimify_tui.base.clock import rfc3339
from nimify_tui.domain.alertmanagers import Managed
from nimify_tui.domain.alerts import Alert, AlertSeverity
from nimify_tui.domain.changes import Change
from nimify_tui.domain.gpus import Gpu, GpuMap, GpuPanel
from nimify_tui.domain.measures import Measure, MeasureState
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.security import SecurityEvent
from nimify_tui.domain.services import ServiceState
from nimify_tui.domain.slos import Slo
from nimify_tui.fleet.budgets import PAIRS
from nimify_tui.fleet.frames import CacheStat, Frame, MetricLine, ModelRow, RegionRow, ReplicaRow, ServiceRow
from nimify_tui.fleet.store import Fleet

API_VERSION = "nimify-tui/v1"
#: A paused region is so on purpose: no trouble, and nothing of it is missed.
_SEEN = (RegionState.LIVE, RegionState.THROTTLED, RegionState.PAUSED)
_UNWELL = (ServiceState.DOWN, ServiceState.DEGRADED)


#: Of the lines of a detail: how each begins, its key, and its unit where that is not the measure's own.
NUMBERS: tuple[tuple[str, str, str], ...] = (
    ("latency, mean", "latency_mean_ms", "ms"), ("compute time per run", "compute_mean_ms", "ms"),
    ("time in the queue", "queue_mean_ms", "ms"), ("items per run (batch)", "batch_size_mean", ""),
    ("CPUs in use", "cpus_in_use", ""), ("refused or malformed", "refused_rps", ""),
    ("refused by the rate limit", "rate_limited_rps", ""), ("refused for overload", "overloaded_rps", ""),
    ("in flight", "requests_in_flight", ""), ("waiting", "requests_waiting", ""), ("memory (RSS)", "rss_bytes", ""),
    *((f"time to first token {q}", f"ttft_{q}_ms", "ms") for q in ("p50", "p95", "p99")),
    *((f"between tokens {q}", f"inter_token_{q}_ms", "ms") for q in ("p50", "p95", "p99")),
    ("tokens generated a second", "generation_tokens_per_second", ""),
    ("prompt tokens a second", "prompt_tokens_per_second", ""), ("KV cache in use, mean", "kv_cache_ratio_mean", ""),
    ("KV cache in use, fullest", "kv_cache_ratio_max", ""), ("prefix cache hits", "prefix_cache_hit_ratio", ""),
    ("preemptions a second", "preemptions_per_second", ""),
    *((f"burn {pair.name} ", f"burn_{pair.long_s / 3600:g}h", "") for pair in PAIRS),
    ("error budget left of", "error_budget_left_ratio", ""), ("budget gone in", "error_budget_gone_in_s", ""),
    ("at this rate a whole budget", "error_budget_lasts_s", ""),
)  # fmt: skip


def snapshot(fleet: Fleet, now: float) -> dict[str, Any]:
    """Publish once more and project the frame. Loop thread only; strings are as their sources told them."""
    frame = fleet.publish(now)
    return project(frame, fleet.replicas(frame.at), fleet.numbers(frame.at))


def project(
    frame: Frame, replicas: list[ReplicaRow], lines: Mapping[str, Sequence[MetricLine]] | None = None
) -> dict[str, Any]:
    """The snapshot of one frame; ``lines`` are those of the details, by the id of a row of one region."""
    services = [_service(frame, frame.rows[row_id], lines or {}) for row_id in frame.order]
    return {
        "api_version": API_VERSION,
        "kind": "Snapshot",
        "taken_at": rfc3339(frame.at),
        "healthy": healthy(frame),
        "summary": {
            "regions_live": frame.summary.regions_live,
            "regions": frame.summary.regions_total,
            "services": frame.summary.services,
            "services_unhealthy": frame.summary.unhealthy,
            "rps": number(frame.summary.rps),
            "latency_p95_ms": number(frame.summary.p95, "ms"),
            "error_ratio": number(frame.summary.error_ratio),
            "burning": frame.summary.burning,
        },
        "regions": [_region(row) for row in frame.regions],
        "services": services,
        "replicas": [_replica(row) for row in replicas],
        "gpus": [_panel(panel) for panel in frame.gpus],
        "caches": [_cache(stat) for stat in frame.caches],
        "alerts": _alerts(frame),
        "security_events": [_security(event) for event in frame.security],
        "security_events_dropped": frame.security_dropped,
        "changes": [_change(change) for change in frame.changes],
        "problems": problems(frame),
        "window_s": frame.window_s,
    }


def healthy(frame: Frame) -> bool | None:
    """False when something is known to be unwell, None when not everything is seen, else True."""
    states = [row.state for row_id in frame.order for row in [frame.rows[row_id]]]
    if any(state in _UNWELL for state in states):
        return False
    unseen = any(row.health.state not in _SEEN for row in frame.regions)
    return None if unseen or ServiceState.UNKNOWN in states or not frame.regions else True


def problems(frame: Frame) -> list[dict[str, Any]]:
    """Everything that keeps ``healthy`` from being true, worst first."""
    found: list[dict[str, Any]] = []
    for row_id in frame.order:
        fold = frame.rows[row_id]
        for row in [frame.rows[child] for child in frame.children.get(row_id, ())] or [fold]:
            if row.state in _UNWELL or row.state is ServiceState.UNKNOWN:
                region = row.region_states[0][0]
                found.append(
                    {"service": row.name, "region": region, "state": str(row.state), "reason": row.reason,
                     "since": time(row.since)}
                )  # fmt: skip
    found += [
        {"service": None, "region": each.region.name, "state": str(each.health.state),
         "reason": each.health.cause or "no reason given", "since": time(each.health.since)}
        for each in frame.regions
        if each.health.state not in _SEEN
    ]  # fmt: skip
    return found


def number(measure: Measure, unit: str = "") -> dict[str, Any]:
    """A measured number; ``unit`` "ms" turns seconds into milliseconds. Not known is null, never 0."""
    value = measure.value if measure.state is not MeasureState.ABSENT else None
    if value is not None and unit == "ms":
        value = round(value * 1000.0, 4)
    return {
        "value": value, "unit": unit or measure.unit, "at": time(measure.at), "source": measure.source,
        "state": str(measure.state), "reason": measure.reason,
    }  # fmt: skip


def time(at: float | None) -> str | None:
    """RFC 3339, null when not known."""
    return None if at is None else rfc3339(at)


def _region(row: RegionRow) -> dict[str, Any]:
    region, health = row.region, row.health
    return {
        "name": region.name, "kind": str(region.kind), "address": region.address, "production": region.production,
        "read_write": region.read_write, "demo": region.demo, "state": str(health.state), "since": time(health.since),
        "cause": health.cause, "remedy": health.remedy, "last_contact_at": time(health.last_contact_at),
        "next_try_at": time(health.next_try_at), "keeper": health.keeper, "age_s": row.age_s,
        "services": row.services, "worst": None if row.worst is None else str(row.worst),
        "traffic_seen": row.traffic_seen, "last_known": row.last_known, "rps": number(row.rps),
        "latency_p95_ms": number(row.p95, "ms"),
    }  # fmt: skip


def _service(frame: Frame, row: ServiceRow, lines: Mapping[str, Sequence[MetricLine]]) -> dict[str, Any]:
    found = _row(row)
    children = [frame.rows[child] for child in frame.children.get(row.id, ())]
    found["regions"] = [
        _row(child)
        | {
            "region": child.region_states[0][0], "models": _models(frame, child),
            "numbers": _numbers(lines.get(child.keys[0].row_id, ())),
        }
        for child in children or [row]
    ]  # fmt: skip
    return found


def _numbers(lines: Sequence[MetricLine]) -> dict[str, Any]:
    """What the detail has beyond the row: a name that begins a line's, its key, and its unit where that is another."""
    return {
        key: number(line.measure, unit)
        for line in lines
        for words, key, unit in NUMBERS
        if line.name.startswith(words)
    }


def _models(frame: Frame, row: ServiceRow) -> list[dict[str, Any]]:
    """The models of a row of one region that has several."""
    return [_model(each) for each in frame.models.get(row.id, ())]


def _model(row: ModelRow) -> dict[str, Any]:
    return {
        "name": row.name, "kind": str(row.kind), "state": str(row.state), "reason": row.reason,
        "ready_replicas": row.ready if row.told else None, "told_replicas": row.told,
        "versions": list(row.versions), "source": row.source, "rps": number(row.rps),
        "latency_p50_ms": number(row.p50, "ms"), "latency_p95_ms": number(row.p95, "ms"),
        "latency_p99_ms": number(row.p99, "ms"), "error_ratio": number(row.error_ratio),
    }  # fmt: skip


def _row(row: ServiceRow) -> dict[str, Any]:
    return {
        "id": row.id, "name": row.name, "namespace": row.keys[0].namespace, "family": row.family,
        "state": str(row.state), "reason": row.reason, "reason_region": row.reason_region, "since": time(row.since),
        "ready": row.ready, "desired": row.desired, "revisions": list(row.revisions), "production": row.production,
        "demo": row.demo, "progress": row.progress, "drift": row.drift, "rps": number(row.rps),
        "latency_p50_ms": number(row.p50, "ms"), "latency_p95_ms": number(row.p95, "ms"),
        "latency_p99_ms": number(row.p99, "ms"), "error_ratio": number(row.error_ratio),
        "slo": _slo(row.slo), "burn": number(row.burn), "burning": str(row.burning),
        "model_names": list(row.models),
        "models_note": row.models_note,
    }  # fmt: skip


def _slo(slo: Slo | None) -> dict[str, Any] | None:
    if slo is None:
        return None
    return {
        "objective": slo.objective, "window_s": slo.window_s, "latency_ms": slo.latency_ms, "quantile": slo.quantile,
        "ttft_ms": slo.ttft_ms, "min_requests": slo.min_requests,
    }  # fmt: skip


def _replica(row: ReplicaRow) -> dict[str, Any]:
    replica = row.replica
    service = replica.key.service
    return {
        "name": replica.key.replica, "service": service.name, "namespace": service.namespace,
        "region": service.region, "state": str(replica.state), "since": time(replica.since),
        "revision": replica.revision, "pid": replica.pid, "run": replica.run, "restarts": replica.restarts,
        "reason": replica.reason, "last_words": replica.last_words, "exit_code": replica.exit_code,
        "exit_signal": replica.exit_signal, "exit_seen": replica.exit_seen,
        "next_start_at": time(replica.next_start_at), "started_at": time(replica.started_at),
        "ready_at": time(replica.ready_at), "admin_url": replica.admin_url, "rps": number(row.rps),
        "latency_p95_ms": number(row.p95, "ms"), "cpu_ratio": number(row.cpu_ratio), "rss_bytes": number(row.rss),
        "in_flight": number(row.in_flight),
    }  # fmt: skip


def _panel(panel: GpuPanel) -> dict[str, Any]:
    return {
        "at": time(panel.at), "source": panel.source, "reason": panel.reason, "region": panel.region or None,
        "partial": panel.partial or None, "gpus": [_gpu(gpu) for gpu in panel.gpus],
        "places": _places(panel.places) if panel.places is not None else None,
    }  # fmt: skip


def _places(places: GpuMap) -> dict[str, Any]:
    """Which pods hold what on which nodes."""
    return {
        "partial": places.partial or None,
        "nodes": [
            {
                "node": room.node, "resource": room.resource, "product": room.product or None,
                "capacity": room.capacity, "allocatable": room.allocatable, "held": room.taken, "free": room.free,
                "barred": room.barred or None, "holders": [{"pod": pod, "count": count} for pod, count in room.held],
            }
            for room in places.rooms
        ],
        "waiting": [{"pod": pod, "resource": name, "count": count} for pod, name, count in places.waiting],
    }  # fmt: skip


def _gpu(gpu: Gpu) -> Mapping[str, Any]:
    return {
        "node": gpu.node, "index": gpu.index, "uuid": gpu.uuid, "name": gpu.name, "note": gpu.note,
        "region": gpu.region or None, "mig_instance": gpu.instance or None, "mig_slices": gpu.slices,
        "pods": list(gpu.pods), "shared_by": gpu.shared, "idle_s": gpu.idle_s, "watched_s": gpu.watched_s,
        "utilisation_percent": number(gpu.utilisation), "memory_used_bytes": number(gpu.memory_used),
        "memory_total_bytes": number(gpu.memory_total), "temperature_celsius": number(gpu.temperature),
        "power_watt": number(gpu.power), "processes": list(gpu.processes), "held_by": list(gpu.holders),
        "tensor_active_percent": number(gpu.tensor_active), "dram_active_percent": number(gpu.dram_active),
        "temperature_limit_celsius": number(gpu.temperature_limit), "power_limit_watt": number(gpu.power_limit),
        "clock_mhz": number(gpu.clock), "clock_limit_mhz": number(gpu.clock_limit),
        "clock_slowed_by": list(gpu.slowed), "clock_slowed_unknown": gpu.slowed_unknown or None,
        "ecc_corrected": number(gpu.ecc_corrected), "ecc_uncorrected": number(gpu.ecc_uncorrected),
        "pcie_link": gpu.pcie, "pcie_replays": number(gpu.pcie_replays),
        "pcie_received_bytes_per_second": number(gpu.pcie_received),
        "pcie_sent_bytes_per_second": number(gpu.pcie_sent),
        "nvlink_received_bytes_per_second": number(gpu.nvlink_received),
        "nvlink_sent_bytes_per_second": number(gpu.nvlink_sent),
        "xids": [
            {
                "at": time(each.at), "xid": each.xid, "text": each.text, "hardware": each.hardware,
                "latest": each.latest, "remedy": each.remedy,
            }
            for each in gpu.faults
        ],
    }  # fmt: skip


def _cache(stat: CacheStat) -> dict[str, Any]:
    return {
        "tier": stat.tier, "hit_ratio": number(stat.hit_ratio), "size_bytes": number(stat.size),
        "trend": list(stat.trend), "note": stat.note,
        **{
            key: number(measure) if measure is not None else None
            for key, measure in (
                ("use_ratio", stat.use), ("evictions_per_second", stat.evictions), ("limit_bytes", stat.limit),
                ("latency_s", stat.latency),
            )
        },
    }  # fmt: skip


def _alerts(frame: Frame) -> dict[str, Any]:
    """``count`` are those that fire, null where nothing can be judged; ``items`` hold pending ones too."""
    judged = frame.summary.alerts is not None
    counts = {str(each): frame.alerts.count(each) if judged else None for each in AlertSeverity}
    return {
        "count": frame.summary.alerts, "reason": frame.summary.alerts_note, **counts,
        "items": [_alert(each) for each in frame.alerts.alerts],
        "rules": [
            {"rule": each.rule, "judged": each.judged, "not_judged": each.unjudged, "reason": each.reason}
            for each in frame.alerts.rules
        ],
        "alerting": [{"region": region, "works": False, "reason": why} for region, why in frame.alerts.alerting],
        "alertmanagers": [
            {
                "origin": each.origin, "regions": list(each.regions), "state": str(each.state), "text": each.text,
                "remedy": each.remedy or None, "next_try_at": time(each.next_try_at),
            }
            for each in frame.alerts.managers
        ],
    }  # fmt: skip


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "rule": alert.rule, "severity": str(alert.severity), "state": str(alert.state), "region": alert.region,
        "service": None if alert.key is None else alert.key.name,
        "namespace": None if alert.key is None else alert.key.namespace, "subject": alert.subject or None,
        "since": time(alert.since), "fired_at": time(alert.fired_at), "clear_since": time(alert.clear_since),
        "value": number(alert.value), "threshold": alert.threshold, "text": alert.text, "remedy": alert.remedy,
        "not_judged": alert.unjudged or None, "silenced": alert.held_back,
        "managed": [_managed(each) for each in alert.managed],
    }  # fmt: skip


def _managed(managed: Managed) -> dict[str, Any]:
    return {
        "alertname": managed.name, "fingerprint": managed.fingerprint, "labels": dict(managed.labels),
        "annotations": dict(managed.annotations), "since": time(managed.since),
        "origins": [
            {"alertmanager": each.name, "silenced": each.silenced, "inhibited": each.inhibited, "stale": each.stale}
            for each in managed.origins
        ],
        "silences": [
            {
                "id": each.id, "by": each.by, "comment": each.comment, "ends_at": time(each.ends_at),
                "matchers": [one.text for one in each.matchers],
            }
            for each in managed.silences
        ],
    }  # fmt: skip


def _security(event: SecurityEvent) -> dict[str, Any]:
    return {
        "id": event.id, "at": time(event.at), "severity": str(event.severity), "region": event.region,
        "service": None if event.key is None else event.key.name, "category": event.category, "text": event.text,
        "action": event.action, "client": event.client, "count": event.count, "source": event.source,
    }  # fmt: skip


def _change(change: Change) -> dict[str, Any]:
    return {
        "id": change.id, "at": time(change.at), "kind": str(change.kind), "region": change.region,
        "service": None if change.key is None else change.key.name, "text": change.text, "evidence": change.evidence,
        "by": change.by, "source": change.source, "revision": change.revision, "replica": change.replica,
    }  # fmt: skip
