"""How often a region's server is asked again: one back-off for all its kinds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from nimify_tui.base.clock import Clock

Sleep = Callable[[float], Awaitable[None]]
#: client-go's back-off of a reflector (tools/cache/reflector.go): first wait, cap, calm that forgives, seconds.
FIRST_S, CAP_S, CALM_S = 0.8, 30.0, 120.0
#: Kinds that waited together do not come back in the same moment, seconds.
SPREAD_S = 0.2


class Pace:
    """Shared by all reflectors of a region, so that ten kinds that fail together are one failure."""

    def __init__(self, clock: Clock, rng: random.Random, sleep: Sleep = asyncio.sleep) -> None:
        self.sleep = sleep
        self._clock, self._rng = clock, rng
        self._failures = 0
        self._failed_at = -CALM_S
        self._not_before = 0.0

    async def wait(self) -> None:
        """Return when the server may be asked again."""
        waited = False
        while (left_s := self._not_before - self._clock.mono_s()) > 0:
            waited = True
            await self.sleep(left_s)
        if waited:
            await self.sleep(self._rng.random() * SPREAD_S)

    def failed(self, retry_after_s: float = 0.0) -> float:
        """Count a failure; returns the seconds to wait. ``retry_after_s`` is the server's own wish, a lower bound."""
        now_s = self._clock.mono_s()
        if self._not_before > now_s:  # who fails while all wait for the one before is no failure of its own
            self._not_before = max(self._not_before, now_s + retry_after_s)
            self._failed_at = self._not_before
            return self._not_before - now_s
        if now_s - self._failed_at >= CALM_S:
            self._failures = 0
        ceiling_s = FIRST_S * 2.0 ** min(self._failures, 16)
        wait_s = max(retry_after_s, min(CAP_S, ceiling_s * (1.0 + self._rng.random())))
        self._failures += 1
        self._not_before = now_s + wait_s
        self._failed_at = self._not_before
        return wait_s

    def clear(self) -> None:
        """The way is known to be free again (a probe was answered): nobody waits any longer."""
        self._not_before = 0.0
