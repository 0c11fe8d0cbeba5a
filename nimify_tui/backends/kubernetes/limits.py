"""A token bucket: so many actions at once, so many a second afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from nimify_tui.base.clock import Clock

#: Actions a second and at once in one region (client-go's defaults are 5 and 10 for a single controller).
ACTIONS_PER_S = 20.0
ACTIONS_BURST = 40


class TokenBucket:
    """For one event loop; those who wait are served in order of their coming.

    ``sleep`` is asyncio's, or a test's.
    """

    def __init__(
        self,
        clock: Clock,
        rate_per_s: float = ACTIONS_PER_S,
        burst: int = ACTIONS_BURST,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._sleep = sleep
        self._tokens = float(burst)
        self._at = clock.mono_s()

    async def take(self) -> None:
        """One token; waits for it when there is none. A cancelled wait does not give its token back."""
        now = self._clock.mono_s()
        self._tokens = min(float(self._burst), self._tokens + (now - self._at) * self._rate_per_s)
        self._at = now
        # Taken at once, also below zero: the debt is the queue, and its order is the order of coming.
        self._tokens -= 1.0
        if self._tokens < 0.0:
            await self._sleep(-self._tokens / self._rate_per_s)
