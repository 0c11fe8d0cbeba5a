"""Objects that somebody looks at: each demand is answered once, whatever kind of region it is of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.demands import Looks, ObjectDemand
from nimify_tui.domain.objects import ObjectText
from nimify_tui.domain.updates import ObjectRead, Update

log = logging.getLogger(__name__)
#: How often it is looked for new demands, seconds.
LOOK_S = 0.2

Sink = Callable[[Sequence[Update]], None]
Sleep = Callable[[float], Awaitable[None]]


class Answering:
    """Lets ``read`` answer every ObjectDemand of the regions that are ``ours``; its NimifyErrors are answers, too."""

    def __init__(
        self,
        looks: Looks,
        ours: Callable[[str], bool],
        read: Callable[[ObjectDemand], Awaitable[ObjectText]],
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._looks, self._ours, self._read, self._clock, self._sleep = looks, ours, read, clock, sleep
        self._tasks: dict[ObjectDemand, asyncio.Task[None]] = {}

    async def run(self, sink: Sink) -> None:
        """Answer until cancelled."""
        try:
            while True:
                wanted = {
                    each
                    for each in self._looks.demands()
                    if isinstance(each, ObjectDemand) and self._ours(each.key.region)
                }
                for demand in self._tasks.keys() - wanted:
                    self._tasks.pop(demand).cancel()
                for demand in wanted - self._tasks.keys():
                    self._tasks[demand] = asyncio.create_task(self._answer(demand, sink), name="read an object")
                await self._sleep(LOOK_S)
        finally:
            for task in self._tasks.values():
                task.cancel()

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
