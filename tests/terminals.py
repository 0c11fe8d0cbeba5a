"""A terminal of a test, as a shell is given one."""

from __future__ import annotations

import asyncio


class Typing:
    """A terminal whose operator types what the test says."""

    def __init__(self, *typed: bytes) -> None:
        self.shown = bytearray()
        self.columns = 91
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()
        for each in typed:
            self._typed.put_nowait(each)

    def type(self, keys: bytes) -> None:
        """More keys; b"" leaves. On the loop that serves the shell."""
        self._typed.put_nowait(keys)

    def size(self) -> tuple[int, int]:
        return self.columns, 33

    async def keys(self) -> bytes:
        return await self._typed.get()

    async def write(self, data: bytes) -> None:
        self.shown += data
