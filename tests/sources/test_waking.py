"""Sources that answer demands: asleep while nobody looks, awake at once when somebody does, from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence

import pytest

from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.demands import Demand, Demands, DetailDemand, LogDemand, LogSink, ObjectDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.objects import ObjectText
from nimify_tui.domain.updates import ObjectRead, Update
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources import waking
from nimify_tui.sources.answering import Answering
from nimify_tui.sources.following import Following

LOGS, OBJECT = LogDemand(ServiceKey("here", "a")), ObjectDemand(ServiceKey("here", "a"))


class Counted(Fleet):
    """A fleet that counts how often it is asked what is looked at: once each turn of a source."""

    turns = 0

    def demands(self) -> frozenset[Demand]:
        self.turns += 1
        return super().demands()


class One:
    """A demand that is followed, and does nothing."""

    def __init__(self, tail: LogSink, flushed: asyncio.Event) -> None:
        self.tail, self.ended, self._flushed = tail, asyncio.Event(), flushed

    def flush(self) -> None:
        self._flushed.set()

    def end(self) -> None:
        self.ended.set()


def answering(fleet: Fleet, answered: Callable[[Sequence[Update]], None]) -> asyncio.Task[None]:
    async def read(_: ObjectDemand) -> ObjectText:
        return ObjectText(at=1.0, name="a", yaml=("kind: Deployment",))

    return asyncio.create_task(Answering(fleet, lambda _: True, read, SystemClock()).run(answered))


async def settled(fleet: Counted) -> int:
    """Let all that is ready run; how often the fleet was asked in the end."""
    for _ in range(20):
        await asyncio.to_thread(lambda: None)
    return fleet.turns


async def once_awake(fleet: Counted) -> None:
    found: asyncio.Queue[Sequence[Update]] = asyncio.Queue()
    task = answering(fleet, found.put_nowait)
    assert await settled(fleet) == 1, "asleep after the first look"
    fleet.demand(DetailDemand("a"))
    assert await settled(fleet) == 1, "what is none of its business does not wake it"
    other = threading.Thread(target=fleet.demand, args=(OBJECT,))
    other.start()
    async with asyncio.timeout(10):
        [update] = await found.get()
    other.join()
    assert isinstance(update, ObjectRead)
    assert (update.demand, update.answer.yaml) == (OBJECT, ("kind: Deployment",))
    fleet.release(OBJECT)
    assert await settled(fleet) == 3, "a turn for what came up, a turn for what ended"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_source_sleeps_until_somebody_looks() -> None:
    asyncio.run(once_awake(Counted()))


def test_sabotage_a_demand_that_nobody_is_told_of_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What wakes it is the fleet's word, no clock: without the word it would sleep for ever."""
    monkeypatch.setattr(waking.Wake, "_hear", lambda *_: None)

    async def go() -> None:
        fleet = Counted()
        found: list[Sequence[Update]] = []
        task = answering(fleet, found.append)
        await settled(fleet)
        fleet.demand(OBJECT)
        assert await settled(fleet) == 1
        assert not found
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())


def test_logs_are_looked_after_often_while_they_are_read_and_never_otherwise() -> None:
    async def go() -> None:
        fleet, flushed = Counted(), asyncio.Event()
        sleeps: list[float] = []

        async def sleep(seconds: float) -> None:
            sleeps.append(seconds)
            await asyncio.to_thread(lambda: None)

        made: list[One] = []

        def make(_: LogDemand, tail: LogSink) -> One:
            made.append(One(tail, flushed))
            return made[-1]

        work = Following(fleet, lambda _: True, make, lambda _: None, SystemClock(), sleep)
        task = asyncio.create_task(work.run())
        assert await settled(fleet) == 1
        assert not sleeps
        fleet.demand(LOGS)
        async with asyncio.timeout(10):
            await flushed.wait()
        await settled(fleet)
        assert sleeps
        fleet.release(LOGS)
        async with asyncio.timeout(10):
            await made[0].ended.wait()
        await settled(fleet)
        turns, slept = fleet.turns, len(sleeps)
        assert await settled(fleet) == turns
        assert len(sleeps) == slept, "asleep again"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())


def test_a_loop_that_has_ended_is_no_trouble_to_who_looks() -> None:
    class Heard(Demands):
        """Keeps who listens."""

        def __init__(self) -> None:
            self.listeners: list[Callable[[Demand, bool], None]] = []

        def demands(self) -> Collection[Demand]:
            return ()

        def on_demand(self, listener: Callable[[Demand, bool], None]) -> None:
            self.listeners.append(listener)

    heard = Heard()

    async def listen() -> None:
        waking.Wake(heard, lambda _: True)

    asyncio.run(listen())
    [listener] = heard.listeners
    listener(LOGS, True)
