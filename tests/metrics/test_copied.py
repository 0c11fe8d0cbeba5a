"""What is copied of a panel, pasted into the real Prometheus that it came from, gives the figure that is shown."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from nimify_tui.backends.prometheus.place import ServerPlace, matchers_of
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.asked import Found, together
from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.measures import Measure
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.slos import Slo
from nimify_tui.domain.updates import GpusSeen, RegionListed, RegionSeen, Update
from nimify_tui.fleet.frames import Frame
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.caches.exporter import ExportedRedis
from nimify_tui.sources.gpu_faults import GpuFaults
from nimify_tui.sources.metrics import prometheus as source
from nimify_tui.sources.metrics.dcgm_prometheus import RegionCards
from nimify_tui.sources.metrics.prometheus import RegionScrapes
from nimify_tui.ui.present import queries
from tests.caches.stand import Redis, exporter, redis
from tests.hostile import FORBIDDEN
from tests.kube.pki import own
from tests.metrics.dcgm_pages import a800, ada, shared
from tests.metrics.pages import VLLM_NEW
from tests.metrics.prom import Prometheus, growing, prometheus, serving
from tests.skips import lacking
from tests.support import wait_for

CLOCK = SystemClock()
CHAT = ServiceKey("eu", "chat", "ai")
MATCH = {"cluster": 'the "eu" \\ one'}
#: A node whose name is a matcher, an escape sequence and a word that reads backwards.
NODE = 'n1",gpu=~".*\\ \x1b[2J\u202e|e\u0301'
#: What both pages of vLLM grow by in a second, requests; and in parts of what stands there.
RPS, PER_S = 2 * 10.6, 0.1
EMPTIER = re.sub(r"(kv_cache_usage_perc\{.*\}) \S+", r"\1 0.6", VLLM_NEW)
OTHER = re.sub(r"(kv_cache_usage_perc\{.*\}) \S+", r"\1 1.0", VLLM_NEW)


@dataclass
class Scene:
    """A server that scrapes cards, two replicas of a vLLM and a Redis of this cluster, and the like of another one."""

    prometheus: Prometheus
    redis: Redis

    def server(self) -> PrometheusServer:
        return PrometheusServer(Direct(ServerPlace(self.prometheus.url, match=matchers_of(MATCH))), CLOCK)

    def pasted(self, expression: str, at: float | None = None) -> float:
        """What its API answers to an expression."""
        asked = {"query": expression, **({"time": f"{at:.3f}"} if at is not None else {})}
        with urlopen(f"{self.prometheus.url}/api/v1/query?{urlencode(asked)}", timeout=10.0) as answer:
            found = json.loads(answer.read())["data"]["result"]
        assert len(found) == 1, (expression, found)
        return float(found[0]["value"][1])


def by_name(lines: Sequence[str]) -> dict[str, str]:
    """The expressions that were copied, by the comments above them."""
    return {name.removeprefix("# "): text for name, text in itertools.pairwise(lines) if text[0] != "#"}


def value(measure: Measure | None) -> float:
    assert measure is not None
    assert measure.value is not None, measure.reason
    return measure.value


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if shutil.which("prometheus") is None:
        lacking("prometheus is not installed", "the Debian package prometheus")
    folder = tmp_path_factory.mktemp("copied")
    pair = own(folder, "redis")
    node = NODE.replace("\\", "\\\\").replace('"', '\\"')
    slices = re.sub(r'(FB_USED\{.*GPU_I_ID="5".*\}) \S+', r"\1 4096", a800(whole=False))
    cards = ada(node, GPU_UTIL="87", DRAM_ACTIVE="0.613") + slices + shared()
    there = {"cluster": MATCH["cluster"]}
    with (
        redis(folder, pair.certificate, pair.key) as made,
        exporter(folder, made) as told,
        serving(lambda _: (200, cards.encode())) as dcgm,
        growing(VLLM_NEW, PER_S) as full,
        growing(EMPTIER, PER_S) as emptier,
        growing(OTHER, PER_S) as other,
        prometheus(
            folder,
            [
                (f"127.0.0.1:{dcgm}", there), (f"127.0.0.1:{told}", there),
                # Twice, as two jobs that scrape one exporter make it.
                (f"127.0.0.1:{dcgm}", {**there, "again": "yes"}), (f"127.0.0.1:{told}", {**there, "again": "yes"}),
                (f"127.0.0.1:{full}", {**there, "namespace": "ai", "pod": "chat-0", "model_name": "of the pod"}),
                (f"127.0.0.1:{emptier}", {**there, "namespace": "ai", "pod": "chat-1"}),
                (f"127.0.0.1:{other}", {"cluster": "us", "namespace": "ai", "pod": "chat-0"}),
                (f"127.0.0.1:{other}", {**there, "namespace": "ai", "pod": "other-0"}),
            ],
        ) as server,
    ):  # fmt: skip
        yield Scene(server, made)


def test_each_number_of_each_card_is_what_its_copy_gives(scene: Scene) -> None:
    """Whole cards, slices, one that pods share, and labels that are hostile.

    Seen failing without the slice among the matchers, and with label values that were not escaped.
    """

    async def go() -> GpuPanel:
        server = scene.server()
        try:
            told = await RegionCards("eu", server, GpuFaults(), CLOCK).turn(CLOCK.now())
        finally:
            server.close()
        (seen,) = [each for each in told if isinstance(each, GpusSeen)]
        return seen.panel

    panel = asyncio.run(go())
    assert len(panel.gpus) == 7
    assert [len(each.queries) > 1 for each in panel.gpus].count(True) == 6
    for gpu in panel.gpus:
        lines = queries.gpu_query_lines([gpu], several=True)
        assert not FORBIDDEN & set("".join(lines))
        assert lines[0].endswith(f"(DCGM through Prometheus 127.0.0.1:{scene.prometheus.port})")
        copied = by_name(lines)
        told = {
            name: measure
            for name in gpu.__struct_fields__
            if isinstance(measure := getattr(gpu, name), Measure) and measure.value is not None
        }
        assert {name for name, _ in gpu.queries} == told.keys()
        for name, measure in told.items():
            text = copied[f"{name.replace('_', ' ')}, {measure.unit.replace('_', ' ')}"]
            assert scene.pasted(text, measure.at) == pytest.approx(measure.value, rel=1e-9), text
    odd = next(each for each in panel.gpus if each.name.startswith("RTX"))
    assert value(odd.dram_active) == pytest.approx(61.3)
    shown = by_name(queries.gpu_panel_lines([panel]))
    assert shown["utilisation, percent"] == dict(panel.gpus[-1].queries)["utilisation"]
    assert "clock, megahertz" not in shown


def fleet() -> Fleet:
    """A cluster with one service of two replicas, of which nothing is told yet."""
    now, made = CLOCK.now(), Fleet(slos=(Slo(service="chat", objective=0.99, latency_ms=2500.0),), scrape_s=1.0)
    service = Service(
        key=CHAT, uid="u", family="vllm", revision=1, desired_replicas=2, generation=1, observed_generation=1,
        created_at=now, changed_at=now, metrics_at="8000/metrics",
    )  # fmt: skip
    pods = tuple(
        Replica(key=ReplicaKey(CHAT, name), state=ReplicaState.READY, since=now, revision=1)
        for name in ("chat-0", "chat-1")
    )
    region = Region(name="eu", kind=RegionKind.KUBERNETES, address="test", short="eu")
    health = RegionHealth(state=RegionState.LIVE, since=now, last_contact_at=now)
    made.apply_many([RegionSeen(now, region, health), RegionListed(now, "eu", (service,), pods)])
    made.demand(DetailDemand(CHAT.row_id))
    return made


def test_a_service_and_its_kv_and_prefix_caches_are_what_their_copies_give(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of this cluster and these replicas alone; of the KV caches the fullest, the mean of its engines.

    Seen failing without the region's own matchers (the other cluster's pod of that name is full), and with the
    fullest engine taken for the replica.
    """
    monkeypatch.setattr(source, "CAP_RPS", 20.0)
    monkeypatch.setattr(source, "STEPS_S", (1, 5))  # read as often as it is scraped
    monkeypatch.setattr(queries, "WINDOW_S", 4.0)  # the server has not more of a past yet

    async def go() -> Frame:
        made, server, came = fleet(), scene.server(), asyncio.Event()

        def sink(updates: Sequence[Update]) -> None:
            made.apply_many(updates)
            came.set()

        work = asyncio.create_task(RegionScrapes("eu", made, server, CLOCK, pods=True).run(sink))
        try:
            async with asyncio.timeout(60):
                while True:
                    await came.wait()
                    came.clear()
                    frame = made.publish(CLOCK.now())
                    row, found = frame.rows[CHAT.row_id], {each.tier: each for each in frame.caches}
                    told = {"KV", "prefix"} <= found.keys() and found["prefix"].hit_ratio.value is not None
                    steady = abs((row.rps.value or 0.0) - RPS) <= 0.05 * RPS
                    if told and steady and row.p95.value is not None and row.burn.value is not None:
                        return frame
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            server.close()

    frame = asyncio.run(go())
    row, detail, tiers = frame.rows[CHAT.row_id], frame.details[CHAT.row_id], {each.tier: each for each in frame.caches}
    where = f"# eu (Prometheus 127.0.0.1:{scene.prometheus.port})"
    lines = queries.panel_lines(frame, row, ("latency", "cache"))
    assert lines.count(where) == 2
    copied = by_name(lines)
    assert scene.pasted(copied["KV: use of the fullest, 0 to 1"]) == pytest.approx(value(tiers["KV"].use)) == 0.7
    assert scene.pasted(copied["prefix: hit ratio"]) == pytest.approx(value(tiers["prefix"].hit_ratio), rel=1e-6)
    assert value(tiers["prefix"].hit_ratio) == pytest.approx(0.25)
    for name, shown in (("p50", row.p50), ("p95", row.p95), ("p99", row.p99)):
        assert scene.pasted(copied[f"latency {name}"]) == pytest.approx(value(shown), rel=1e-3)
    ratio = scene.pasted(copied["error ratio (5xx, failed runs)"])
    assert ratio == pytest.approx(value(row.error_ratio), rel=0.02)
    # A straight line over 4 s, read half a second early or late on a slow machine.
    assert scene.pasted(copied["requests"]) == pytest.approx(value(row.rps), rel=0.3)
    copied = by_name(queries.detail_lines(row, detail))
    burn = scene.pasted(copied["burn 1 h, 5 min (limit 14.4), where 2500 ms is a bound of its buckets"])
    assert burn == pytest.approx(value(row.burn), rel=0.05)
    assert burn > ratio / 0.01, "who waits for too long counts as well"

    # Under the cursor of the detail's metrics: that number, or that there is no one expression for it.
    told = {each.name: by_name(queries.metric_query_lines(row, detail, each)) for each in detail.metrics}
    assert scene.pasted(told["KV cache in use, mean"]["KV cache in use, mean"]) == pytest.approx(0.65)
    assert told["latency p95"] == {"latency p95": copied["latency p95"]}
    assert not told["preemptions a second"]
    assert copied["prefix: hit ratio"] == told["prefix cache hits"]["prefix cache hits"]


