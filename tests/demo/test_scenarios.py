"""A live demo is seen by others, and every scenario has its effect, in the supervisor's own words and in the
traffic, and heals. One demo for all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.backends.announced import announced
from nimify_tui.base.files import supervisor_socket
from nimify_tui.demo.orders import Tally
from nimify_tui.demo.scenarios import TABLE
from nimify_tui.demo.stage import Truth
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.embedded import ChangeEvent, ReplicaEvent, SecurityFound
from nimify_tui.domain.services import ReplicaState
from tests.demo.support import Demo, Events, running_demo
from tests.support import Home, private_home, run_cli, wait_for

pytestmark = pytest.mark.e2e
REGIONS = ("us-east-1", "us-west-2")


class Live:
    """A live demo and what its supervisors say."""

    def __init__(self, home: Home, demo: Demo, events: dict[str, Events], truth: Path) -> None:
        self.home = home
        self.demo = demo
        self.events = events
        self.truth = truth

    def since(self, truth: Truth, kind: type[Any]) -> list[Any]:
        """Events of that kind from the region since the onset."""
        seen = list(self.events[truth.region].seen)
        return [one for one in seen if isinstance(one, kind) and one.at >= truth.onset_at - 0.5]

    def newest_at(self, region: str) -> float:
        """When its supervisor said something last."""
        return max(float(one.at) for one in list(self.events[region].seen) if hasattr(one, "at"))

    def changes(self, truth: Truth, kind: ChangeKind) -> list[str]:
        """Texts of the service's changes of that kind since the onset."""
        found = [one.change for one in self.since(truth, ChangeEvent)]
        return [one.text for one in found if one.kind is kind and one.key and one.key.name == truth.service]

    def tally(self, truth: Truth) -> Tally:
        """The traffic's counts for the service."""
        return self.demo.tallies()[truth.service, truth.region]

    def rate_rps(self, truth: Truth, seconds: float = 3.0) -> float:
        """Requests per second to the service, counted over some seconds."""
        before, began_s = self.tally(truth).sent, time.monotonic()
        wait_for(lambda: time.monotonic() - began_s > seconds, seconds + 2)
        return (self.tally(truth).sent - before) / (time.monotonic() - began_s)


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with private_home() as home, pytest.MonkeyPatch.context() as patch:
        for name, value in home.env.items():
            patch.setenv(name, value)
        truth = home.root / "truth.jsonl"
        with running_demo(home, "--regions", str(len(REGIONS)), "--truth", str(truth)) as demo:
            demo.wait_live()
            sockets = {region: str(supervisor_socket(demo.places.state_dir(region))) for region in REGIONS}
            events = {region: Events(path) for region, path in sockets.items()}
            yield Live(home, demo, events, truth)
            for each in events.values():
                each.close()


def failures(tally: Tally) -> int:
    return sum(tally.failed.values())


def has_effect(live: Live, truth: Truth) -> Callable[[], object]:
    """What must be seen of a scenario."""
    match truth.scenario:
        case "killed-replica":
            return lambda: any("SIGKILL" in text for text in live.changes(truth, ChangeKind.CRASH))
        case "stopped-replica":
            return lambda: any("SIGSTOP" in text for text in live.changes(truth, ChangeKind.HANG))
        case "bad-rollout":
            return lambda: live.changes(truth, ChangeKind(truth.kind))
        case "attack":
            return lambda: [
                one for one in live.since(truth, SecurityFound) if one.event.client.startswith("127.66.")
            ]
        case "traffic-spike":
            return lambda: live.rate_rps(truth) > 10
        case "slow-model":
            return lambda: (live.tally(truth).max_ms or 0) > 60
        case _:
            return lambda: time.time() - live.newest_at(truth.region) > 3


def test_everything_answers_before_anything_happens(live: Live) -> None:
    wait_for(lambda: all(one.ok > 5 for one in live.demo.tallies().values()), 30, why="answers from every service")
    assert {key: one.failed for key, one in live.demo.tallies().items() if one.failed} == {}


def test_snapshot_beside_it_shows_its_regions(live: Live) -> None:
    done = run_cli("snapshot", "--settle", "6", env=live.home.env)
    told = json.loads(done.stdout)
    regions = {region["name"]: region for region in told["regions"]}
    assert [regions[name]["demo"] for name in REGIONS] == [True, True]
    assert "embed-e5" in {service["name"] for service in told["services"]}


def test_a_second_demo_says_that_one_runs(live: Live) -> None:
    done = run_cli("demo", "--headless", "--regions", "1", env=live.home.env)
    assert done.returncode == 1
    assert f"pid {live.demo.process.pid}" in done.stderr
    assert "`nimify-tui`" in done.stderr
    assert live.demo.process.poll() is None


def test_its_regions_are_announced_as_demo(live: Live) -> None:
    found = announced(live.home.runtime / "nimify-tui" / "regions")
    assert {(region.name, region.demo) for region in found} == {(name, True) for name in REGIONS}
    assert {region.pid for region in found} <= set(live.demo.pids())


@pytest.mark.parametrize("name", TABLE)
def test_scenario_has_its_effect_and_heals(live: Live, name: str) -> None:
    truth = live.demo.play(name, seed=2)
    assert abs(time.time() - truth.onset_at) < 5
    written = [msgspec.json.decode(line, type=Truth) for line in live.truth.read_bytes().splitlines()]
    assert written[-1] == truth
    assert truth.region in REGIONS
    assert bool(truth.service) == (name != "region-cut-off")
    wait_for(has_effect(live, truth), 20, why=f"the effect of {truth}", every_s=0.2)
    live.demo.heal()
    healed_at = time.time()
    if name == "region-cut-off":
        wait_for(lambda: live.newest_at(truth.region) > healed_at, 10, why="the supervisor's voice again")
        return
    wait_for(lambda: all_ready(live, truth), 40, why="every replica ready again")
    before = live.tally(truth)
    wait_for(lambda: live.tally(truth).ok > before.ok + 5, 10, why="answers again")


def all_ready(live: Live, truth: Truth) -> bool:
    """Whether the newest word about every replica of the service is READY."""
    newest: dict[str, ReplicaState | None] = {}
    for one in list(live.events[truth.region].seen):
        if isinstance(one, ReplicaEvent) and one.key.service.name == truth.service:
            newest[one.key.replica] = one.replica.state if one.replica else None
    states = [state for state in newest.values() if state is not None]
    return all(state is ReplicaState.READY for state in states)


@pytest.mark.parametrize("seed", [8, 4, 3, 48])
def test_bad_revisions_of_every_kind(live: Live, seed: int) -> None:
    """Slow ones raise the latency, forgetful ones fail requests, those that cannot be loaded leave the old ones."""
    truth = live.demo.play("bad-rollout", seed=seed)
    before = live.tally(truth)
    if "words" in truth.cause or "limit" in truth.cause:
        wait_for(lambda: failures(live.tally(truth)) > failures(before) + 3, 20, why="failed requests", every_s=0.2)
    elif "operator" in truth.cause:
        wait_for(lambda: live.changes(truth, ChangeKind.CRASH), 20, why="a crash")
        assert failures(live.tally(truth)) == failures(before)
    else:
        wait_for(lambda: live.tally(truth).max_ms > 25, 20, why="slow answers", every_s=0.2)
    live.demo.heal()
    wait_for(lambda: all_ready(live, truth), 40, why="every replica ready again")
