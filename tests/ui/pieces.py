"""Single pieces of a frame made by hand: a measure, a region, a row, a change, a replica, a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.gpus import Gpu
from nimify_tui.domain.measures import Measure, MeasureState, absent
from nimify_tui.domain.names import ReplicaKey, ServiceKey, short_region
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import (
    Replica,
    ReplicaState,
    ServiceState,
)
from nimify_tui.domain.slos import Burning, Slo
from nimify_tui.fleet.frames import (
    RegionRow,
    ServiceRow,
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
        burning=Burning.FAST if burn is not None and burn >= 14.4 else Burning.NO,
        **more,
    )


def change(
    at: float, kind: ChangeKind, text: str, evidence: str = "", where: str = "eu-west-1", **more: Any
) -> Change:
    """A change of llama-chat."""
    key = ServiceKey(where, "llama-chat")
    return Change(
        id=f"{at}{text}", at=at, kind=kind, region=where, key=key, text=text, evidence=evidence, **more
    )


def replica(name: str, state: ReplicaState, where: str = "eu-west-1", **more: Any) -> Replica:
    """A replica of llama-chat."""
    fields: dict[str, Any] = {"since": ONSET, "revision": 12, "pid": 4711, "started_at": ONSET - 20}
    return Replica(key=ReplicaKey(ServiceKey(where, "llama-chat"), name), state=state, **(fields | more))


def gpu(
    node: str, index: int, used: float, memory: float, temperature: float, power: float, note: str = ""
) -> Gpu:
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
