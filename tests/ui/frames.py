"""Frames made by hand: the fleet of the drawn screens, and pieces for others.

Nothing here is read from anywhere; it stands in for what the fleet would publish.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from nimify_tui.domain.changes import Change, ChangeKind, Clue, Why
from nimify_tui.domain.measures import absent
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.security import SecurityEvent, Severity
from nimify_tui.domain.services import (
    STATE_RANK,
    ReplicaState,
    Revision,
    Service,
    ServiceSpec,
)
from nimify_tui.domain.slos import Slo
from nimify_tui.fleet.frames import (
    ChartColumn,
    Frame,
    LatencyHistory,
    MetricLine,
    RegionRow,
    ReplicaRow,
    ServiceDetail,
    ServiceRow,
    Summary,
)
from tests.ui.drawn_panels import drawn_caches, drawn_gpus
from tests.ui.drawn_table import drawn_regions, drawn_rows
from tests.ui.pieces import NOW, ONSET, REGIONS, S, change, gpu, num, region, replica, row

__all__ = [
    "NOW",
    "ONSET",
    "REGIONS",
    "change",
    "connecting",
    "drawn",
    "drawn_caches",
    "drawn_changes",
    "drawn_detail",
    "drawn_gpus",
    "drawn_regions",
    "drawn_rows",
    "drawn_security",
    "drawn_why",
    "empty",
    "frame_of",
    "gpu",
    "history",
    "num",
    "region",
    "replica",
    "row",
]


def drawn_changes() -> tuple[Change, ...]:
    """Newest first."""
    return (
        change(ONSET + 2, ChangeKind.SCALE, "HPA wants 4, no node has a free GPU", source="supervisor"),
        change(ONSET, ChangeKind.CRASH, "1st of 3 replicas OOM-killed", "exit 137", source="supervisor"),
        change(
            ONSET - 29,
            ChangeKind.ROLLOUT,
            "rollout to revision 12",
            "image :1.8.4 → :1.9.0",
            by="ci",
            revision=12,
        ),
    )


def drawn_why() -> Why:
    """Why llama-chat burns."""
    scale, crash, rollout = drawn_changes()
    return Why(
        row_id="llama-chat",
        region="eu-west-1",
        onset_at=ONSET,
        symptom="OOM at 16Gi",
        clues=(
            Clue(change=rollout, offset_s=-29, score=0.92),
            Clue(change=crash, offset_s=0, score=0.7),
            Clue(change=scale, offset_s=2, score=0.3),
        ),
        verdict="rollout to revision 12 came 29 s before",
        elsewhere="r12 is well in us-east-1 (24Gi; here 16Gi)",
    )


def history(columns: int = 90, column_s: float = 4.0, *, slo: bool = True) -> LatencyHistory:
    """A chart that climbs at the onset."""
    end = NOW // column_s * column_s
    made = []
    for index in range(columns):
        at = end - (columns - index) * column_s
        bad = 1 / (1 + math.exp(-(at - ONSET) / 20))
        wave = 0.03 * math.sin(index / 3)
        made.append(
            ChartColumn(
                at,
                0.5 + 0.14 * bad + wave,
                0.7 + 1.2 * bad + wave,
                0.9 + 2.3 * bad + 2 * wave,
                212.0,
                0.01 * bad,
            )
        )
    return LatencyHistory(
        column_s=column_s,
        columns=tuple(made),
        age_s=2.0,
        source="metrics of 5 replicas",
        slo=Slo(service="llama-chat", latency_ms=1000.0) if slo else None,
        marks=(drawn_changes()[2],),
    )


def drawn_detail(row_id: str = "llama-chat") -> ServiceDetail:
    """Everything about llama-chat."""
    crashed = replica(
        "r-3",
        ReplicaState.BACKOFF,
        pid=None,
        run=4,
        restarts=3,
        reason="OOM-killed at 16Gi, exit 137",
        last_words="CUDA out of memory. Tried to allocate 2.00 GiB",
        exit_code=137,
        next_start_at=NOW + 13,
    )
    replicas = (crashed, replica("r-2", ReplicaState.READY), replica("r-1", ReplicaState.READY, "us-east-1"))
    services = []
    for where in ("eu-west-1", "us-east-1", "us-west-2"):
        revisions = tuple(
            Revision(
                number=number,
                created_at=NOW - 9000 + 600 * number,
                created_by="ci",
                spec=ServiceSpec(
                    model_path=f"/models/llama-{number}.onnx", model_sha256=f"{number:02d}ab" * 16
                ),
                note=f"model sha256 {number - 1:02d}ab → {number:02d}ab",
            )
            for number in (12, 11, 10)
        )
        services.append(
            Service(
                key=ServiceKey(where, "llama-chat"),
                uid=f"uid-{where}",
                family="nim",
                revision=12,
                desired_replicas=2,
                generation=14,
                observed_generation=14,
                created_at=NOW - 86400,
                changed_at=ONSET - 29,
                endpoint="http://127.0.0.1:43117",
                model_name="llama-chat",
                model_sha256="12ab" * 16,
                revisions=revisions,
            )
        )
    return ServiceDetail(
        row_id=row_id,
        services=tuple(services),
        replicas=tuple(
            ReplicaRow(
                replica=each,
                rps=num(None if each is crashed else 35.0, "rps"),
                p95=num(None if each is crashed else 1.9, "s"),
                cpu_ratio=num(0.8, "ratio"),
                rss=num(16e9, "bytes"),
                in_flight=num(3, "count"),
            )
            for each in replicas
        ),
        history=history(),
        why=msgspec.structs.replace(drawn_why(), row_id=row_id),
        changes=drawn_changes(),
        security=drawn_security()[:2],
        metrics=(
            MetricLine(
                name="requests", region="eu-west-1",
                measure=msgspec.structs.replace(num(35.0, "rps"), source="metrics of 2 replicas, from documentation"),
            ),
            MetricLine(
                name="queue wait p95", region="eu-west-1", measure=num(0.2, "s", stale=True, at=NOW - 44)
            ),
            MetricLine(
                name="batch size", region="eu-west-1", measure=absent("count", "the runtime does not batch")
            ),
        ),
        caches=drawn_caches()[:1],
    )


def drawn_security() -> tuple[SecurityEvent, ...]:
    """Newest first."""

    def event(
        ago: float,
        severity: Severity,
        where: str,
        category: str,
        client: str,
        name: str,
        text: str,
        **more: Any,
    ) -> SecurityEvent:
        return SecurityEvent(
            id=f"{ago}",
            at=NOW - ago,
            severity=severity,
            region=where,
            key=ServiceKey(where, name),
            category=category,
            text=text,
            client=client,
            **more,
        )

    return (
        event(
            15,
            Severity.HIGH,
            "eu-west-1",
            "refused",
            "203.0.113.9",
            "llama-chat",
            "sql injection",
            action="refused",
            count=14,
        ),
        event(
            124,
            Severity.MED,
            "us-east-1",
            "limited",
            "key …f3a1",
            "embed-e5",
            "over 100 requests/s",
            action="refused",
            count=310,
        ),
        event(
            200,
            Severity.LOW,
            "us-west-2",
            "malformed",
            "198.51.100.7",
            "embed-e5",
            "400: expected shape [1,384]",
            count=31,
        ),
        event(660, Severity.HIGH, "eu-west-1", "crashed", "", "llama-chat", "OOM-killed", action="restarted"),
    )


def frame_of(
    rows: Sequence[ServiceRow],
    children: dict[str, list[ServiceRow]] | None = None,
    regions: Sequence[RegionRow] = (),
    **more: Any,
) -> Frame:
    """A frame of rows, worst first as the fleet orders them."""
    children = children or {}
    ordered = sorted(rows, key=lambda each: STATE_RANK[each.state]) if more.pop("sort", False) else list(rows)
    every = {each.id: each for each in [*ordered, *(c for group in children.values() for c in group)]}
    live = sum(each.health.state is RegionState.LIVE for each in regions)
    fields: dict[str, Any] = {
        "version": 1,
        "at": NOW,
        "summary": Summary(
            regions_live=live,
            regions_total=len(regions),
            services=len(ordered),
            unhealthy=sum(STATE_RANK[each.state] < STATE_RANK[S.STARTING] for each in ordered),
            rps=num(1240.0, "rps"),
            p95=num(0.084, "s"),
            error_ratio=num(0.0031, "ratio"),
            burning=1,
            alerts=None,
            alerts_note="no alert source is configured",
        ),
        "regions": tuple(regions),
        "rows": every,
        "order": tuple(each.id for each in ordered),
        "children": {parent: tuple(each.id for each in group) for parent, group in children.items()},
        "security": (),
        "security_dropped": 0,
        "changes": (),
        "gpus": (),
        "caches": (),
        "details": {},
        "window_s": 60.0,
        "applied": 0,
    }
    return Frame(**(fields | more))


def drawn() -> Frame:
    """The fleet of the drawn screens."""
    rows, children = drawn_rows()
    return frame_of(
        rows,
        children,
        drawn_regions(),
        security=drawn_security(),
        changes=drawn_changes(),
        gpus=drawn_gpus(),
        caches=drawn_caches(),
        details={each: drawn_detail(each) for each in ("llama-chat", "llama-chat@eu-west-1")},
    )


def empty() -> Frame:
    """One embedded region, nothing in it."""
    return frame_of([], regions=[region("local", rps=None, p95=None, worst=None, production=False)])


def connecting() -> Frame:
    """The very first frame: nothing known, one region being connected."""
    return frame_of([], regions=[region("local", RegionState.CONNECTING, rps=None, p95=None, worst=None)])
