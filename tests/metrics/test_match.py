"""Two clusters that tell one real Prometheus the same names: a region with a ``match`` is of its own series alone."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.demands import HistoryDemand
from nimify_tui.domain.history import ChartMetric, History
from nimify_tui.domain.updates import CacheSeen, GpusSeen, Sampled, Update
from nimify_tui.domain.xids import fault_of
from nimify_tui.sources.caches.exporter import ExportedRedis
from nimify_tui.sources.gpu_faults import GpuFaults, fault_event
from nimify_tui.sources.metrics import prometheus as source
from nimify_tui.sources.metrics.dcgm_prometheus import RegionCards
from nimify_tui.sources.metrics.past import PrometheusPast
from nimify_tui.sources.metrics.prometheus import RegionScrapes
from tests.metrics.dcgm_pages import ada
from tests.metrics.pages import VLLM_NEW
from tests.metrics.prom import front, growing, prometheus
from tests.metrics.test_prometheus import POD, Scene
from tests.support import wait_for

#: As redis_exporter v1.62 writes it (github.com/oliver006/redis_exporter).
REDIS = "# TYPE redis_up gauge\nredis_up 1\n# TYPE redis_memory_used_bytes gauge\nredis_memory_used_bytes 1000\n"
#: Of the page in a second: 10.6 and 31.8 requests.
A, B = 0.1, 0.3
MATCH = 'cluster="a"'


def test_every_question_is_of_the_regions_own_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen failing without the matchers at each of the four: the numbers, the past, the GPUs and Redis."""
    monkeypatch.setattr(source, "CAP_RPS", 20.0)
    clock = SystemClock()
    updates: list[Update] = []

    async def look(url: str, scene: Scene) -> History:
        server = PrometheusServer(Direct(ServerPlace(url, match=MATCH)), clock)
        try:
            if not updates:
                region = RegionScrapes("cluster", scene.fleet(), server, clock, pods=True)
                await region.turn(clock.now(), updates.extend)
                updates.extend(await RegionCards("cluster", server, GpuFaults(), clock).turn(clock.now()))
                updates.extend(await ExportedRedis("cluster", server, clock).look())
            end = int(clock.now())
            demand = HistoryDemand(POD, ChartMetric.REQUESTS, end - 60, end, 1)
            return await PrometheusPast(scene.fleet(), {"cluster": server}, lambda _: True, clock).read(demand, server)
        finally:
            server.close()

    with ExitStack() as stack:
        page = "\n".join((VLLM_NEW, ada(), REDIS))
        targets = [
            (f"127.0.0.1:{stack.enter_context(growing(page, each))}",
             {"namespace": "ai", "pod": "vllm-0", "cluster": name})
            for name, each in (("a", A), ("b", B))
        ]  # fmt: skip
        made = stack.enter_context(prometheus(tmp_path, targets, least=2))
        before = stack.enter_context(front(made.url))
        scene, found = Scene(made, "http://127.0.0.1:1", ""), list[History]()

        def told() -> bool:
            found[:] = [asyncio.run(look(before.url, scene))]
            return bool(found[0].steps)

        wait_for(told, 60.0, why="a step of its past")
    asked = [parse_qs(urlsplit(path).query) for path, _ in before.asked]
    selectors = [text for each in asked for name in ("query", "match[]") for text in each.get(name, ())]
    assert len(selectors) >= 8
    for each in selectors:
        assert each.count("{") == each.count(MATCH), each
    assert all(MATCH in text for _, text in found[0].queries), "what is copied gives the same"
    (gpus,) = [each.panel.gpus for each in updates if isinstance(each, GpusSeen)]
    assert len(gpus) == 1
    assert len([each for each in updates if isinstance(each, CacheSeen)]) == 1
    assert any(isinstance(each, Sampled) for each in updates)
    most = max(each.total or 0.0 for each in found[0].steps)
    assert 0.0 < most < 20.0, "of both it would be 42 or, the greater of them, 32"


def test_the_same_fault_in_two_regions_is_two_events() -> None:
    """Seen failing with ids of node and card alone: of two clusters with a node n1 the second was taken for known."""
    ids = {fault_event(region, "n1", 0, fault_of(1.0, 79), "DCGM").id for region in ("us", "eu")}
    assert len(ids) == 2
