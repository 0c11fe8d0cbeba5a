"""A region's numbers out of a real Prometheus: the same as our own scraping tells, and honest when it is in trouble."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from nimify_tui.backends.prometheus.place import Secret, ServerPlace
from nimify_tui.backends.prometheus.server import SAME_CLOCK_S, PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct
from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.history import ChartMetric
from nimify_tui.domain.measures import Measure, MeasureState
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.promql import FAMILIES, Panel
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.updates import RegionListed, RegionSeen, Sampled, SampleFailed, Update
from nimify_tui.fleet.frames import ServiceRow
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.metrics import prometheus as source
from nimify_tui.sources.metrics.mesh import FROM_ISTIO
from nimify_tui.sources.metrics.prometheus import PrometheusScrapes, RegionScrapes
from nimify_tui.sources.metrics.scrape import ScrapeSource
from tests import models_factory
from tests.metrics.foreign import CONTOUR, ISTIO, NGINX
from tests.metrics.pages import TRITON, VLLM_NEW
from tests.metrics.prom import Prometheus, front, growing, loaded, prometheus, serving
from tests.serving.servers import running
from tests.support import wait_for

OURS, POD = ServiceKey("here", "embed"), ServiceKey("cluster", "vllm", "ai")
OURS_R, POD_R = ReplicaKey(OURS, "r"), ReplicaKey(POD, "vllm-0")
TRITON_POD, INGRESS_POD = ServiceKey("meshed", "triton", "ai"), ServiceKey("fronted", "ingress", "front")
GATEWAY_POD = ServiceKey("gated", "envoy", "projectcontour")
#: What the page of vLLM grows by in a second, in parts of what stands there: 10.6 requests.
PER_S = 0.1


@dataclass
class Scene:
    """A runtime of ours under load and a server that speaks as vLLM, and the Prometheus that scrapes both."""

    prometheus: Prometheus
    ours: str
    vllm: str

    def fleet(self) -> Fleet:
        """A fleet with both, each in a region of its own."""
        now, fleet = SystemClock().now(), Fleet(scrape_s=1.0)
        for key, kind, replica, url in (
            (OURS, RegionKind.EMBEDDED, "r", self.ours), (POD, RegionKind.KUBERNETES, "vllm-0", self.vllm),
            (TRITON_POD, RegionKind.KUBERNETES, "triton-0", ""), (INGRESS_POD, RegionKind.KUBERNETES, "c-0", ""),
            (GATEWAY_POD, RegionKind.KUBERNETES, "e-0", ""),
        ):  # fmt: skip
            region = Region(name=key.region, kind=kind, address="test", short=key.region)
            service = Service(
                key=key, uid="u", family="", revision=1, desired_replicas=1, generation=1, observed_generation=1,
                created_at=now, changed_at=now, metrics_at="8000/metrics",
            )  # fmt: skip
            one = Replica(
                key=ReplicaKey(key, replica), state=ReplicaState.READY, since=now, revision=1, admin_url=url
            )
            health = RegionHealth(state=RegionState.LIVE, since=now, last_contact_at=now)
            fleet.apply_many([RegionSeen(now, region, health), RegionListed(now, key.region, (service,), (one,))])
        return fleet


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        running(models_factory.mlp((8, 16, 4)), "--rate-limit-rps", "0") as server,
        growing(VLLM_NEW, PER_S) as vllm,
        serving(lambda _: (200, TRITON.encode())) as triton,
        growing(ISTIO, PER_S) as proxy,
        serving(lambda _: (200, NGINX.encode())) as ingress,
        serving(lambda _: (200, CONTOUR.encode())) as gateway,
        loaded(server.port, server.name),
        prometheus(
            folder,
            [
                (f"127.0.0.1:{server.admin_port}", {}),
                (f"127.0.0.1:{vllm}", {"namespace": "ai", "pod": "vllm-0", "model_name": "of the pod"}),
                (f"127.0.0.1:{triton}", {"namespace": "ai", "pod": "triton-0"}),
                (f"127.0.0.1:{proxy}", {"namespace": "ai", "pod": "triton-0"}),
                # As the operator's ServiceMonitor labels it: the page's own two labels are renamed.
                (f"127.0.0.1:{ingress}", {"namespace": "front", "pod": "c-0", "service": "controller-metrics"}),
                (f"127.0.0.1:{gateway}", {"namespace": "projectcontour", "pod": "e-0"}),
            ],
        ) as made,
    ):
        yield Scene(made, f"http://127.0.0.1:{server.admin_port}", f"http://127.0.0.1:{vllm}")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region is asked each second, as it is scraped."""
    monkeypatch.setattr(source, "STEPS_S", (1, 2, 5, 60))
    monkeypatch.setattr(source, "AGAIN_S", 0.5)
    monkeypatch.setattr(source, "TROUBLE_CAP_S", 1.0)
    monkeypatch.setattr(source, "CAP_RPS", 20.0)


