"""Logs that somebody looks at: each demand is followed while it is there, whatever kind of region it is of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeGuard, TypeVar

from nimify_tui.base.clock import Clock
from nimify_tui.domain.demands import Demand, LogDemand, LogSink, Looks
from nimify_tui.sources.answering import Sleep
from nimify_tui.sources.waking import Wake

#: How often lines are handed on, and how often it is looked at which containers there are; seconds.
FLUSH_S, LOOK_S = 0.2, 0.5


class Followed(Protocol):
    """One demand that is followed."""

    @property
    def tail(self) -> LogSink:
        """Where its lines go."""
        ...

    def flush(self) -> None:
        """Hand on what came."""
        ...

    def end(self) -> None:
        """Nobody looks any more."""
        ...


F = TypeVar("F", bound=Followed)


class Following(Generic[F]):
    """Keeps one F, made by ``make``, for every LogDemand of the regions that are ``ours``.

    ``look`` brings one in line with the containers that there are.
    """

    def __init__(
        self,
        looks: Looks,
        ours: Callable[[str], bool],
        make: Callable[[LogDemand, LogSink], F],
        look: Callable[[F], None],
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self._looks, self._ours, self._make, self._look = looks, ours, make, look
        self._clock, self._sleep = clock, sleep
        self.followed: dict[LogDemand, F] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        look_at_s, wake = 0.0, Wake(self._looks, self._wanted)
        try:
            while True:
                self._take_up()
                if self._clock.mono_s() >= look_at_s:
                    look_at_s = self._clock.mono_s() + LOOK_S
                    for one in self.followed.values():
                        self._look(one)
                for one in self.followed.values():
                    one.flush()
                await (self._sleep(FLUSH_S) if self.followed else wake.wait())
        finally:
            for one in self.followed.values():
                one.end()

    def _wanted(self, demand: Demand) -> TypeGuard[LogDemand]:
        return isinstance(demand, LogDemand) and self._ours(demand.key.region)

    def _take_up(self) -> None:
        wanted = {each for each in self._looks.demands() if self._wanted(each)}
        for demand, one in list(self.followed.items()):
            # One that was given back and wanted again between two looks has a new tail.
            if demand not in wanted or self._looks.log_tail(demand) is not one.tail:
                self.followed.pop(demand).end()
        for demand in wanted - self.followed.keys():
            made = self.followed[demand] = self._make(demand, self._looks.log_tail(demand))
            self._look(made)
