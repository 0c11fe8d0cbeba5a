"""The small HTTP client: answers, limits, deadlines, kept connections, peers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from nimify_tui.backends.http import HttpClient, fetch
from nimify_tui.base.errors import DeadlineError, NetworkError, ValidationError

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(behave: Behaviour) -> AsyncIterator[str]:
    """A server on the loopback that behaves so; its address."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def answering(answer: bytes, *, times: int = 1) -> Behaviour:
    """Reads a request and writes these bytes, so many times on one connection."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    return behave


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-One: 1\r\n\r\nok"


def test_an_answer_of_each_framing() -> None:
    chunked = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n"
    until_end = b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nall there is"

    async def run() -> None:
        async with peer(answering(OK)) as url:
            reply = await fetch(f"{url}/metrics?a=b")
            assert (reply.status, reply.headers["x-one"], reply.body) == (200, "1", b"ok")
        async with peer(answering(chunked)) as url:
            reply = await fetch(url)
            assert (reply.status, reply.body) == (503, b"ok!")
        async with peer(answering(until_end)) as url:
            assert (await fetch(url)).body == b"all there is"

    asyncio.run(run())


def test_connections_are_kept_and_a_dead_one_is_replaced() -> None:
    connections = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answering(OK, times=2)(reader, writer)  # then it hangs up

    async def run() -> None:
        async with peer(counting) as url, HttpClient() as client:
            for _ in range(4):
                assert (await client.get(url)).body == b"ok"
            assert connections == 2

    asyncio.run(run())


def test_a_body_is_sent_once_and_whole() -> None:
    got = bytearray()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"User-Agent: nimify-tui/" in head
        got.extend(await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])))
        writer.write(OK)
        await writer.drain()

    async def run() -> None:
        async with peer(behave) as url, HttpClient() as client:
            reply = await client.post(f"{url}/v2", b"x" * 300_000, headers={"Content-Type": "application/json"})
            assert reply.status == 200

    asyncio.run(run())
    assert bytes(got) == b"x" * 300_000


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", NetworkError, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000, NetworkError, "larger than 5000 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 70_000 + b"\r\n\r\n", NetworkError, "larger than|does not speak"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", NetworkError, "broken off"),
        (b"", NetworkError, "broken off"),
    ],
)
def test_peers_that_misbehave_are_errors_in_words(answer: bytes, error: type[Exception], words: str) -> None:
    async def run() -> None:
        async with peer(answering(answer)) as url:
            with pytest.raises(error, match=words):
                await fetch(url, max_bytes=5000)

    asyncio.run(run())


def test_one_deadline_holds_for_the_whole_exchange() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        loop = asyncio.get_running_loop()
        drops = asyncio.Queue[None]()
        for number in range(100):
            loop.call_later(number * 0.05, drops.put_nowait, None)
        while True:
            await drops.get()
            writer.write(b"x")
            await writer.drain()

    async def run() -> None:
        async with peer(drip) as url:
            begin = asyncio.get_running_loop().time()
            with pytest.raises(DeadlineError, match=r"did not answer within 0\.3 s"):
                await fetch(url, timeout_s=0.3)
            assert asyncio.get_running_loop().time() - begin < 1.0

    asyncio.run(run())


def test_nobody_there() -> None:
    async def run() -> None:
        async with peer(answering(OK)) as url:
            pass
        with pytest.raises(NetworkError, match="connection refused"):
            await fetch(url)

    asyncio.run(run())


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "http:///x", "http://h:99999/", "http://h/a b", "http://h/\r\nX: y"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValidationError):
        asyncio.run(fetch(url))


def test_a_header_cannot_smuggle_another() -> None:
    with pytest.raises(ValidationError, match="line break"):
        asyncio.run(fetch("http://127.0.0.1:1/", headers={"A": "b\r\nC: d"}))