def server_at(url: str, **more: object) -> PrometheusServer:
    limits = {name: more.pop(name) for name in ("max_series", "max_bytes") if name in more}
    place = ServerPlace(url, **more)  # type: ignore[arg-type]  # fields of several types
    return PrometheusServer(Direct(place), SystemClock(), **limits)  # type: ignore[arg-type]  # as above


def told(scene: Scene, server: PrometheusServer, region: str = "here") -> list[Update]:
    """What one look at a region brings; a look that fails brings why."""
    found: list[Update] = []

    async def go() -> None:
        one = RegionScrapes(region, scene.fleet(), server, SystemClock(), pods=region != "here")
        with contextlib.suppress(NimifyError):
            await one.turn(SystemClock().now(), found.extend)
        found.extend(one._updates)
        server.close()

    asyncio.run(go())
    return found


def why(updates: list[Update]) -> str:
    """The one thing that is said, of every replica the same."""
    assert updates
    assert not any(isinstance(each, Sampled) for each in updates), "what failed has no number as well"
    (found,) = {each.reason for each in updates if isinstance(each, SampleFailed)}
    return found


def near(one: Measure, other: Measure, share: float) -> bool:
    """Whether two numbers are the same but for ``share`` of them, and equally good."""
    if one.value is None or other.value is None or one.state is not other.state:
        return False
    return abs(one.value - other.value) <= share * abs(other.value)


def test_rows_are_those_of_our_own_scraping_and_outlive_the_server(scene: Scene) -> None:
    """Both watch the same for the same time.

    The page of vLLM is a straight line in time, so all that may differ is when it was read: up to 0.5 s of a window of
    24 s on a slow machine, 5 % for rates; its percentiles are the same in every window. Our runtime's load is a real
    one: its window ends a column (4 of 24 s) earlier, so 25 %; and p95 lies in the same bucket or the next (factor 2).
    """
    clock = SystemClock()
    theirs, own = scene.fleet(), scene.fleet()

    async def go() -> None:
        servers = {name: server_at(scene.prometheus.url) for name in ("here", "cluster")}
        reading = PrometheusScrapes(theirs, servers, "cluster".__eq__, clock)
        came = asyncio.Event()

        def into(fleet: Fleet) -> Callable[[Sequence[Update]], None]:
            def sink(updates: Sequence[Update]) -> None:
                fleet.apply_many(updates)
                came.set()

            return sink

        tasks = [
            asyncio.create_task(reading.run(into(theirs))),
            asyncio.create_task(ScrapeSource(own.targets, clock, interval_s=1.0).run(into(own))),
        ]

        async def until(probe: Callable[[ServiceRow, ServiceRow], bool], row: ServiceKey, deadline_s: float) -> None:
            last: tuple[ServiceRow, ServiceRow] | None = None
            try:
                async with asyncio.timeout(deadline_s):
                    while True:
                        frames = [fleet.publish(clock.now()) for fleet in (theirs, own)]
                        last = frames[0].rows[row.row_id], frames[1].rows[row.row_id]
                        if probe(*last):
                            return
                        came.clear()
                        await came.wait()
            except TimeoutError:
                raise AssertionError(f"not within {deadline_s} s: {last}") from None

        try:
            await until(lambda row, own: near(row.rps, own.rps, 0.05), POD, 60)
            await until(lambda row, own: near(row.p50, own.p50, 0.001) and near(row.p95, own.p95, 0.001), POD, 60)
            await until(lambda row, own: near(row.error_ratio, own.error_ratio, 0.02), POD, 60)
            await until(lambda row, own: near(row.rps, own.rps, 0.25) and near(row.p95, own.p95, 1.0), OURS, 60)
            row = theirs.frame.rows[OURS.row_id]
            assert row.rps.state is MeasureState.FRESH
            assert row.error_ratio.value == 0.0
            assert row.rps.source == f"Prometheus 127.0.0.1:{scene.prometheus.port}, metrics of 1 replica"
            age_s = clock.now() - (row.rps.at or 0.0)
            assert 0.0 <= age_s < 30.0, "the time of the scrape"

            scene.prometheus.kill()
            await until(
                lambda row, _: row.rps.state is MeasureState.STALE and "refused: is it running?" in row.rps.reason,
                OURS, 30,
            )  # fmt: skip
            assert theirs.frame.rows[OURS.row_id].rps.value is not None, "old, and still there"
            assert own.frame.rows[OURS.row_id].rps.state is MeasureState.FRESH
            await asyncio.to_thread(scene.prometheus.start)
            await until(lambda row, _: row.rps.state is MeasureState.FRESH, OURS, 60)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(go())


