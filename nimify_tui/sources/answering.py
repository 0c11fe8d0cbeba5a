"""Demands are answered while somebody looks: objects once each, whatever kind of region they are of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeGuard, TypeVar

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.demands import Demand, Looks, ObjectDemand
from nimify_tui.domain.objects import ObjectText
from nimify_tui.domain.updates import ObjectRead, Update
from nimify_tui.sources.waking import Wake

log = logging.getLogger(__name__)

Sink = Callable[[Sequence[Update]], None]
Sleep = Callable[[float], Awaitable[None]]
D = TypeVar("D", bound=Demand)


class Lookout(Generic[D]):
    """Runs one ``answer`` for each demand that is ``wanted``, while somebody looks; who looks away cancels it."""

    def __init__(
        self,
        looks: Looks,
        wanted: Callable[[Demand], TypeGuard[D]],
        answer: Callable[[D, Sink], Coroutine[Any, Any, None]],
    ) -> None:
        self._looks, self._wanted, self._answer = looks, wanted, answer
        self._tasks: dict[D, asyncio.Task[None]] = {}

    async def run(self, sink: Sink) -> None:
        """Answer until cancelled."""
        wake = Wake(self._looks, self._wanted)
        try:
            while True:
                wanted = {each for each in self._looks.demands() if self._wanted(each)}
                for demand in self._tasks.keys() - wanted:
                    self._tasks.pop(demand).cancel()
                for demand in wanted - self._tasks.keys():
                    self._tasks[demand] = asyncio.create_task(self._answer(demand, sink), name="answer a demand")
                await wake.wait()
        finally:
            for task in self._tasks.values():
                task.cancel()


class Answering:
    """Lets ``read`` answer every ObjectDemand of the regions that are ``ours``; its NimifyErrors are answers, too."""

    def __init__(
        self,
        looks: Looks,
        ours: Callable[[str], bool],
        read: Callable[[ObjectDemand], Awaitable[ObjectText]],
        clock: Clock,
    ) -> None:
        self._ours, self._read, self._clock = ours, read, clock
        self._lookout = Lookout(looks, self._is_ours, self._answer)

    async def run(self, sink: Sink) -> None:
        """Answer until cancelled."""
        await self._lookout.run(sink)

    def _is_ours(self, demand: Demand) -> TypeGuard[ObjectDemand]:
        return isinstance(demand, ObjectDemand) and self._ours(demand.key.region)

    async def _answer(self, demand: ObjectDemand, sink: Sink) -> None:
        name = demand.replica or demand.key.name
        try:
            answer = await self._read(demand)
        except NimifyError as error:
            answer = ObjectText(at=self._clock.now(), name=name, error=error.message, remedy=error.remedy)
        except Exception as error:  # whatever it is: it is logged whole, and the reader is told
            log.exception("%s could not be read, by an error of our own", name)
            words = f"an error of our own: {error!r}"
            answer = ObjectText(at=self._clock.now(), name=name, error=words, remedy="please report this")
        sink([ObjectRead(answer.at, demand, answer)])
