"""Percentiles on the screen against the true ones, of every family, by our own scraping and out of real Prometheus.

The servers draw their latencies from a known distribution (truth.py). A percentile may be wrong by the width of the
bucket that the true one lies in, whatever happens meanwhile: a restart, a gap, a server of another generation with
other names, a region with other bounds, a region that is missing. Seen failing where a counter that begins anew is
taken for one that goes on (fleet.counters).
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.measures import Measure, MeasureState
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.updates import RegionListed, RegionSeen, Update
from nimify_tui.fleet.frames import Frame
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.metrics import prometheus as source
from nimify_tui.sources.metrics.prometheus import PrometheusScrapes
from nimify_tui.sources.metrics.scrape import ScrapeSource
from tests.metrics.prom import prometheus
from tests.metrics.truth import FORMATS, RATE, Format, Population, served, true_s

OWN, EAST, WEST, GONE = "own", "east", "west", "gone"
SPACE = {OWN: "", EAST: "ai", WEST: "ai", GONE: "ai"}
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
#: The same servers with other bounds: some in common with theirs in the east, and none.
COARSE = dataclasses.replace(FORMATS["vllm"], bounds=(0.5, 1.0, 2.5, 10.0))
STRANGE = dataclasses.replace(FORMATS["fastapi"], bounds=(0.2, 0.9, 3.0))
SINGLE = {name: (form,) for name, form in FORMATS.items()}
SERVICES: dict[str, dict[str, tuple[Format, ...]]] = {
    OWN: {
        **SINGLE, "restarting": (FORMATS["vllm"],), "gappy": (FORMATS["nimify"],),
        "renamed": (FORMATS["otel-old"], FORMATS["otel"]),
    },
    EAST: {**SINGLE, "restarting": (FORMATS["vllm"],), "renamed": (FORMATS["otel-old"], FORMATS["otel"])},
    WEST: {"vllm": (COARSE,), "fastapi": (STRANGE,)},
    GONE: {"vllm": ()},
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region is asked each second, as it is scraped."""
    monkeypatch.setattr(source, "STEPS_S", (1, 2, 5, 60))
    monkeypatch.setattr(source, "AGAIN_S", 0.5)
    monkeypatch.setattr(source, "CAP_RPS", 20.0)


@dataclasses.dataclass
class World:
    """All servers with the ports where they are asked, and the two Prometheus."""

    populations: dict[tuple[str, str], list[Population]]
    ports: dict[tuple[str, str], list[int]]
    urls: dict[str, str]

    def fleet(self) -> Fleet:
        """A fleet with all of them."""
        now, fleet = SystemClock().now(), Fleet(scrape_s=1.0)
        for region, services in SERVICES.items():
            kind = RegionKind.EMBEDDED if region == OWN else RegionKind.KUBERNETES
            found = [self._service(region, name, now) for name in services]
            replicas = tuple(one for _, those in found for one in those)
            health = RegionHealth(state=RegionState.LIVE, since=now, last_contact_at=now)
            fleet.apply_many([
                RegionSeen(now, Region(name=region, kind=kind, address="test", short=region), health),
                RegionListed(now, region, tuple(each for each, _ in found), replicas),
            ])  # fmt: skip
        return fleet

    def _service(self, region: str, name: str, now: float) -> tuple[Service, list[Replica]]:
        key = ServiceKey(region, name, SPACE[region])
        ports = self.ports.get((region, name), [0])
        service = Service(
            key=key, uid=f"{region}-{name}", family="", revision=1, desired_replicas=len(ports), generation=1,
            observed_generation=1, created_at=now, changed_at=now, metrics_at="8000/metrics",
        )  # fmt: skip
        return service, [
            Replica(
                key=ReplicaKey(key, f"{name}-{number}"), state=ReplicaState.READY, since=now, revision=1,
                admin_url=f"http://127.0.0.1:{port}" if region == OWN else "",
            )
            for number, port in enumerate(ports)
        ]  # fmt: skip


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        made = World({}, {}, {GONE: "http://127.0.0.1:1"})
        for seed, (region, name, forms) in enumerate(
            (region, name, forms) for region, services in SERVICES.items() for name, forms in services.items() if forms
        ):
            those = [Population(form, 100 * seed + number) for number, form in enumerate(forms)]
            made.populations[region, name] = those
            made.ports[region, name] = [stack.enter_context(served(each)) for each in those]
        for region in (EAST, WEST):
            targets = [
                (f"127.0.0.1:{port}", {"namespace": "ai", "pod": f"{name}-{number}"})
                for (at, name), ports in made.ports.items()
                if at == region
                for number, port in enumerate(ports)
            ]
            (folder / region).mkdir()
            made.urls[region] = stack.enter_context(prometheus(folder / region, targets, least=2)).url
        yield made


def width_s(bounds_s: Sequence[float], value_s: float) -> float:
    """Of the bucket that a value lies in; beyond the last bound everything is right that is at least that."""
    place = bisect.bisect_left(bounds_s, value_s)
    low = bounds_s[place - 1] if place else 0.0
    return (bounds_s[place] if place < len(bounds_s) else value_s) - low


