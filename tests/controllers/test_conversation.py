"""What is carried between a terminal and the command that runs on it, in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from nimify_tui.controllers.live import _converse
from tests.terminals import Typing


class Slow:
    """A command on whose host a new size takes its time: until the test lets it through."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.trouble = ""
        self.told: list[str] = []
        self.asked, self.let, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def output(self) -> AsyncIterator[bytes]:
        yield b"$ "
        await self.over.wait()
        self.exit_code = 0

    async def type(self, data: bytes) -> None:
        self.told.append(data.decode())
        if data == b"exit\n":
            self.over.set()

    async def resize(self, columns: int, rows: int) -> None:
        self.asked.set()
        await self.let.wait()
        self.told.append(f"{columns}x{rows}")

    async def close(self) -> None:
        """Nothing is left of it."""


def test_what_is_typed_ahead_comes_after_the_size_of_the_terminal() -> None:
    """As on a slow host, where ``stty size`` typed ahead found no size. Seen failing without the wait for it."""
    asyncio.run(_typed_ahead())


async def _typed_ahead() -> None:
    command, terminal = Slow(), Typing(b"stty size\n", b"exit\n")
    ends = asyncio.ensure_future(_converse(command, terminal))
    await command.asked.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert command.told == []
    assert terminal.shown == b"$ ", "what it says is shown meanwhile"
    command.let.set()
    assert await ends == "ended with exit code 0"
    assert command.told == ["91x33", "stty size\n", "exit\n"]
