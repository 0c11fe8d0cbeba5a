"""The engine room: one loop in one background thread that serves every region and owns the fleet.

The screens and the command line talk to it from their own thread: they read ``engine.frame`` and
hand in coroutines with :meth:`Engine.submit`. Everything here is wiring; what is known, decided or
done is in the rooms.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nimify_tui.advice.causes import explain
from nimify_tui.base.clock import Clock, SystemClock
from nimify_tui.base.errors import DeadlineError, InternalError, NimifyError
from nimify_tui.domain.demands import Demand, LogDemand
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.slos import Slo
from nimify_tui.domain.updates import (
    RegionGone,
    RegionListed,
    RegionSeen,
    ReplicaGone,
    ReplicaSeen,
    ServiceGone,
    ServiceSeen,
    Tick,
    Update,
)
from nimify_tui.fleet.frames import Frame
from nimify_tui.fleet.logtail import LogTail
from nimify_tui.fleet.store import Fleet

T = TypeVar("T")
Sink = Callable[[Sequence[Update]], None]
#: What runs for one region until it is cancelled.
RegionWork = Callable[[Region, Sink], Coroutine[Any, Any, None]]
#: What runs once beside the regions.
FleetWork = Callable[[Fleet, Sink], Coroutine[Any, Any, None]]
log = logging.getLogger(__name__)

#: Frames at most every so often, seconds; the numbers in them move once a second.
PUBLISH_S = 0.25
#: While little happens, what does is in a frame after so long, seconds: somebody may have just done it. A screen takes
#: eight frames a second at most, so that this is never what one waits for.
PROMPT_S = 0.05
#: "Little": so many updates of services and replicas in a second. Beyond that frames keep their pace: each one costs
#: the screen a drawing, and a key press waits for that.
PROMPT_UPDATES = 100
_EVENTS = frozenset({ServiceSeen, ServiceGone, ReplicaSeen, ReplicaGone})
#: For so long at most (seconds) the engine stands aside while a key is on its way to the screen: both need the same
#: interpreter, and a key that shares it takes twice as long.
ASIDE_S = 0.03
#: How often regions that others announce on this machine (a demo) are looked for, seconds.
DISCOVER_S = 1.0


@dataclass(frozen=True)
class Rooms:
    """What the engine runs, chosen by the wiring in :mod:`nimify_tui.app`.

    ``regions`` are the configured ones; ``discover`` tells which others are there now (called in the
    loop once a second, must be quick). ``region_work`` runs for each region, ``fleet_work`` once
    each; all get the sink for updates. ``listeners`` see every update after the fleet. ``before`` is
    called when the engine is made, ``after`` in its thread at its end (last-known rows). ``ahead``:
    kinds of regions that :meth:`Engine.start_ahead` starts, because they wait for others most of the time.
    """

    regions: tuple[Region, ...]
    discover: Callable[[], Sequence[Region]]
    region_work: RegionWork
    fleet_work: tuple[FleetWork, ...] = ()
    listeners: tuple[Sink, ...] = ()
    before: Callable[[Fleet], None] = field(default=lambda _fleet: None)
    after: Callable[[Fleet], None] = field(default=lambda _fleet: None)
    ahead: frozenset[RegionKind] = frozenset()


class Engine:
    """The background thread with its loop. Make it, :meth:`start` it, :meth:`stop` it."""

    def __init__(self, rooms: Rooms, slos: tuple[Slo, ...] = (), clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.fleet = Fleet(slos=slos, explain=explain)
        self._rooms = rooms
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._stop = asyncio.Event()
        self._all = asyncio.Event()
        self._works: dict[str, asyncio.Task[None]] = {}
        self._known: dict[str, Region] = {}
        self._dirty = asyncio.Event()
        #: Regions of which no row has been told yet, and whether one was just now: somebody waits for it.
        self._bare = {region.name for region in rooms.regions}
        self._urgent = asyncio.Event()
        #: Little has happened, and it is to be seen at once; so many updates came with such news since the last second.
        self._prompt = asyncio.Event()
        self._told = 0
        #: Until then a key goes first (monotonic seconds), and whether none is on its way. Written by the screen's
        #: thread, read by the engine's.
        self._aside_until_s, self._free = 0.0, threading.Event()
        now = self.clock.now()
        rooms.before(self.fleet)
        self.fleet.apply(Tick(now))
        for region in rooms.regions:
            self._announce(region)
        self.fleet.publish(now)

    # -- for other threads ---------------------------------------------------------------

    def start_ahead(self) -> None:
        """Start the regions of ``Rooms.ahead``, and nothing else before :meth:`start`; returns at once.

        What a far server takes to answer goes by while the screen is made.
        """
        if any(region.kind in self._rooms.ahead for region in self._rooms.regions):
            self._thread.start()

    def start(self) -> None:
        """Start everything; returns at once."""
        if self._thread.ident is None:
            self._all.set()
            self._thread.start()
            return
        with contextlib.suppress(RuntimeError):  # it has ended meanwhile
            self._loop.call_soon_threadsafe(self._all.set)

    async def started(self) -> None:
        """Wait, on the loop, until everything may start."""
        await self._all.wait()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Cancel everything and wait for the thread. Raises DeadlineError when it does not end."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise DeadlineError(f"the engine did not end within {timeout_s:g} s")

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run ``work`` on the engine's loop (from its start on); the future carries its result or error.

        Raises InternalError when the engine has ended.
        """
        if self._loop.is_closed():
            work.close()
            raise InternalError("the engine has ended")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stand_aside(self) -> None:
        """A key is on its way to the screen: updates wait until :meth:`go_on`, and for ASIDE_S at most."""
        self._free.clear()
        self._aside_until_s = time.monotonic() + ASIDE_S

    def go_on(self) -> None:
        """It is there."""
        self._aside_until_s = 0.0
        self._free.set()

    @property
    def frame(self) -> Frame:
        """The newest picture of the fleet."""
        return self.fleet.frame

    def demand(self, demand: Demand) -> None:
        """Look this up from now on."""
        self.fleet.demand(demand)
        self._wake()

    def release(self, demand: Demand) -> None:
        """No longer needed."""
        self.fleet.release(demand)

    def log_tail(self, demand: LogDemand) -> LogTail:
        """The lines of a demanded log."""
        return self.fleet.log_tail(demand)

    def region(self, name: str) -> Region | None:
        """A region that is configured or announced."""
        return self._known.get(name)

    def wait(self, until: Callable[[Frame], bool], timeout_s: float) -> bool:
        """Block the calling thread until a frame satisfies ``until``; False when time ran out."""

        async def poll() -> None:
            while not until(self.fleet.frame):  # noqa: ASYNC110  frames come by the clock, nobody announces them
                await asyncio.sleep(0.05)

        async def bounded() -> bool:
            try:
                async with asyncio.timeout(timeout_s):
                    await poll()
            except TimeoutError:
                return False
            return True

        return self.submit(bounded()).result()

    # -- on the loop ---------------------------------------------------------------------

    def _wake(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._dirty.set)

    def _give_way(self) -> None:
        # The loop's other work may wait as long: it is less than a frame.
        while (left_s := self._aside_until_s - time.monotonic()) > 0.0:
            self._free.wait(left_s)

    def _sink(self, updates: Sequence[Update]) -> None:
        self._give_way()
        self.fleet.apply_many(updates)
        for listener in self._rooms.listeners:
            listener(updates)
        if any(type(each) in _EVENTS for each in updates):
            self._told += len(updates)
            (self._prompt.set if self._told <= PROMPT_UPDATES else self._prompt.clear)()
        if self._bare and (told := {name for each in updates if (name := _row_of(each)) in self._bare}):
            self._bare -= told
            self._urgent.set()
            self._prompt.set()
        self._dirty.set()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._run())
        finally:
            with contextlib.suppress(RuntimeError):
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _run(self) -> None:
        tasks = [asyncio.create_task(self._publish(), name="publish")]
        for region in self._rooms.regions:
            if region.kind in self._rooms.ahead:
                self._begin(region)
        tasks.append(asyncio.create_task(self._begin_all(tasks), name="begin"))
        await self._stop.wait()
        tasks += self._works.values()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._rooms.after(self.fleet)

    async def _begin_all(self, tasks: list[asyncio.Task[None]]) -> None:
        await self._all.wait()
        tasks.append(asyncio.create_task(self._discover(), name="discover"))
        for region in self._rooms.regions:
            if region.name not in self._works:
                self._begin(region)
        for number, work in enumerate(self._rooms.fleet_work):
            tasks.append(asyncio.create_task(self._guard(f"work {number}", work(self.fleet, self._sink))))

    async def _guard(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A part that breaks says so and takes nothing else with it."""
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception:  # whatever it is: it is logged whole, and the other parts go on
            log.exception("%s of the engine ended by an error of its own", name)

    async def _region(self, region: Region) -> None:
        try:
            await self._rooms.region_work(region, self._sink)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("the source of region %s ended", region.name)
            now = self.clock.now()
            message = error.message if isinstance(error, NimifyError) else f"an error of our own: {error!r}"
            remedy = error.remedy if isinstance(error, NimifyError) else "restart the console and report this"
            health = RegionHealth(state=RegionState.DOWN, since=now, cause=message, remedy=remedy)
            self._sink([RegionSeen(now, region, health)])

    async def _publish(self) -> None:
        """Frames, as :meth:`_pause` paces them; time enters the fleet here, once a second."""
        ticked_s = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._dirty.wait()
            self._dirty.clear()
            self._give_way()
            now, mono_s = self.clock.now(), self.clock.mono_s()
            if mono_s - ticked_s >= 1.0:
                ticked_s, self._told = mono_s, 0
                self.fleet.apply(Tick(now))
            try:
                self.fleet.publish(now)
            except Exception:  # whatever it is: the frame before stays, the next try is a moment away
                log.exception("a frame could not be made")
            await self._pause()

    async def _pause(self) -> None:
        """From one frame to the next: PUBLISH_S; PROMPT_S where little has happened; nothing for first rows."""
        if not await _set_within(self._urgent, PROMPT_S):
            await _set_within(self._prompt, PUBLISH_S - PROMPT_S)
        self._urgent.clear()
        self._prompt.clear()

    async def _discover(self) -> None:
        fixed = {region.name for region in self._rooms.regions}
        while True:
            found = {region.name: region for region in self._rooms.discover() if region.name not in fixed}
            for name, region in found.items():
                if self._known.get(name) != region:
                    await self._end(name)
                    self._announce(region)
                    self._begin(region)
            for name in [name for name in self._works if name not in fixed and name not in found]:
                await self._end(name)
                self._known.pop(name, None)
                self._sink([RegionGone(self.clock.now(), name)])
            await asyncio.sleep(DISCOVER_S)

    def _announce(self, region: Region) -> None:
        now = self.clock.now()
        self._known[region.name] = region
        health = RegionHealth(
            state=RegionState.CONNECTING, since=now, cause=f"connecting to {region.address}"
        )
        seen = RegionSeen(now, region, health)
        self.fleet.apply(seen)
        for listener in self._rooms.listeners:
            listener([seen])

    def _begin(self, region: Region) -> None:
        self._works[region.name] = asyncio.create_task(self._region(region), name=f"region {region.name}")

    async def _end(self, name: str) -> None:
        task = self._works.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _row_of(update: Update) -> str:
    """The region of which an update brings rows, "" for other updates."""
    match update:
        case ServiceSeen():
            return update.service.key.region
        case RegionListed():
            return update.region
        case _:
            return ""
