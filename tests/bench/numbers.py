"""What numbers cost: six regions of 200 services out of a real Prometheus, our own scraping, and the reading itself.

The servers, and Prometheus, are other processes; the CPU is that of this one, all threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from nimify_tui.app import GC_THRESHOLDS
from nimify_tui.backends.prometheus.answers import decode_rows
from nimify_tui.backends.prometheus.columns import Columns
from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct, Got, Pairs
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.demands import NumbersDemand
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.updates import RegionListed, RegionSeen, Sampled, Update
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.metrics.prometheus import RegionScrapes
from nimify_tui.sources.metrics.scrape import ScrapeSource
from tests.bench.harness import Result, at_most, pause
from tests.metrics.prom import prometheus
from tests.support import PYTHON, REPO

REGIONS, SERVICES, IN_SIGHT, TURNS = 6, 200, 40, 3
#: How often the server scrapes: as often as we would. The more often, the more samples there are in an answer among
#: which its cost is divided.
INTERVAL_S = 5
#: Turns that are not counted: the first finds out who is scraped how often, and the next has two scrapes to catch up.
FIRST = 2
REQUESTS_BAR, SAMPLE_BAR_US, PARSE_BAR, OWN_BAR = 2, 3.0, 1.5, 10.0
NAMES = (
    "questions for each region and refresh, rows in sight", "one sample out of a Prometheus",
    "its answer read, of a plain decode", "own scraping of 100 replicas each 5 s",
)  # fmt: skip
REPLICAS, EVERY_S, OWN_S = 100, 5.0, 20.0


class Counted(Direct):
    """A way that counts what is asked, and keeps the longest answer."""

    def __init__(self, place: ServerPlace) -> None:
        super().__init__(place)
        self.asked, self.longest = 0, b""

    async def ask(self, path: str, query: Pairs, *, timeout_s: float, limit_bytes: int) -> Got:
        """See :class:`Direct`."""
        self.asked += 1
        got = await super().ask(path, query, timeout_s=timeout_s, limit_bytes=limit_bytes)
        self.longest = max(self.longest, bytes(got.body), key=len)
        return got


@contextlib.contextmanager
def pages() -> Iterator[int]:
    """The port of the servers (see programs/pages.py)."""
    argv = [PYTHON, "-m", "tests.bench.programs.pages"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPO)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def fleet(kind: RegionKind, regions: int, services: int, admin_url: str = "") -> Fleet:
    """A fleet whose services have one replica each; the first ones are in sight."""
    now, made = SystemClock().now(), Fleet()
    for number in range(regions):
        name = f"region-{number}"
        keys = [ServiceKey(name, f"svc-{each:03}", "ai") for each in range(services)]
        facts = tuple(
            Service(
                key=key, uid=key.row_id, family="nimify", revision=1, desired_replicas=1, generation=1,
                observed_generation=1, created_at=now, changed_at=now, metrics_at="8000/metrics",
            )
            for key in keys
        )  # fmt: skip
        replicas = tuple(
            Replica(
                key=ReplicaKey(key, f"{key.name}-0"), state=ReplicaState.READY, since=now, revision=1,
                admin_url=admin_url,
            )
            for key in keys
        )  # fmt: skip
        health = RegionHealth(state=RegionState.LIVE, since=now, last_contact_at=now)
        region = Region(name=name, kind=kind, address="bench", short=name)
        made.apply_many([RegionSeen(now, region, health), RegionListed(now, name, facts, replicas)])
        for key in keys[:IN_SIGHT]:
            made.demand(NumbersDemand(key))
    return made


class Seen(PrometheusServer):
    """A server of which it is counted how many samples came."""

    samples_seen = 0

    def columns(self, texts: Sequence[msgspec.Raw]) -> Columns:
        """See :class:`PrometheusServer`."""
        found = super().columns(texts)
        self.samples_seen += found.samples
        return found


async def monitored(url: str) -> tuple[dict[str, float], bytes]:
    """After the first turns: questions for each region until the rows in sight are new, and CPU for each sample.

    With the longest answer. Turns begin when they do in the console: at the next of its steps.
    """
    made, clock = fleet(RegionKind.KUBERNETES, REGIONS, SERVICES), SystemClock()
    ways = [Counted(ServerPlace(url)) for _ in range(REGIONS)]
    servers = [Seen(way, clock) for way in ways]
    regions = [
        RegionScrapes(f"region-{number}", made, server, clock, pods=True) for number, server in enumerate(servers)
    ]
    most, told, cpu_s, seen_before = 0, 0, 0.0, 0
    for turn in range(FIRST + TURNS):
        await asyncio.to_thread(pause, INTERVAL_S - clock.now() % INTERVAL_S)
        if turn == FIRST:
            seen_before = sum(each.samples_seen for each in servers)
        watches, before_s = [Watch(made, way) for way in ways], time.process_time()
        pairs = zip(regions, watches, strict=True)
        await asyncio.gather(*(region.turn(clock.now(), watch.sink) for region, watch in pairs))
        if turn >= FIRST:
            cpu_s += time.process_time() - before_s
            most = max(most, *(watch.asked_for_sight for watch in watches))
            told += sum(watch.told for watch in watches)
    for each in servers:
        each.close()
    samples = sum(each.samples_seen for each in servers) - seen_before
    longest = max((way.longest for way in ways), key=len)
    return {"requests": most, "us": cpu_s / max(1, samples) * 1e6, "samples": samples, "told": told}, longest


class Watch:
    """One turn of a region: how many questions it took until the rows in sight had their numbers."""

    def __init__(self, made: Fleet, way: Counted) -> None:
        self.told = self.asked_for_sight = 0
        self._fleet, self._way, self._begun = made, way, way.asked
        self._sight = {f"svc-{each:03}" for each in range(IN_SIGHT)}

    def sink(self, updates: Sequence[Update]) -> None:
        """Take in what is told."""
        self._fleet.apply_many(updates)
        if self._sight:
            self.asked_for_sight = self._way.asked - self._begun
        for each in updates:
            if isinstance(each, Sampled):
                self.told += 1
                self._sight.discard(each.key.service.name)


@contextlib.contextmanager
def as_the_console() -> Iterator[None]:
    """Garbage is collected as the console has it (nimify_tui.app): by Python's own thresholds it is a fifth of all."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def scraped(port: int) -> tuple[float, int]:
    """Percent of a core that our own scraping takes, and how many pages were read."""
    made, clock, told = fleet(RegionKind.EMBEDDED, 1, REPLICAS, f"http://127.0.0.1:{port}"), SystemClock(), 0

    def sink(updates: Sequence[Update]) -> None:
        nonlocal told
        made.apply_many(updates)
        told += sum(isinstance(each, Sampled) for each in updates)

    task = asyncio.create_task(ScrapeSource(made.targets, clock, interval_s=EVERY_S).run(sink))
    await asyncio.to_thread(pause, EVERY_S)  # its connections
    before_s, begun_s, before = time.process_time(), time.monotonic(), told
    await asyncio.to_thread(pause, OWN_S)
    share = (time.process_time() - before_s) / (time.monotonic() - begun_s)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return 100 * share, told - before