def test_logins_are_sent_and_their_refusal_is_told(scene: Scene, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("wrong\n")
    with front(scene.prometheus.url) as before:
        before.instead = lambda _, headers: (
            None if headers.get("authorization") in ("Bearer right", "Basic bWU6cmlnaHQ=") else (401, b"no", 0.0)
        )
        at = {"token": Secret(file=str(secret)), "tenant": "team-a"}
        host = before.url.removeprefix("http://")
        refused = f"Prometheus {host} does not accept the login (401): check token or username and password"
        assert why(told(scene, server_at(before.url, **at))) == refused
        assert before.asked[-1][1]["x-scope-orgid"] == "team-a"
        secret.write_text("right\n")
        assert any(isinstance(each, Sampled) for each in told(scene, server_at(before.url, **at)))
        name = server_at(before.url, username="me", password=Secret(file=str(secret)))
        assert any(isinstance(each, Sampled) for each in told(scene, name))
        missing = server_at(before.url, token=Secret(file=str(tmp_path / "none")))
        assert "none cannot be read: No such file or directory" in why(told(scene, missing))
        assert why(told(scene, server_at(before.url, token=Secret(env="NIMIFY_NOT_SET")))).startswith(
            "the variable NIMIFY_NOT_SET is not set"
        )
    assert "right" not in str(told(scene, server_at("http://127.0.0.1:1", **at)))


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, b"", "answers 503: look at its log"),
        (302, b"", "sends us on (status 302): a login page? give the url of the API itself"),
        (404, b"404 page not found", "has no query API there (404): add its path to the url (Mimir: /prometheus)"),
        (200, b"<html>", "what answers is no Prometheus: check the url"),
        (429, b"", "asks for fewer queries (429): raise its limit"),
        (400, b'{"status":"error","errorType":"bad_data","error":"no org id"}', "the tenant (400: no org id): set"),
        (200, b'{"status":"success","data":[]}', "has none of the metrics that are understood here; is it the"),
    ],
)  # fmt: skip
def test_trouble_is_one_sentence_with_what_helps(scene: Scene, status: int, body: bytes, words: str) -> None:
    with front(scene.prometheus.url) as before:
        before.instead = lambda _path, _headers: (status, body, 0.0)
        assert words in why(told(scene, server_at(before.url)))


def test_a_server_that_hangs_is_told_and_waited_for_no_longer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nimify_tui.backends.prometheus.server.QUERY_S", 0.3)
    with front(scene.prometheus.url) as before:
        before.instead = lambda path, _: (200, b"", 30.0) if path.startswith("/api/v1/query") else None
        assert "does not answer within 0.3 s: look at its load" in why(told(scene, server_at(before.url)))


def test_what_is_cut_is_unknown_as_a_whole_and_says_why(scene: Scene) -> None:
    """Seen failing with the limit of series left out: numbers came."""
    found = why(told(scene, server_at(scene.prometheus.url, max_series=20)))
    assert "series, more than 20: drop labels that nobody needs" in found
    assert "answers with more than 2000 bytes" in why(told(scene, server_at(scene.prometheus.url, max_bytes=2000)))
    with front(scene.prometheus.url) as before:
        # Prometheus' own words (promql/engine.go, ErrTooManySamples) and its status for them.
        body = {
            "status": "error", "errorType": "execution",
            "error": "query processing would load too many samples into memory in query execution",
        }  # fmt: skip
        before.instead = lambda path, _: (422, json.dumps(body).encode(), 0.0) if "/query" in path else None
        assert "too many samples into memory in query execution: raise the server's query limits" in why(
            told(scene, server_at(before.url))
        )


