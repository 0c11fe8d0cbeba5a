"""A region's Redis, asked itself: its hits, misses, evictions and memory, and how long it takes to answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from nimify_tui.backends.redis.server import Look, RedisServer
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.retry import Backoff
from nimify_tui.domain.caches import CacheKey, CacheTold
from nimify_tui.domain.updates import CacheFailed, CacheSeen, Update

log = logging.getLogger(__name__)
#: It is asked so often; one in trouble after this at first, and at last after that, seconds.
EVERY_S, TROUBLE_S, TROUBLE_CAP_S = 5.0, 2.0, 60.0
#: Its uptime has whole seconds, and our looks take their time: beginnings that are nearer are the same, seconds.
_SAME_S = 5.0


class RedisWatch:
    """One server of one region."""

    def __init__(self, region: str, server: RedisServer, clock: Clock) -> None:
        self._key = CacheKey(region, "l2", server.place.who)
        self._server, self._clock = server, clock
        self._began = 0.0

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Ask until cancelled."""
        backoff = Backoff(TROUBLE_S, TROUBLE_CAP_S)
        try:
            while True:
                wait_s = EVERY_S
                try:
                    look = await self._server.look()
                    sink([CacheSeen(self._clock.now(), self.told(look))])
                    backoff.reset()
                except Exception as error:  # noqa: BLE001 - sentence() logs it whole; it is said, and asked again
                    sink([CacheFailed(self._clock.now(), self._key, sentence(error, self._key.name))])
                    wait_s = max(EVERY_S, backoff.next_s())
                await asyncio.sleep(wait_s)
        finally:
            self._server.close()

    def told(self, look: Look) -> CacheTold:
        """What a look says."""
        began = self._clock.now() - look.uptime_s if look.uptime_s is not None else 0.0
        if abs(began - self._began) > _SAME_S:
            self._began = began
        return CacheTold(
            key=self._key, source=self._key.name, every_s=EVERY_S, began=self._began, hits=look.hits,
            misses=look.misses, evictions=look.evictions, size_bytes=look.used_bytes, limit_bytes=look.limit_bytes,
            latency_s=look.ping_s,
        )  # fmt: skip


def sentence(error: Exception, who: str) -> str:
    """One sentence with what helps; what nobody thought of is logged whole, and ends no watching."""
    if not isinstance(error, NimifyError):
        log.error("what %s answers could not be understood", who, exc_info=error)
        return f"what {who} answers could not be understood: look at the log"
    return f"{error.message}: {error.remedy}" if error.remedy else error.message
