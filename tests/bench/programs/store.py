"""Fills the fleet's store in a process of its own, so that what it weighs is seen from the process's memory.

Prints one JSON object: resident memory before and after, and how long the first picture took.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from nimify_tui.domain.measures import Histogram, ReplicaSample
from nimify_tui.domain.names import ReplicaKey, ServiceKey, short_region
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.updates import RegionListed, RegionSeen, Sampled, Tick, Update
from nimify_tui.fleet.store import Fleet

REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1")
START_AT = 1_800_000_000.0
SAMPLES = 3
BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0, 4.0, 8.0)


def rss_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def keys(replicas: int, per_service: int = 6) -> list[ReplicaKey]:
    """Replica names of services that stand in all six regions."""
    found = []
    for number in range(replicas):
        service = ServiceKey(REGIONS[number % 6], f"service-{number // (6 * per_service):04d}")
        found.append(ReplicaKey(service, f"r{number // 6 % per_service}"))
    return found


def region_fact(name: str) -> Region:
    """An embedded region of this name."""
    return Region(name=name, kind=RegionKind.EMBEDDED, address=f"unix:{name}", short=short_region(name))


def listed(wanted: list[ReplicaKey]) -> Iterator[Update]:
    """All regions with all that they have."""
    for region in REGIONS:
        mine = [key for key in wanted if key.service.region == region]
        names = sorted({key.service for key in mine})
        services = tuple(
            Service(
                key=key, uid=f"u-{key.name}", family="ours", revision=1, desired_replicas=6, generation=1,
                observed_generation=1, created_at=START_AT, changed_at=START_AT,
                endpoint=f"http://127.0.0.1:{40000 + index}", model_name=key.name,
            )
            for index, key in enumerate(names)
        )  # fmt: skip
        replicas = tuple(
            Replica(
                key=key, state=ReplicaState.READY, since=START_AT, revision=1, pid=1000 + index, started_at=START_AT,
                ready_at=START_AT + 1, admin_url=f"http://127.0.0.1:{20000 + index}",
            )
            for index, key in enumerate(mine)
        )  # fmt: skip
        health = RegionHealth(state=RegionState.LIVE, since=START_AT)
        yield RegionSeen(START_AT, region_fact(region), health)
        yield RegionListed(START_AT, region, services, replicas)


def sample(number: int, turn: int) -> ReplicaSample:
    """What one scrape says: its own objects each time, as a parser would make them; bounds are shared."""
    count = 1000.0 * turn + number
    counts = tuple(count * (step + 1) / (len(BOUNDS_S) + 1) for step in range(len(BOUNDS_S) + 1))
    return ReplicaSample(
        at=START_AT + 2 * turn, source="scrape", started_at=START_AT, requests={"200": count, "400": float(turn)},
        duration=Histogram(BOUNDS_S, counts, count * 0.02), in_flight=float(number % 7), queued=0.0,
        cpu_s=count / 100, rss_bytes=5e7 + number, cache={("l1", "hit"): count / 2, ("l1", "miss"): count / 2},
    )  # fmt: skip


def main(replicas: int) -> None:
    """Fill, measure, print."""
    wanted = keys(replicas)
    updates = list(listed(wanted))
    fleet = Fleet()
    fleet.publish(START_AT)
    gc.collect()
    before = rss_bytes()
    started = time.perf_counter()
    fleet.apply_many(updates)
    for turn in range(1, SAMPLES + 1):
        now = START_AT + 2 * turn
        fleet.apply(Tick(now))
        for number, key in enumerate(wanted):
            fleet.apply(Sampled(now, key, sample(number, turn)))
        fleet.publish(now)
    filled_s = time.perf_counter() - started
    frame = fleet.publish(START_AT + 2 * SAMPLES)
    gc.collect()
    after = rss_bytes()
    found = {
        "replicas": replicas,
        "services": frame.summary.services,
        "rows": len(frame.order),
        "applied": frame.applied,
        "sent": len(updates) + SAMPLES * (replicas + 1),
        "rss_before_mb": round(before / 1e6, 1),
        "rss_mb": round(after / 1e6, 1),
        "bytes_each": round((after - before) / replicas),
        "filled_s": round(filled_s, 2),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