def test_a_partial_answer_is_a_lower_bound_with_the_servers_words(scene: Scene) -> None:
    """As a Thanos said it that had lost one of its two sidecars, and said on."""
    sample = Path(__file__).with_name("samples") / "thanos-0.36.1.json"
    said = json.loads(sample.read_text(encoding="utf-8"))["answer"]
    (words,) = said["warnings"]  # told with its middle left out

    def change(body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "warnings": [words, "\x1b[31mred"]}).encode()

    with front(scene.prometheus.url) as before:
        before.change = change
        fleet = scene.fleet()

        def look() -> Measure | None:
            fleet.apply_many(told(scene, server_at(before.url), "cluster"))
            found = fleet.publish(SystemClock().now()).rows[POD.row_id].rps
            return found if found.value is not None else None

        rps = wait_for(look, 60.0, why="a number")
    assert rps.state is MeasureState.BOUND
    assert rps.reason.endswith(f"{before.url.removeprefix('http://')} warns: {words[:60]}…{words[-59:]}; red")


def test_clocks_apart_make_no_number_old_or_young(scene: Scene) -> None:
    """The server's own time counts. Seen failing where what it has was asked for by our clock alone: it had nothing."""

    class Behind(SystemClock):
        def now(self) -> float:
            return super().now() - 3600.0

    async def go() -> float:
        clock, found = Behind(), list[Update]()
        server = PrometheusServer(Direct(ServerPlace(scene.prometheus.url), clock=clock), clock)
        one = RegionScrapes("cluster", scene.fleet(), server, clock, pods=True)
        await one.turn(clock.now(), found.extend)
        server.close()
        return clock.now() - max(each.at for each in found if isinstance(each, Sampled))

    assert 0.0 <= asyncio.run(go()) + SAME_CLOCK_S < 30.0


def test_percentiles_of_a_triton_come_from_the_proxy_at_its_pod_which_is_a_target_of_its_own(scene: Scene) -> None:
    """Seen failing with requests that the pod itself makes left in: 900 of them came on top."""
    fleet, clock = scene.fleet(), SystemClock()

    async def go() -> ServiceRow:
        came = asyncio.Event()

        def sink(updates: Sequence[Update]) -> None:
            fleet.apply_many(updates)
            came.set()

        servers = {"meshed": server_at(scene.prometheus.url)}
        work = asyncio.create_task(PrometheusScrapes(fleet, servers, lambda _: True, clock).run(sink))
        try:
            async with asyncio.timeout(60):
                while (row := fleet.publish(clock.now()).rows[TRITON_POD.row_id]).p99.value is None:
                    came.clear()
                    await came.wait()
                return row
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    row = asyncio.run(go())
    assert FROM_ISTIO in row.p99.source
    track = fleet._world.services[TRITON_POD]
    assert track.window is not None
    # Of a factor of 2 and 7: what came in, and nothing of what went out.
    low, high = track.window.counts[0], track.window.counts[-1]
    assert low / high == pytest.approx(2 / 7, rel=1e-6)


@pytest.mark.parametrize(
    ("region", "service", "counts"),
    [
        ("fronted", ("default", "ticketing"), (3.0, 10.0)),
        ("gated", ("shop", "recommender"), (1.0, 31.0, 42.0, 44.0, 44.0)),
    ],
    ids=["nginx", "Contour"],
)
def test_an_ingress_tells_of_the_services_behind_it_by_labels_that_its_prometheus_has_renamed_or_by_names_of_clusters(
    scene: Scene, region: str, service: tuple[str, str], counts: tuple[float, ...]
) -> None:
    found = [each for each in told(scene, server_at(scene.prometheus.url), region) if isinstance(each, Sampled)]
    assert found
    front = found[-1].sample.front
    assert front is not None
    assert front.services[service].counts == counts
    assert {space for space, _ in front.services} & {"front", "projectcontour"} == set(), "nothing of itself"


def test_every_panel_of_every_family_is_a_query_that_a_real_server_evaluates(scene: Scene) -> None:
    told = {}
    for family in FAMILIES:
        panel = Panel(family, 'pod="vllm-0"', ("pod", "instance"))
        for metric in ChartMetric:
            for name, text in panel.lines(metric, 60.0):
                address = f"{scene.prometheus.url}/api/v1/query?{urlencode({'query': text})}"
                with urlopen(address, timeout=10.0) as answer:
                    told[family.runtime, name] = json.loads(answer.read())["data"]["result"]
    assert told["vllm", "p95"]
    assert not told["sglang", "requests/s"]
