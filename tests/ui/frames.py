"""Frames made by hand: the fleet of the drawn screens, and pieces for others.

Nothing here is read from anywhere; it stands in for what the fleet would publish.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from nimify_tui.domain.changes import Change, ChangeKind, Clue, Why
from nimify_tui.domain.gpus import Gpu, GpuPanel
from nimify_tui.domain.measures import Measure, MeasureState, absent
from nimify_tui.domain.names import ReplicaKey, ServiceKey, short_region
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.security import SecurityEvent, Severity
from nimify_tui.domain.services import (
    STATE_RANK,
    Replica,
    ReplicaState,
    Revision,
    Service,
    ServiceSpec,
    ServiceState,
)
from nimify_tui.domain.slos import Slo
from nimify_tui.fleet.frames import (
    CacheStat,
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

#: 2026-11-23 18:42:07 UTC
NOW = 1795459327.0
ONSET = NOW - 357.0  # 18:36:10
REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1")
S = ServiceState


def num(value: float | None, unit: str, *, stale: bool = False, at: float = NOW - 2) -> Measure:
    """A measure; None is absent."""
    if value is None:
        return absent(unit, "no scrape answered yet")
    return Measure(value, unit, at, "metrics", MeasureState.STALE if stale else MeasureState.FRESH)


def region(
    name: str,
    state: RegionState = RegionState.LIVE,
    *,
    rps: float | None = 100.0,
    p95: float | None = 0.04,
    worst: ServiceState | None = S.OK,
    production: bool = True,
    read_write: bool = True,
    demo: bool = False,
    **health: Any,
) -> RegionRow:
    """A row of the region strip."""
    last = health.pop("last_contact_at", NOW if state is RegionState.LIVE else None)
    fact = Region(
        name=name,
        kind=RegionKind.EMBEDDED,
        address=f"unix:{name}.sock",
        short=short_region(name),
        production=production,
        read_write=read_write,
        demo=demo,
    )
    return RegionRow(
        region=fact,
        health=RegionHealth(state=state, since=NOW - 41, last_contact_at=last, **health),
        age_s=None if last is None else NOW - last,
        services=3,
        worst=worst,
        rps=num(rps, "rps"),
        p95=num(p95, "s"),
    )


def row(
    name: str,
    regions: Sequence[str],
    state: ServiceState = S.OK,
    *,
    family: str = "ours",
    ready: int | None = 1,
    desired: int = 1,
    rps: float | None = None,
    p: tuple[float | None, float | None, float | None] = (None, None, None),
    err: float | None = None,
    burn: float | None = None,
    slo: bool = True,
    since_s: float | None = None,
    reason: str = "",
    reason_region: str = "",
    depth: int = 0,
    revisions: tuple[int, ...] = (12,),
    stale: bool = False,
    **more: Any,
) -> ServiceRow:
    """A row of the service table; one region and depth 0 is an unfolded service."""
    keys = tuple(ServiceKey(each, name) for each in regions)
    return ServiceRow(
        id=keys[0].row_id if depth else keys[0].fold_id,
        name=name,
        depth=depth,
        keys=keys,
        region_states=tuple((each, state if not i or depth else S.OK) for i, each in enumerate(regions)),
        family=family,
        state=state,
        reason=reason,
        reason_region=reason_region or regions[0],
        since=None if since_s is None else NOW - since_s,
        ready=ready,
        desired=desired,
        rps=num(rps, "rps", stale=stale),
        p50=num(p[0], "s", stale=stale),
        p95=num(p[1], "s", stale=stale),
        p99=num(p[2], "s", stale=stale),
        error_ratio=num(err, "ratio", stale=stale),
        burn=num(burn, "count", stale=stale),
        slo=Slo(service=name, latency_ms=1000.0) if slo else None,
        revisions=revisions,
        production=True,
        demo=False,
        stale=stale,
        **more,
    )


def drawn_rows() -> tuple[list[ServiceRow], dict[str, list[ServiceRow]]]:
    """The fourteen services of the drawn fleet and the unfolded rows of the first one."""
    use1, usw2, euw1, euc1, apne1 = REGIONS[0], REGIONS[1], REGIONS[2], REGIONS[3], REGIONS[5]
    rows = [
        row(
            "llama-chat",
            (euw1, use1, usw2),
            S.DEGRADED,
            family="nim",
            ready=5,
            desired=6,
            rps=212,
            p=(0.64, 1.9, 3.2),
            err=0.012,
            burn=14.4,
            since_s=357,
            reason="OOM at 16Gi",
            revisions=(11, 12),
        ),
        row("fraud-score", (apne1,), S.UNKNOWN, ready=None, desired=2, since_s=41, reason="no contact; was OK"),
        row(
            "rerank-v2",
            (usw2,),
            S.DEGRADED,
            family="triton",
            ready=2,
            desired=2,
            rps=88,
            p=(0.021, 0.097, 0.24),
            err=0.0,
            burn=2.1,
            since_s=1320,
            reason="p95 over 80 ms (SLO)",
        ),
        row("asr-large", (euc1,), S.STARTING, family="nim", ready=0, since_s=120, reason="loading weights 61 %"),
        row(
            "embed-e5",
            REGIONS,
            family="triton",
            ready=12,
            desired=12,
            rps=611,
            p=(0.009, 0.038, 0.061),
            err=0.0,
            burn=0.1,
        ),
        row("toxicity", REGIONS, ready=12, desired=12, rps=204, p=(0.003, 0.007, 0.012), err=0.0, burn=0.0),
        row("ocr-lines", (use1, euw1), ready=4, desired=4, rps=61, p=(0.018, 0.044, 0.07), err=0.0, burn=0.2),
        row("guard-7b", (use1,), family="vllm", ready=2, desired=2, rps=33, p=(0.31, 0.82, 1.1), err=0.0, burn=0.4),
        row("spell-fix", REGIONS[:4], ready=8, desired=8, rps=47, p=(0.002, 0.005, 0.008), err=0.0, burn=0.0),
        row("rank-lgbm", REGIONS, ready=6, desired=6, rps=39, p=(0.001, 0.002, 0.004), err=0.0, burn=0.0),
        row(
            "vision-l14",
            (euw1,),
            family="triton",
            ready=3,
            desired=3,
            rps=12,
            p=(0.055, 0.088, 0.12),
            err=0.0,
            burn=0.1,
        ),
        row("tts-multi", (usw2,), family="nim", ready=1, desired=1, rps=4, p=(0.21, 0.39, 0.47), err=0.0, slo=False),
        row("summar-8b", (use1,), family="nim", ready=2, desired=2, rps=3, p=(0.9, 2.1, 2.8), err=0.0, burn=0.2),
        row(
            "batch-llm",
            (use1,),
            S.STOPPED,
            family="vllm",
            ready=0,
            desired=0,
            since_s=3 * 3600,
            reason="stopped by ops",
        ),
    ]
    llama = [
        row(
            "llama-chat",
            (euw1,),
            S.DEGRADED,
            family="nim",
            ready=1,
            desired=2,
            rps=70,
            p=(1.1, 3.1, 3.2),
            err=0.035,
            burn=43.0,
            since_s=357,
            reason="OOM at 16Gi",
            depth=1,
        ),
        row(
            "llama-chat",
            (use1,),
            family="nim",
            ready=2,
            desired=2,
            rps=80,
            p=(0.5, 0.9, 1.0),
            err=0.0,
            burn=0.2,
            depth=1,
        ),
        row(
            "llama-chat",
            (usw2,),
            family="nim",
            ready=2,
            desired=2,
            rps=62,
            p=(0.5, 0.8, 0.9),
            err=0.0,
            burn=0.1,
            depth=1,
            revisions=(11,),
        ),
    ]
    return rows, {"llama-chat": llama}


def change(
    at: float, kind: ChangeKind, text: str, evidence: str = "", where: str = "eu-west-1", **more: Any
) -> Change:
    """A change of llama-chat."""
    key = ServiceKey(where, "llama-chat")
    return Change(id=f"{at}{text}", at=at, kind=kind, region=where, key=key, text=text, evidence=evidence, **more)


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


def replica(name: str, state: ReplicaState, where: str = "eu-west-1", **more: Any) -> Replica:
    """A replica of llama-chat."""
    fields: dict[str, Any] = {"since": ONSET, "revision": 12, "pid": 4711, "started_at": ONSET - 20}
    return Replica(key=ReplicaKey(ServiceKey(where, "llama-chat"), name), state=state, **(fields | more))


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
                spec=ServiceSpec(model_path=f"/models/llama-{number}.onnx", model_sha256=f"{number:02d}ab" * 16),
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
            MetricLine(name="requests", region="eu-west-1", measure=num(35.0, "rps")),
            MetricLine(name="queue wait p95", region="eu-west-1", measure=num(0.2, "s", stale=True, at=NOW - 44)),
            MetricLine(name="batch size", region="eu-west-1", measure=absent("count", "the runtime does not batch")),
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


def drawn_caches() -> tuple[CacheStat, ...]:
    """Two tiers that are known and one that is not."""
    return (
        CacheStat(
            tier="response L1",
            hit_ratio=num(0.71, "ratio"),
            size=num(212 * 2**20, "bytes"),
            trend=(0.7, 0.72, 0.6, 0.71),
        ),
        CacheStat(
            tier="redis L2",
            hit_ratio=num(0.38, "ratio"),
            size=num(1.1 * 2**30, "bytes"),
            trend=(0.2, 0.3, None, 0.38),
        ),
        CacheStat(tier="edge L3", hit_ratio=num(None, "ratio"), size=num(None, "bytes"), note="not probed"),
    )


def gpu(node: str, index: int, used: float, memory: float, temperature: float, power: float, note: str = "") -> Gpu:
    """One H100."""
    return Gpu(
        node=node,
        index=index,
        uuid=f"GPU-{node}-{index}",
        name="H100",
        utilisation=num(used, "percent"),
        memory_used=num(memory * 2**30, "bytes"),
        memory_total=num(80.0 * 2**30, "bytes"),
        temperature=num(temperature, "celsius"),
        power=num(power, "watt"),
        note=note,
    )


def drawn_gpus() -> tuple[GpuPanel, ...]:
    """Two nodes."""
    gone = absent("percent", "gone")
    lost = Gpu(
        node="node-2",
        index=1,
        uuid="GPU-x",
        name="H100",
        note="XID 79, fell off the bus 18:31",
        utilisation=gone,
        memory_used=gone,
        memory_total=gone,
        temperature=gone,
        power=gone,
    )
    return (
        GpuPanel(
            at=NOW - 4,
            gpus=(gpu("node-1", 0, 87, 71, 79, 612), gpu("node-1", 1, 91, 74, 82, 640)),
            reason="",
            source="NVML",
        ),
        GpuPanel(
            at=NOW - 4, gpus=(gpu("node-2", 0, 3, 70, 41, 98, "reserved, idle"), lost), reason="", source="NVML"
        ),
    )


def drawn_regions() -> tuple[RegionRow, ...]:
    """Five live ones, one without contact."""
    return (
        region("us-east-1", rps=412, p95=0.038),
        region("us-west-2", rps=231, p95=0.041),
        region("eu-west-1", rps=190, p95=1.9, worst=S.DEGRADED),
        region("eu-central-1", rps=203, p95=0.044),
        region("ap-southeast-1", rps=204, p95=0.046),
        region(
            "ap-northeast-1",
            RegionState.DOWN,
            rps=None,
            p95=None,
            worst=S.UNKNOWN,
            last_contact_at=NOW - 41,
            cause="connect timed out",
            next_try_at=NOW + 7,
        ),
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
