"""The caches of our own runtime, from real requests to a real server to the panel: answers kept (L1), and graphs."""

from __future__ import annotations

from pathlib import Path

import pytest

from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica, ReplicaState, Service
from nimify_tui.domain.updates import RegionListed, RegionSeen, Sampled
from nimify_tui.fleet.frames import CacheStat
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.metrics.adapters import Reader
from tests import models_factory
from tests.serving.servers import Server, running, tensor

MLP = models_factory.mlp((8, 16, 4))
KEY = ReplicaKey(ServiceKey("here", "scorer"), "scorer-0")
#: Whatever a load takes, its graph is kept.
ALWAYS = "from nimify_tui.serving import opening\nopening.PAYS_S = -1.0"


class Watched:
    """A fleet of the one replica, which is read when a test says so: each time two seconds later than ``now``."""

    def __init__(self, server: Server, now: float) -> None:
        self._server, self._reader, self._fleet, self.now = server, Reader(), Fleet(), now
        service = Service(
            key=KEY.service, uid="u", family="nimify", revision=1, desired_replicas=1, generation=1,
            observed_generation=1, created_at=now, changed_at=now,
        )  # fmt: skip
        replica = Replica(key=KEY, state=ReplicaState.READY, since=now, revision=1)
        region = Region(name="here", kind=RegionKind.EMBEDDED, address="test", short="here")
        health = RegionHealth(state=RegionState.LIVE, since=now, last_contact_at=now)
        self._fleet.apply_many([RegionSeen(now, region, health), RegionListed(now, "here", (service,), (replica,))])

    def read(self) -> dict[str, CacheStat]:
        """Two seconds later: the panel after its page was read."""
        self.now += 2.0
        page = self._server.ask("GET", "/metrics", admin=True).body
        sample = self._reader.read(page, self.now, "metrics")
        assert sample is not None
        self._fleet.apply(Sampled(self.now, KEY, sample))
        return {each.tier: each for each in self._fleet.publish(self.now).caches}


def test_the_panel_says_what_requests_found_in_the_caches_of_a_server(tmp_path: Path) -> None:
    """Seen failing with misses left out of the lookups, and with a first scrape that only set the beginning: the one
    lookup of a graph was in no scrape after it.
    """
    arguments = ["--cache-bytes", "1000000", "--artifact-cache", str(tmp_path / "graphs")]
    asked = [{"inputs": [tensor("x", [1, 8], "FP32", [float(number)] * 8)]} for number in range(5)]
    with running(MLP, *arguments, code=ALWAYS) as first:  # its graph is kept
        assert first.ready["graph"].startswith("the model file")
    with running(MLP, *arguments, code=ALWAYS) as server:
        watched = Watched(server, server.metrics()["process_start_time_seconds"])
        before = watched.read()
        for document in asked * 4:
            assert server.infer(document).status == 200
        after = watched.read()
    answers, graphs = after["response L1"], after["model artifacts"]
    assert before["response L1"].hit_ratio.value is None, "nothing was looked up yet"
    assert answers.hit_ratio.value == pytest.approx(15 / 20), "the first of each five is a miss"
    assert answers.hit_ratio.source == "metrics"
    assert answers.size.value is not None
    assert answers.size.value > 0
    assert [each for each in answers.trend if each is not None] == [pytest.approx(15 / 20)]
    assert graphs.size.value is not None
    assert graphs.size.value > 0
    assert graphs.hit_ratio.value == 1.0, "the one lookup of its start"
