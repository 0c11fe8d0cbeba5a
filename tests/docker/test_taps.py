"""Streams that are looked into now and then: lines whole, bounded, and let in only when they are wanted. Takes 1 s."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import BadAnswer, BrokenOff
from nimify_tui.backends.docker.place import EnginePlace, Way
from nimify_tui.backends.docker.taps import Tap, let_in

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DEADLINE_S = 10.0


@dataclasses.dataclass
class Both:
    """The two ends of one stream."""

    tap: Tap
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        """The engine's end writes a chunk."""
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    async def heard(self, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
        """Let in and take, over and over, until it is enough."""
        found: list[bytes] = []
        async with asyncio.timeout(DEADLINE_S):
            while not enough(found):
                await let_in([self.tap])
                found += self.tap.take()
        return found


@contextlib.asynccontextmanager
async def tapped(path: Path) -> AsyncIterator[Both]:
    """A tap on something that answers every request with an open stream."""
    ends: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        await ends.put(writer)

    server = await asyncio.start_unix_server(serve, path)
    connection = Connection(EnginePlace(Way.SOCKET, str(path), path=str(path)))
    await connection.open()
    try:
        tap = await connection.tap("/stats", {})
        writer = await ends.get()
        yield Both(tap, writer)
        tap.close()
        writer.close()
    finally:
        await connection.close()
        server.close()


def on_a_tap(path: Path, work: Callable[[Both], Awaitable[None]]) -> None:
    """Run ``work`` on one."""

    async def run() -> None:
        async with tapped(path) as both:
            await work(both)

    asyncio.run(run())


def test_lines_are_whole_however_they_come_in(tmp_path: Path) -> None:
    async def work(both: Both) -> None:
        await both.say(b'{"a":1}\n{"b"')
        assert await both.heard(bool) == [b'{"a":1}']
        await both.say(b":2}\r\n\n")
        assert await both.heard(bool) == [b'{"b":2}\r']
        both.writer.write(b"0\r\n\r\n")
        assert await both.heard(lambda _: both.tap.ended) == []

    on_a_tap(tmp_path / "s", work)


def test_nothing_comes_in_while_nobody_wants_it(tmp_path: Path) -> None:
    """Sabotage in the same test: the same turns of the loop bring it once it is let in."""

    async def turns() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def work(both: Both) -> None:
        both.tap.take()
        await both.say(b"late\n")
        await turns()
        assert both.tap.take() == []
        both.tap.open()
        await turns()
        assert both.tap.take() == [b"late"]

    on_a_tap(tmp_path / "s", work)


def test_an_endless_line_is_an_error(tmp_path: Path) -> None:
    async def work(both: Both) -> None:
        writing = asyncio.create_task(both.say(b"x" * (2 << 20)))
        with pytest.raises(BadAnswer, match="a line of more than"):
            await both.heard(lambda _: False)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    on_a_tap(tmp_path / "s", work)


def test_a_stream_that_breaks_is_an_error(tmp_path: Path) -> None:
    async def work(both: Both) -> None:
        both.writer.transport.abort()
        with pytest.raises(BrokenOff, match="broke off the connection"):
            await both.heard(lambda _: False)

    on_a_tap(tmp_path / "s", work)