def parse_ratio(body: bytes) -> float:
    """Reading an answer's samples as numbers, of a plain decode of the same bytes; best of each, interleaved."""
    plain_s = ours_s = 1e9
    for _ in range(15):
        for plain in (True, False):
            begun_s = time.process_time()
            for _ in range(5):
                json.loads(body) if plain else decode_rows(body)
            took_s = time.process_time() - begun_s
            plain_s, ours_s = (min(plain_s, took_s), ours_s) if plain else (plain_s, min(ours_s, took_s))
    return ours_s / plain_s


def run() -> list[Result]:
    """All budgets. A row without numbers, a page that was not read, is no measurement."""
    with pages() as port, tempfile.TemporaryDirectory() as folder:
        own, read = asyncio.run(scraped(port))
        targets = [
            (f"127.0.0.1:{port}", {"namespace": "ai", "pod": f"svc-{each:03}-0", "__metrics_path__": f"/svc-{each}"})
            for each in range(SERVICES)
        ]
        with prometheus(Path(folder), targets, least=4, every_s=INTERVAL_S) as server, as_the_console():
            found, longest = asyncio.run(monitored(server.url))
    wanted = REGIONS * SERVICES * TURNS
    problems = [] if found["told"] >= 0.95 * wanted else [f"{found['told']:.0f} of {wanted} samples of replicas"]
    least = 0.9 * REPLICAS * OWN_S / EVERY_S
    unread = [] if read >= least else [f"only {read} pages were read"]
    detail = {"regions": REGIONS, "services of each": SERVICES, "in sight": IN_SIGHT, "samples": int(found["samples"])}
    return [
        at_most(NAMES[0], found["requests"], "", REQUESTS_BAR, detail, problems),
        at_most(NAMES[1], round(found["us"], 2), "us of CPU", SAMPLE_BAR_US, {}, problems),
        at_most(NAMES[2], round(parse_ratio(longest), 2), "x", PARSE_BAR, {"kB": len(longest) // 1000}),
        at_most(NAMES[3], round(own, 1), "% of a core", OWN_BAR, {"pages": read}, unread),
    ]
