"""An embedded region as a source: live, lost by death and by silence, and back again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from nimify_tui.backends.local import LocalBackend
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.regions import Region as RegionFact
from nimify_tui.domain.regions import RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import ReplicaState
from nimify_tui.domain.updates import (
    Changed,
    RegionListed,
    RegionSeen,
    ReplicaGone,
    ReplicaSeen,
    SecuritySeen,
    ServiceGone,
    ServiceSeen,
    Update,
)
from nimify_tui.sources.local.region import EmbeddedSource
from tests.supervisor.support import Region
from tests.support import Home

T = TypeVar("T")
FACT = RegionFact(name="test", kind=RegionKind.EMBEDDED, address="unix:test", short="test")


class Sink:
    """Keeps what came, and waits for what is to come."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self._came = asyncio.Event()

    def __call__(self, updates: Sequence[Update]) -> None:
        self.updates += updates
        self._came.set()

    async def wait(self, probe: Callable[[], T | None], deadline_s: float = 10.0) -> T:
        """Until ``probe`` answers."""
        async with asyncio.timeout(deadline_s):
            while not (answer := probe()):
                self._came.clear()
                await self._came.wait()
            return answer

    @property
    def health(self) -> RegionHealth:
        """The newest."""
        return [update.health for update in self.updates if isinstance(update, RegionSeen)][-1]

    def of(self, kind: type[T]) -> list[T]:
        """All updates of a kind."""
        return [update for update in self.updates if isinstance(update, kind)]

    def lost_and_back(self) -> list[Change]:
        """Changes about the region itself."""
        return [update.change for update in self.of(Changed) if update.change.kind is ChangeKind.REGION]

    async def state(self, state: RegionState, deadline_s: float = 10.0) -> RegionHealth:
        """Until the region is seen so."""
        return await self.wait(lambda: self.health if self.updates and self.health.state is state else None, deadline_s)


@contextlib.asynccontextmanager
async def watching(region: Region) -> AsyncIterator[Sink]:
    """A source that runs."""
    sink = Sink()
    backend = LocalBackend(region.socket, lambda _permit, _plan: None)
    task = asyncio.create_task(EmbeddedSource(FACT, backend, SystemClock()).run(sink))
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_everything_that_happens_becomes_an_update(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:

        async def run() -> None:
            async with watching(region) as sink:
                assert sink.updates == [] or sink.health.state is RegionState.CONNECTING
                health = await sink.state(RegionState.LIVE)
                assert health.keeper.startswith(f"pid {region.pid}, started by ")
                reply = await asyncio.to_thread(wire.apply, spec=region.spec(), replicas=1)
                assert reply.ok
                await sink.wait(lambda: [u for u in sink.of(ReplicaSeen) if u.replica.state is ReplicaState.READY])
                pid = sink.of(ReplicaSeen)[-1].replica.pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                await sink.wait(lambda: sink.of(SecuritySeen))
                assert sink.of(ServiceSeen)[-1].service.key.name == "demo"
                await asyncio.to_thread(wire.until, lambda: any(each.run == 2 for each in wire.replicas.values()))
                await asyncio.to_thread(wire.settled, await asyncio.to_thread(wire.apply, replicas=0))
                await sink.wait(lambda: sink.of(ReplicaGone))
                assert not sink.of(ServiceGone)
                beats = len(sink.of(RegionSeen))
                await sink.wait(lambda: len(sink.of(RegionSeen)) > beats + 1, 10)
                assert sink.health.last_contact_at is not None

        asyncio.run(run())


def test_a_killed_supervisor_is_no_contact_and_the_next_one_is_found(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=1))

        async def run() -> None:
            async with watching(region) as sink:
                await sink.state(RegionState.LIVE)
                region.kill()
                down = await sink.state(RegionState.DOWN, 8)
                assert down.cause.startswith("no contact from this host (")
                assert down.next_try_at is not None
                assert down.last_contact_at is not None
                [lost] = sink.lost_and_back()
                assert lost.text.startswith("no contact with test (")
                assert lost.key is None
                again = len(sink.of(RegionListed))
                await asyncio.to_thread(region.start)
                await sink.state(RegionState.LIVE, 20)
                assert len(sink.of(RegionListed)) == again + 1
                assert [replica.state for replica in sink.of(RegionListed)[-1].replicas] == [ReplicaState.READY]
                assert "contact with test is back after" in sink.lost_and_back()[-1].text

        asyncio.run(run())


def test_silence_is_no_contact_although_the_connection_stays_open(home: Home) -> None:
    with Region(home) as region:

        async def run() -> None:
            async with watching(region) as sink:
                await sink.state(RegionState.LIVE)
                os.kill(region.pid, signal.SIGSTOP)
                try:
                    down = await sink.state(RegionState.DOWN, 15)
                    assert down.cause == "no contact from this host (the supervisor said nothing for 3 s)"
                    # It is tried again, and each try is a deadline, not an error and not a success.
                    first_try = down.next_try_at
                    await sink.wait(lambda: sink.health.next_try_at != first_try, 15)
                    assert sink.health.state is RegionState.DOWN
                    assert sink.health.since == down.since
                finally:
                    os.kill(region.pid, signal.SIGCONT)
                await sink.state(RegionState.LIVE, 20)
                assert [change.text.partition(" with")[0] for change in sink.lost_and_back()] == [
                    "no contact", "contact",
                ]  # fmt: skip

        asyncio.run(run())


def test_a_region_that_was_never_there_is_down_without_a_change(home: Home) -> None:
    region = Region(home)

    async def run() -> None:
        async with watching(region) as sink:
            down = await sink.state(RegionState.DOWN)
            assert down.cause == "no contact from this host (no supervisor runs)"
            assert down.last_contact_at is None
            assert sink.lost_and_back() == []

    asyncio.run(run())
