"""What the fleet's store costs: microseconds of processor time for an update, milliseconds for a frame. Prints JSON.

Processor time and not wall time, so that neighbours on the machine count little; the best of several turns.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from nimify_tui.domain.services import ReplicaState
from nimify_tui.domain.updates import RegionListed, ReplicaSeen, Sampled, ServiceSeen, Tick, Update
from nimify_tui.fleet.store import Fleet
from tests.bench.programs.store import START_AT, keys, listed, rss_bytes, sample

DIRTY = 500


def spent_s(work: Callable[[], object]) -> float:
    """Processor seconds of this process for one turn."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def each_us(fleet: Fleet, updates: Sequence[Update]) -> float:
    """Microseconds for each of ``updates``."""
    return spent_s(lambda: fleet.apply_many(updates)) / len(updates) * 1e6


def main(replicas: int) -> None:
    """Fill, measure, print."""
    wanted = keys(replicas)
    updates = list(listed(wanted))
    lists = [update for update in updates if isinstance(update, RegionListed)]
    fleet = Fleet()
    fleet.apply_many(updates)
    found = {"replicas": replicas, "first_publish_ms": round(spent_s(lambda: fleet.publish(START_AT + 1)) * 1e3, 1)}
    sampled = []
    now = START_AT
    for turn in range(1, 6):
        now = START_AT + 2 * turn
        fleet.apply(Tick(now))
        samples = [Sampled(now, key, sample(number, turn)) for number, key in enumerate(wanted)]
        sampled.append(each_us(fleet, samples))
        for _ in range(40):  # until all numbers are measured
            fleet.publish(now)
    found["sampled_us"] = round(min(sampled), 2)
    facts = [replica for each in lists for replica in each.replicas]
    seen = [ReplicaSeen(now, msgspec.structs.replace(each, restarts=1)) for each in facts]
    found["replica_seen_us"] = round(min(each_us(fleet, seen) for _ in range(3)), 2)
    services = [ServiceSeen(now, service) for each in lists for service in each.services]
    found["service_seen_us"] = round(min(each_us(fleet, services) for _ in range(3)), 2)
    fleet.publish(now + 0.1)
    rng = random.Random(1)
    dirty = []
    gc.collect()
    for turn in range(8):
        at = now + 0.1 + turn / 100
        state = ReplicaState.READY if turn % 2 else ReplicaState.NOT_READY
        some = [msgspec.structs.replace(each, state=state, since=at - 5) for each in rng.sample(facts, DIRTY)]
        fleet.apply_many([ReplicaSeen(at, each) for each in some])
        dirty.append(spent_s(lambda at=at: fleet.publish(at)) * 1e3)  # type: ignore[misc]  # bound at once
    found["publish_500_dirty_ms"] = round(sorted(dirty)[len(dirty) // 2], 1)
    found["publish_nothing_ms"] = round(spent_s(lambda: fleet.publish(now + 0.5)) * 1e3, 3)
    found["rss_mb"] = round(rss_bytes() / 1e6, 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30_000)
