"""A proxy in front of a real API server that misbehaves where a test says so, and is honest everywhere else.

It speaks TLS to both sides with a certificate of its own. One request for each connection keeps it simple;
what it was asked is in ``asked``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from tests.kube.pki import Pair

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
#: Does the whole answer to one request; the proxy closes the connection afterwards.
Fault = Callable[["Exchange"], Awaitable[None]]
_CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Exchange:
    """One request whose head was read, with both ways out of it."""

    method: str
    target: str
    head: bytes
    reader: Reader
    writer: Writer
    proxy: FaultProxy

    async def forward(self, limit_bytes: int | None = None) -> None:
        """Let the real server answer; after ``limit_bytes`` of its answer the line is cut."""
        await self.proxy.forward(self, limit_bytes)

    async def say(self, data: bytes) -> None:
        """Answer these bytes."""
        self.writer.write(data)
        await self.writer.drain()


@dataclass
class FaultProxy:
    """``async with FaultProxy(port, pair) as proxy``; ``proxy.faults["/api/v1/pods"] = hang()`` and so on.

    A fault is found by the longest prefix of the request's target. ``times`` of a fault is its own business
    (see :func:`first`).
    """

    upstream_port: int
    pair: Pair
    faults: dict[str, Fault] = field(default_factory=dict)
    #: "METHOD target" of each request so far.
    asked: list[str] = field(default_factory=list)
    #: The heads of the same requests.
    heads: list[bytes] = field(default_factory=list)
    port: int = 0
    #: Targets that are being answered at the moment.
    _answering: list[str] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def address(self) -> str:
        """Where to connect to."""
        return f"https://127.0.0.1:{self.port}"

    def streams(self, part: str) -> list[str]:
        """Targets with ``part`` in them that are being answered at the moment."""
        return [each for each in self._answering if part in each]

    async def __aenter__(self) -> FaultProxy:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pair.certificate, self.pair.key)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.sever()

    async def sever(self) -> None:
        """Cut every open connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            # Cancelled at the proxy's end: asyncio logs a handler that is.
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError, TimeoutError
            ):
                head = await reader.readuntil(b"\r\n\r\n")
                method, target = head.split(b" ", 2)[:2]
                one = Exchange(method.decode(), target.decode(), head, reader, writer, self)
                self.asked.append(f"{one.method} {one.target}")
                self.heads.append(head)
                found = max(
                    (path for path in self.faults if one.target.startswith(path)), key=len, default=""
                )
                self._answering.append(one.target)
                try:
                    await (self.faults[found](one) if found else one.forward())
                finally:
                    self._answering.remove(one.target)
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def forward(self, one: Exchange, limit_bytes: int | None) -> None:
        """See :meth:`Exchange.forward`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the machine's authorities, whose reading takes long
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream_port, ssl=context)
        writer.write(one.head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        upward = asyncio.create_task(_copy(one.reader, writer))
        upward.add_done_callback(lambda _: writer.close())  # who asked is gone: so is a stream that is silent
        try:
            left = limit_bytes
            while data := await reader.read(_CHUNK_BYTES):
                await one.say(data if left is None else data[:left])
                left = None if left is None else left - len(data)
                if left is not None and left <= 0:
                    one.writer.transport.abort()
                    return
        finally:
            upward.cancel()
            writer.close()


async def _copy(reader: Reader, writer: Writer) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()


def answer(status: str, body: bytes = b"", headers: str = "", kind: str = "application/json") -> Fault:
    """A whole answer of our own, e.g. ``answer("503 Service Unavailable", headers="Retry-After: 3\\r\\n")``."""

    async def fault(one: Exchange) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}Connection: close"
        await one.say(head.encode() + b"\r\n\r\n" + body)

    return fault


def raw(data: bytes) -> Fault:
    """These very bytes, then the end."""

    async def fault(one: Exchange) -> None:
        await one.say(data)

    return fault


def stream(*pieces: bytes, ends: bool = True, kind: str = "application/json") -> Fault:
    """A 200 in chunks; without ``ends`` the connection breaks off before the last one."""

    async def fault(one: Exchange) -> None:
        await one.say(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % kind.encode()
        )
        for piece in pieces:
            await one.say(b"%x\r\n%b\r\n" % (len(piece), piece))
        await one.say(b"0\r\n\r\n" if ends else b"")

    return fault


def hang(until: asyncio.Event | None = None) -> Fault:
    """No answer until ``until`` is set (never, without one), then an honest one."""

    async def fault(one: Exchange) -> None:
        await (until or asyncio.Event()).wait()
        await one.forward()

    return fault


def silent() -> Fault:
    """No answer while the client is there."""

    async def fault(one: Exchange) -> None:
        await one.reader.read()

    return fault


def latency(seconds: float) -> Fault:
    """An honest answer, ``seconds`` later."""

    async def fault(one: Exchange) -> None:
        late = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, late.set)
        await late.wait()
        await one.forward()

    return fault


async def drop(one: Exchange) -> None:
    """The connection ends without an answer."""
    one.writer.transport.abort()


def cut(after_bytes: int) -> Fault:
    """An honest answer that breaks off after so many bytes."""

    async def fault(one: Exchange) -> None:
        await one.forward(after_bytes)

    return fault


def cuts(*after_bytes: int) -> Fault:
    """:func:`cut` after each of these, one request after the other; honest afterwards."""
    left = list(after_bytes)

    async def fault(one: Exchange) -> None:
        await one.forward(left.pop(0) if left else None)

    return fault


async def swallow(one: Exchange) -> None:
    """The real server does it, and its answer is lost."""
    await one.forward(0)


def first(times: int, fault: Fault) -> Fault:
    """``fault`` for the first ``times`` requests, honest afterwards."""
    left = [times]

    async def either(one: Exchange) -> None:
        left[0] -= 1
        await (fault(one) if left[0] >= 0 else one.forward())

    return either


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """A port that takes connections and never says a word, not even TLS."""

    async def ignore(reader: Reader, writer: Writer) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(_CHUNK_BYTES):
                pass
        writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
