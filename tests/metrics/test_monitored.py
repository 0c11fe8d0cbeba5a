"""Which regions have a Prometheus by the configuration, and that those are not scraped by us as well."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from nimify_tui.base.clock import SystemClock
from nimify_tui.config import load
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.updates import RegionListed, RegionSeen, Sampled, Update
from nimify_tui.embedded import EmbeddedRegions
from nimify_tui.fleet.store import Fleet
from nimify_tui.gate.policy import GatePolicy
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
