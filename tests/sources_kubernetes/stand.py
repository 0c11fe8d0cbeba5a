"""A region's source on a wire made by hand, under a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.regions import CertificateSeen, Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.updates import (
    RegionSeen,
    Update,
)
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.kubernetes.region import KubernetesSource
from nimify_tui.sources.kubernetes.table import KINDS
from tests.sources_kubernetes.server import Stream
from tests.sources_kubernetes.support import NOW, REGION, samples

T = TypeVar("T")
FACT = Region(name=REGION, kind=RegionKind.KUBERNETES, address="context k", short="use1")


class Wire:
    """An API server with the recorded objects; each path is served, refused or cut off as the test says."""

    address = "https://k"

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {kind.path(): [] for kind in KINDS}
        for kind, made in samples():
            self.lists[kind.path()].append(made)
        self.refuse: dict[str, NimifyError] = {}
        self.asked: list[str] = []
        #: Paths that are never answered.
        self.held: set[str] = set()
        self.headers: dict[str, str] = {}
        #: How long the login takes.
        self.login: Callable[[], Awaitable[None]] | None = None
        self._watches: dict[str, asyncio.Queue[bytes | None]] = {}
        self.closed = 0

    def say(self, plural: str, type_: str, made: Mapping[str, Any]) -> None:
        """An event of a watch."""
        path = next(kind.path() for kind in KINDS if kind.plural == plural)
        self._watches[path].put_nowait(json.dumps({"type": type_, "object": made}).encode() + b"\n")

    certificates: tuple[CertificateSeen, ...] = ()

    async def authorise(self) -> None:
        if self.login is not None:
            await self.login()

    async def close(self) -> None:
        self.closed += 1

    @contextlib.asynccontextmanager
    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, accept: str = "", read_timeout_s: float = 30.0,
        limit_bytes: int = 0,
    ) -> AsyncGenerator[Stream]:  # fmt: skip
        watch = "watch" in (query or {})
        self.asked.append(f"{path} watch" if watch else path)
        await asyncio.sleep(0)
        if path in self.held:
            await asyncio.Event().wait()
        if (error := self.refuse.get(path) or self.refuse.get("*")) is not None:
            raise error
        if watch:
            queue = self._watches[path] = asyncio.Queue()
            yield Stream(self._events(queue))
        else:
            body = json.dumps({"metadata": {"resourceVersion": "7"}, "items": self.lists.get(path)}).encode()
            yield Stream(self._once(body), self.headers)

    async def _once(self, body: bytes) -> AsyncIterator[bytes]:
        yield body

    async def _events(self, queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while (piece := await queue.get()) is not None:
            yield piece


class Stand:
    """A source on a wire, and a fleet that hears it. Time moves on when all others have had their turns."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.wire = Wire()
        self.updates: list[Update] = []
        self.fleet = Fleet()
        self.connect_errors: list[NimifyError] = []
        self._came = asyncio.Event()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = 0
        self._moves_time = True
        self.source = KubernetesSource(FACT, self._connect, self.clock, sleep=self.sleep)

    async def _connect(self) -> Wire:
        if self.connect_errors:
            raise self.connect_errors.pop(0)
        return self.wire

    def share(self, first: Stand) -> None:
        """One clock for both; the first one moves it."""
        self.clock, self._sleepers = first.clock, first._sleepers
        self._moves_time = False
        self.source = KubernetesSource(FACT, self._connect, self.clock, sleep=first.sleep)

    async def sleep(self, seconds: float) -> None:
        """Until that much time has passed by the clock of the test."""
        done = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self.clock.mono_s() + seconds, self._order, done))
        await done

    async def _pass_time(self) -> None:
        """When all have had their turns, time goes on to the next who sleeps."""
        while True:
            for _ in range(50):
                await asyncio.sleep(0)
            if self._sleepers:
                at_s, _, done = heapq.heappop(self._sleepers)
                self.clock.advance(max(0.0, at_s - self.clock.mono_s()))
                if not done.done():
                    done.set_result(None)

    def _sink(self, updates: Sequence[Update]) -> None:
        self.updates += updates
        self.fleet.apply_many(updates)
        self._came.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self.source.run(self._sink))
        time = asyncio.create_task(self._pass_time() if self._moves_time else asyncio.Event().wait())
        try:
            yield
        finally:
            failed = task.done()
            task.cancel()
            time.cancel()
            await asyncio.gather(task, time, return_exceptions=True)
            assert not failed, "the source must never end by itself"

    async def until(self, probe: Callable[[], T | None]) -> T:
        """Until ``probe`` answers."""
        async with asyncio.timeout(10):
            while not (answer := probe()):
                self._came.clear()
                await self._came.wait()
        return answer

    async def until_state(self, state: RegionState) -> RegionHealth:
        return await self.until(
            lambda: now if (now := self.health) is not None and now.state is state else None
        )

    @property
    def health(self) -> RegionHealth | None:
        return next((each.health for each in reversed(self.updates) if isinstance(each, RegionSeen)), None)

    def of(self, kind: type[T]) -> list[T]:
        return [each for each in self.updates if isinstance(each, kind)]
