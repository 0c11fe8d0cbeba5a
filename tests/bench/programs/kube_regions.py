"""Loads one cluster as so many regions at once, or only downloads the same pages: ``raw|ours KUBECONFIG REGIONS``.

Prints one JSON object: wall time and CPU from open connections to everything loaded, memory, and what was loaded.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nimify_tui.app import GC_THRESHOLDS
from nimify_tui.backends.kubernetes.connection import Connection
from nimify_tui.backends.kubernetes.kubeconfig import load
from nimify_tui.base.clock import SystemClock
from nimify_tui.base.heap import keep_large_blocks_apart
from nimify_tui.domain.regions import Region, RegionKind, RegionState
from nimify_tui.domain.updates import RegionSeen, Update
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.kubernetes.pages import PAGE
from nimify_tui.sources.kubernetes.reflector import PAGE_BYTES, PAGE_ITEMS
from nimify_tui.sources.kubernetes.region import KubernetesSource
from nimify_tui.sources.kubernetes.table import KINDS


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


async def opened(kubeconfig: str, count: int) -> list[Connection]:
    """So many connections of their own to the cluster."""
    place = load({}, kubeconfig).place()
    found = [Connection(place) for _ in range(count)]
    for each in found:
        await each.open()
    return found


async def download(connection: Connection) -> int:
    """All pages of all kinds, as a region asks for them; nothing is kept. Returns the bytes, unpacked."""

    async def kind(path: str, query: dict[str, str]) -> int:
        count, token = 0, ""
        while True:
            asked = {**query, "limit": str(PAGE_ITEMS)} | ({"continue": token} if token else {})
            async with connection.get(path, asked, limit_bytes=PAGE_BYTES) as answer:
                body = await answer.read()
            count += len(body)
            token = PAGE.decode(body).metadata.continue_
            if not token:
                return count

    return sum(await asyncio.gather(*(kind(each.path(), dict(each.query)) for each in KINDS)))


async def raw(kubeconfig: str, regions: int) -> dict[str, Any]:
    """Only the download."""
    connections = await opened(kubeconfig, regions)
    began_s, cpu_s = time.monotonic(), time.process_time()
    count = sum(await asyncio.gather(*(download(each) for each in connections)))
    found = {"wall_s": time.monotonic() - began_s, "cpu_s": time.process_time() - cpu_s, "bytes": count}
    for each in connections:
        await each.close()
    return found


async def ours(kubeconfig: str, regions: int) -> dict[str, Any]:
    """Sources and a fleet, until every region is LIVE and a frame of all of it is out."""
    connections = await opened(kubeconfig, regions)
    fleet, clock, live = Fleet(), SystemClock(), asyncio.Event()
    states: dict[str, RegionState] = {}

    def sink(updates: Sequence[Update]) -> None:
        fleet.apply_many(updates)
        for each in updates:
            if isinstance(each, RegionSeen):
                states[each.region.name] = each.health.state
        if len(states) == regions and set(states.values()) == {RegionState.LIVE}:
            live.set()

    def source(number: int) -> KubernetesSource:
        async def connect() -> Connection:
            return connections[number]

        name = f"region-{number}"
        region = Region(name=name, kind=RegionKind.KUBERNETES, address=name, short=f"r{number}")
        return KubernetesSource(region, connect, clock)

    gc.collect()
    before, began_s, cpu_s = rss_bytes(), time.monotonic(), time.process_time()
    tasks = [asyncio.create_task(source(number).run(sink)) for number in range(regions)]
    await live.wait()
    rows = len(fleet.publish(clock.now()).rows)
    found = {"wall_s": time.monotonic() - began_s, "cpu_s": time.process_time() - cpu_s}
    gc.collect()
    pods = len(fleet.targets())
    found |= {"rss_mb": rss_bytes() / 1e6, "pods": pods, "bytes_each": (rss_bytes() - before) / pods, "rows": rows}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


if __name__ == "__main__":
    gc.set_threshold(*GC_THRESHOLDS)
    keep_large_blocks_apart()
    way = {"raw": raw, "ours": ours}[sys.argv[1]]
    print(json.dumps(asyncio.run(way(sys.argv[2], int(sys.argv[3])))))
