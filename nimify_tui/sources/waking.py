"""A source that answers demands sleeps while there is none: it is woken by the demand, not by a clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from nimify_tui.domain.demands import Demand, Demands


class Wake:
    """Wakes the loop it is made in when a demand that is ``wanted`` comes up or ends, in whatever thread.

    Made before the demands are looked at for the first time, so that none comes up unheard in between.
    """

    def __init__(self, looks: Demands, wanted: Callable[[Demand], bool]) -> None:
        self._loop, self._event, self._wanted = asyncio.get_running_loop(), asyncio.Event(), wanted
        looks.on_demand(self._hear)

    def _hear(self, demand: Demand, _up: bool) -> None:
        if self._wanted(demand):
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Return when something came up or ended since the last call returned."""
        await self._event.wait()
        self._event.clear()
