"""What all models of a process share: its event loop and its memory.

Heavy work on the loop is done one piece at a time, so that probes and small requests are answered in between.

Measured: 7 MiB of JSON take 0.2 s to decode. The bodies of 48 clients that all became whole at the same moment held
every probe up for as long as all of them took together.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

#: Less is decoded or encoded at once: that much JSON takes some 7 ms.
HEAVY_BYTES = 256 * 1024
#: What a probe on a fresh connection needs: accepted, read, handed to the application, answered.
_TURNS = 4


class Turns:
    """One for all models of a process."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Do a heavy piece of work in this block."""
        async with self._lock:
            try:
                yield
            finally:
                for _ in range(_TURNS):
                    await asyncio.sleep(0)


class Room:
    """Bytes of the bodies that are received, wait or are run. A queue bounded by number alone is none for large ones:
    256 bodies of 8 MiB are 2 GiB.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0

    def has(self, size: int) -> bool:
        """Whether there is room for so many bytes more; one body alone always has it."""
        return not self.held_bytes or self.held_bytes + size <= self.max_bytes
