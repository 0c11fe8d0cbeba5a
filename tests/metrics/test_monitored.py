"""Which regions have a Prometheus by the configuration, and that those are not scraped by us as well."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from nimify_tui.backends.prometheus.errors import ServerGone
from nimify_tui.backends.prometheus.place import Secret, ServerPlace
from nimify_tui.backends.prometheus.ways import Forwarded
from nimify_tui.base.clock import SystemClock
from nimify_tui.config import load
from nimify_tui.domain.live import Forward
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.updates import RegionListed, RegionSeen, Sampled, Update
from nimify_tui.embedded import EmbeddedRegions
from nimify_tui.fleet.store import Fleet
from nimify_tui.gate.policy import GatePolicy
from nimify_tui.headless import doctor
from nimify_tui.monitors import Monitors
from tests.metrics.pages import VLLM_NEW
from tests.metrics.prom import serving


def test_regions_with_a_server_are_those_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[[region]]\nname = "a"\nprometheus = "http://h:9090"\n[[region]]\nname = "b"\n')
    config = load([file], {})
    made = Monitors(config, (), lambda _: None, SystemClock())
    assert made.regions == {"a"}
    assert [region.monitor for region in config.regions] == ["Prometheus h:9090", ""]
    assert (len(made.fleet_work(numbers=True)), len(made.fleet_work(numbers=False))) == (1, 0)
    assert Monitors(config, ("b",), lambda _: None, SystemClock()).fleet_work(numbers=True) == ()


def test_who_has_a_server_is_not_scraped_by_us_as_well() -> None:
    """Seen failing with every region scraped: it was asked, too."""
    asked: dict[str, int] = {}

    def page(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        at = request.headers["Host"]
        asked[at] = asked.get(at, 0) + 1
        return 200, VLLM_NEW.encode()

    async def go(urls: dict[str, str]) -> None:
        clock, fleet, came = SystemClock(), Fleet(), asyncio.Event()
        now = clock.now()
        for name, url in urls.items():
            key = ServiceKey(name, "m")
            region = Region(name=name, kind=RegionKind.EMBEDDED, address="test", short=name)
            service = Service(key=key, uid="u", family="", revision=1, desired_replicas=1, generation=1,
                              observed_generation=1, created_at=now, changed_at=now)  # fmt: skip
            one = Replica(
                key=ReplicaKey(key, "r"), state=ReplicaState.READY, since=now, revision=1, admin_url=url
            )
            fleet.apply_many(
                [
                    RegionSeen(now, region, RegionHealth(state=RegionState.LIVE, since=now)),
                    RegionListed(now, name, (service,), (one,)),
                ]
            )

        def sink(updates: Sequence[Update]) -> None:
            if any(isinstance(each, Sampled) and each.key.service.region == "ours" for each in updates):
                came.set()

        def verify(*_: object) -> None:
            raise AssertionError("nothing is changed here")

        regions = EmbeddedRegions((), verify, clock, GatePolicy(), keep=False, only=frozenset())
        work = asyncio.create_task(regions.fleet_work(True, frozenset({"told"}))[1](fleet, sink))
        async with asyncio.timeout(30):
            await came.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    with serving(page) as told, serving(page) as ours:
        # The one that must not be asked comes first.
        asyncio.run(go({"told": f"http://127.0.0.1:{told}", "ours": f"http://127.0.0.1:{ours}"}))
        assert asked.get(f"127.0.0.1:{ours}")
        assert f"127.0.0.1:{told}" not in asked


@pytest.mark.parametrize(
    ("pod", "fits"),
    [
        ("prometheus", True), ("prometheus-0", True), ("prometheus-12", True), ("prometheus-7d4b9c6f8b-x2x9k", True),
        ("prometheus-x2x9k", True), ("prometheus-adapter-x", False), ("prometheus-adapter-7d4b9c6f8b-x2x9k", False),
        ("prometheus-adapter-0", False), ("prometheus-0-0", False), ("prometheus-alert", False), ("prometheus-", False),
        ("prometheusx2x9k", False), ("my-prometheus-0", False), ("prometheus-0\n", False),
    ],
)  # fmt: skip
def test_a_login_goes_to_the_pods_of_the_name_alone(
    monkeypatch: pytest.MonkeyPatch, pod: str, fits: bool
) -> None:
    """Seen failing where a name's beginning was enough: the token went to another program on the same port."""
    monkeypatch.setenv("PROMETHEUS_TOKEN", "open-sesame-4711")
    said: list[str] = []

    def handle(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        said.append(request.headers["Authorization"])
        return 200, b"{}"

    async def go(port: int) -> None:
        key = ReplicaKey(ServiceKey("eu", "prometheus", "mon"), pod)
        opened = Forward(id="1", key=key, pod_port=9090, local_port=port, opened_at=0.0)
        place = ServerPlace("forward://mon/prometheus:9090", token=Secret(env="PROMETHEUS_TOKEN"))
        way = Forwarded(place, "eu", lambda: [opened])
        try:
            await way.ask("/api/v1/query", (), timeout_s=30.0, limit_bytes=100)
        finally:
            way.close()

    with serving(handle) as port:
        if fits:
            asyncio.run(go(port))
            assert said == ["Bearer open-sesame-4711"]
            return
        with pytest.raises(ServerGone, match="no port-forward to it is open"):
            asyncio.run(go(port))
    assert said == []


def test_the_doctor_says_that_only_an_open_console_reads_through_a_port_forward(tmp_path: Path) -> None:
    """Seen failing with a doctor that looks for the port-forwards of a console in its own process."""
    file = tmp_path / "config.toml"
    file.write_text(
        '[[region]]\nname = "eu"\nkind = "kubernetes"\ncontext = "eu"\nprometheus = "forward://mon/prometheus-0:9090"\n'
    )
    options = argparse.Namespace(config=str(file), read_only=False, read_write=False, kubeconfig="")
    [found] = doctor._monitors(options)
    assert (found.what, found.good) == ("Prometheus of eu", None)
    said = "only an open console can answer that, through its port-forward"
    assert found.text == f"Prometheus mon/prometheus-0:9090: {said}"
    assert found.remedy == "open it there: F on a pod of prometheus-0 in mon, port 9090"