def wrong(frame: Frame, row_id: str, bounds_s: Sequence[float], rate: float, off: float) -> list[str]:
    """What a row says that is not true, or does not say; rates may be ``off`` by a share."""
    row = frame.rows[row_id]
    found = []
    for name, q in QUANTILES.items():
        shown, truth = getattr(row, name), true_s(q)
        if shown.value is None or abs(shown.value - truth) > width_s(bounds_s, truth):
            found.append(f"{row_id} {name}: {shown} for {truth:.3f} s")
    if row.rps.value is None or not abs(row.rps.value - rate) <= off * rate:
        found.append(f"{row_id} rps: {row.rps} for {rate}")
    return found


def all_wrong(frame: Frame, off: float = 0.2) -> list[str]:
    """The same of all rows of one region."""
    found = []
    for region, services in SERVICES.items():
        for name, forms in services.items():
            if forms:
                common = sorted(set.intersection(*({round(each, 9) for each in form.bounds_s} for form in forms)))
                key = ServiceKey(region, name, SPACE[region])
                found += wrong(frame, key.row_id, common, RATE * len(forms), off)
    return found


def test_every_familys_percentiles_are_the_true_ones_whatever_happens(tmp_path: Path) -> None:
    clock = SystemClock()

    async def go(made: World) -> None:
        fleet, came = made.fleet(), asyncio.Event()
        spikes: list[str] = []
        watched = False  # the first second of a window is as uneven as this machine's own

        def sink(updates: Sequence[Update]) -> None:
            fleet.apply_many(updates)
            came.set()

        def look() -> Frame:
            frame = fleet.publish(clock.now())
            if watched:
                spikes.extend(all_wrong(frame, 0.5))
            return frame

        async def until(probe: Callable[[Frame], object], what: Callable[[Frame], object], deadline_s: float) -> Frame:
            try:
                async with asyncio.timeout(deadline_s):
                    while not probe(frame := look()):
                        came.clear()
                        await came.wait()
            except TimeoutError:
                raise AssertionError(f"not within {deadline_s} s: {what(look())}") from None
            return frame

        servers = {
            name: PrometheusServer(Direct(ServerPlace(url)), clock) for name, url in made.urls.items()
        }
        tasks = [
            asyncio.create_task(PrometheusScrapes(fleet, servers, OWN.__ne__, clock).run(sink)),
            asyncio.create_task(ScrapeSource(fleet.targets, clock, interval_s=1.0).run(sink)),
        ]
        try:
            await until(lambda frame: not all_wrong(frame), all_wrong, 120)
            watched = True
            for region in (OWN, EAST):
                made.populations[region, "restarting"][0].restart()
            [gappy] = made.populations[OWN, "gappy"]
            gappy.silent = True
            row_id = ServiceKey(OWN, "gappy").row_id
            stale = MeasureState.STALE
            await until(lambda frame: frame.rows[row_id].rps.state is stale, lambda frame: frame.rows[row_id].rps, 60)
            gappy.silent = False
            frame = await until(
                lambda frame: frame.rows[row_id].rps.state is not stale and not all_wrong(frame), all_wrong, 120
            )
            assert not spikes
            several(frame)
            for shown in rows_of_tokens():
                fleet.demand(DetailDemand(shown))
            tokens(fleet.publish(clock.now()))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in servers.values():
                each.close()

    with world(tmp_path) as made:
        asyncio.run(go(made))


def several(frame: Frame) -> None:
    """Rows of several regions: merged on what their bounds have in common, or not at all; and without a region."""
    vllm, fastapi = (frame.rows[ServiceKey(EAST, name, "ai").fold_id] for name in ("vllm", "fastapi"))
    assert {region for region, _ in vllm.region_states} == {EAST, WEST, GONE}
    for name, q in QUANTILES.items():
        shown: Measure = getattr(vllm, name)
        assert shown.value is not None
        assert abs(shown.value - true_s(q)) <= width_s(COARSE.bounds_s, true_s(q)), name
        assert shown.source == "metrics, 2 of 3 regions"
    assert vllm.rps.value is not None
    assert 0.8 * 2 * RATE <= vllm.rps.value <= 1.2 * 2 * RATE
    assert vllm.rps.state is MeasureState.BOUND
    assert fastapi.p95.value is None
    assert "without a common bucket bound" in fastapi.p95.reason


def rows_of_tokens() -> list[str]:
    """The rows of language models, by both ways."""
    names = [name for name, form in FORMATS.items() if form.tokens]
    return [ServiceKey(region, name, SPACE[region]).row_id for region in (OWN, EAST) for name in names]


def tokens(frame: Frame) -> None:
    """The times to the first token and between two, in the detail of each: as true as those of the requests."""
    for row_id in rows_of_tokens():
        bounds_s = FORMATS[frame.rows[row_id].name].bounds_s
        told = {line.name: line.measure for line in frame.details[row_id].metrics}
        for what in ("time to first token", "between tokens"):
            for name, q in QUANTILES.items():
                shown, truth = told[f"{what} {name}"], true_s(q)
                assert shown.value is not None, (row_id, what, shown)
                assert abs(shown.value - truth) <= width_s(bounds_s, truth), (row_id, what, name, shown)
