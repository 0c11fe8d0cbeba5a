"""What is told of a cluster that changes while it is told: each workload once, and no name lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nimify_tui.base.clock import ManualClock
from nimify_tui.domain.updates import ServiceGone, ServiceSeen, Update
from nimify_tui.sources.kubernetes import telling, workloads
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.kinds import DEPLOYMENT, STATEFUL_SET, Kind
from nimify_tui.sources.kubernetes.telling import Telling
from tests.sources_kubernetes.support import REGION, read


class InOrder(set[str]):
    """A set that is gone through in the order of its names, or the other way round."""

    backwards = False

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__(), reverse=self.backwards))


class World:
    """A cluster, what is told of it, and how often each of its workloads was looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cluster = Cluster()
        self.cluster.dirty = self.dirty = InOrder()
        self.telling = Telling(self.cluster, REGION)
        self.rows: dict[str, str] = {}
        self.looks = 0
        monkeypatch.setattr(telling, "SLICE", 1)
        look = workloads.service_of

        def counted(*args: Any) -> Any:
            self.looks += 1
            return look(*args)

        monkeypatch.setattr(telling, "service_of", counted)

    def put(self, kind: Kind, name: str, uid: str, image: str = "a") -> None:
        """A workload is there, or is another one than before."""
        spec = {"replicas": 1, "template": {"spec": {"containers": [{"name": "main", "image": image}]}}}
        made = {"metadata": {"name": name, "namespace": "ai", "uid": uid}, "spec": spec}
        self.cluster.apply(kind, (), [read(kind, made)])

    def drop(self, kind: Kind, uid: str) -> None:
        """It is no more."""
        self.cluster.apply(kind, [self.cluster.workloads[uid]], ())

    def told(self, meanwhile: Callable[[int], None] = lambda _: None) -> list[Update]:
        """Tell once, with ``meanwhile(turn)`` whenever others may run; the rows as a screen would have them then."""

        async def go() -> list[Update]:
            async def meddle() -> None:
                for turn in range(200):
                    meanwhile(turn)
                    await asyncio.sleep(0)

            work = asyncio.create_task(meddle())
            found = await self.telling.news(ManualClock())
            work.cancel()
            return found

        found = asyncio.run(go())
        for each in found:
            if isinstance(each, ServiceGone):
                self.rows.pop(each.key.name, None)
            elif isinstance(each, ServiceSeen):
                self.rows[each.service.key.name] = each.service.uid
        return found


def test_what_changes_while_it_is_told_is_looked_at_once_and_told_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen failing with ``while dirty``: the ten were looked at 200 times, each time another one changed."""
    world = World(monkeypatch)
    for number in range(10):
        world.put(DEPLOYMENT, f"d{number}", f"u{number}")
    world.told()
    assert world.looks == 10
    for number in range(10):
        world.put(DEPLOYMENT, f"d{number}", f"u{number}", image="b")
    world.looks = 0
    world.told(lambda turn: world.put(DEPLOYMENT, f"d{turn % 10}", f"u{turn % 10}", image=f"c{turn}"))
    assert world.looks == 10
    assert world.dirty
    last = world.told()
    told = {each.service.key.name: each.service.labels["image"] for each in last if isinstance(each, ServiceSeen)}
    assert told
    assert set(told.values()) <= {f"c{turn}" for turn in range(200)}
    assert world.told() == [], "nothing is left"


@pytest.mark.parametrize("backwards", [False, True])
def test_a_name_that_gets_another_owner_while_it_is_told_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, backwards: bool
) -> None:
    """Seen failing without ``Cluster.renamed``: the StatefulSet took over the row, the Deployment's end removed it."""
    world = World(monkeypatch)
    world.dirty.backwards = backwards
    world.put(DEPLOYMENT, "llm", "a")
    world.put(STATEFUL_SET, "llm", "b")
    world.put(DEPLOYMENT, "other", "c")
    world.told()
    assert world.rows == {"llm": "a", "llm.statefulset": "b", "other": "c"}
    for kind, name, uid in ((DEPLOYMENT, "llm", "a"), (STATEFUL_SET, "llm", "b"), (DEPLOYMENT, "other", "c")):
        world.put(kind, name, uid, image="b")
    world.told(lambda turn: world.drop(DEPLOYMENT, "a") if turn == 0 else None)
    world.told()
    assert world.rows == {"llm": "b", "other": "c"}


def test_a_name_that_is_taken_while_it_is_told_is_told_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.put(STATEFUL_SET, "llm", "b")
    world.put(DEPLOYMENT, "other", "c")
    world.told()
    world.put(STATEFUL_SET, "llm", "b", image="b")
    world.put(DEPLOYMENT, "other", "c", image="b")
    world.told(lambda turn: world.put(DEPLOYMENT, "llm", "a") if turn == 0 else None)
    world.told()
    assert world.rows == {"llm": "a", "llm.statefulset": "b", "other": "c"}


def test_how_long_it_took_leaves_out_what_others_did_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause after a telling is a multiple of it: an other region's work must not make it longer."""
    world, clock = World(monkeypatch), ManualClock()
    for number in range(5):
        world.put(DEPLOYMENT, f"d{number}", f"u{number}")

    async def go() -> None:
        async def others() -> None:
            while True:
                clock.advance(1.0)
                await asyncio.sleep(0)

        work = asyncio.create_task(others())
        await world.telling.news(clock)
        work.cancel()

    asyncio.run(go())
    assert world.telling.took_s == 0.0


def test_what_an_early_end_left_is_told_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen failing where a telling that was cancelled forgot whom it had not looked at."""
    world = World(monkeypatch)
    for number in range(5):
        world.put(DEPLOYMENT, f"d{number}", f"u{number}")

    async def cut() -> None:
        task = asyncio.create_task(world.telling.news(ManualClock()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cut())
    looked_at = world.looks
    assert 0 < looked_at < 5
    world.told()
    assert world.looks == 5