def test_a_redis_is_what_its_copy_gives(scene: Scene) -> None:
    """Seen failing with its two jobs added up: twice the bytes."""
    made = fleet()

    async def look() -> dict[str, float]:
        one = ExportedRedis("eu", scene.server(), CLOCK)
        try:
            updates = await one.look()
        finally:
            one._server.close()
        made.apply_many(updates)
        (told,) = [each.told for each in updates if hasattr(each, "told")]
        return {"hits": told.hits or 0.0, "misses": told.misses or 0.0}

    before = asyncio.run(look())
    scene.redis.ask("SET", "k", "v")
    for key in ("k", "k", "k", "none"):
        scene.redis.ask("GET", key)
    wait_for(
        lambda: (now := asyncio.run(look()))["hits"] == before["hits"] + 3 and now["misses"] == before["misses"] + 1,
        60.0, why="the exporter's next scrape",
    )  # fmt: skip
    frame = made.publish(CLOCK.now())
    shown = next(each for each in frame.caches if each.tier == "redis L2")
    lines = queries.cache_lines([shown], ())
    assert lines[0] == f"# eu (Prometheus 127.0.0.1:{scene.prometheus.port}, redis_exporter)"
    copied = by_name(lines)
    assert scene.pasted(copied["redis L2: hit ratio"]) == pytest.approx(value(shown.hit_ratio)) == 0.75
    at = shown.size.at
    assert scene.pasted(copied["redis L2: size, bytes"], at) == value(shown.size)
    assert scene.pasted(copied["redis L2: limit, bytes"], at) == value(shown.limit) == 2.0 * 2**20
    assert scene.pasted(copied["redis L2: evicted a second"], at) == value(shown.evictions)
    assert shown.latency is not None
    assert (shown.latency.value, "redis L2: answers in, seconds" in copied) == (None, False), "this exporter tells none"


def test_names_that_read_as_patterns_are_found_as_they_are() -> None:
    found = [
        Found("eu", "Prometheus p", "vllm:num_requests_running", ("ns", "pod"), space, (name,), "", 1.0)
        for space, name in (("a", "x.y"), ("a", "(b|c)\n"))
    ]
    (one,) = together([*found, *found])
    assert one.matchers == 'ns="a",pod=~"\\\\(b\\\\|c\\\\)\\u000a|x\\\\.y"'
    assert [each.who for each in together([*found, "eu"])] == ["", "Prometheus p"]
