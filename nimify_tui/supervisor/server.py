"""The supervisor's socket: newline JSON, many clients, none of which can hold anything up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from nimify_tui.base.errors import Category, NimifyError
from nimify_tui.domain.embedded import Event, Reply, Request, Watch

MAX_REQUEST_BYTES = 1024 * 1024
#: What a client has not read yet; a list of the largest region on one machine is some 2 MB.
MAX_UNREAD_BYTES = 16 * 1024 * 1024
#: Requests of one client that wait for their turn.
_MAX_WAITING = 64
#: Clients at once; each costs a descriptor and a buffer.
MAX_CLIENTS = 128

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Request).decode

Answer = Callable[[Request], Awaitable[Reply]]


class _AnyId(msgspec.Struct):
    id: int = 0


class Server:
    """Answers requests through ``answer`` and sends events to those who watch.

    ``first`` makes what a new watcher gets at once.
    """

    def __init__(self, answer: Answer, first: Callable[[], Sequence[Event]]) -> None:
        self.answer = answer
        self.first = first
        self.clients: set[Client] = set()
        self._server: asyncio.Server | None = None

    async def open(self, path: Path) -> None:
        """Listen at ``path`` (0600). Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        try:
            made.bind(str(path))
        finally:
            os.umask(old)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Client(self), sock=made, backlog=64)

    def close(self) -> None:
        """Stop listening and drop everybody."""
        if self._server is not None:
            self._server.close()
        for client in list(self.clients):
            client.drop()

    def emit(self, event: Event) -> None:
        """Send an event to every watcher."""
        watchers = [client for client in self.clients if client.watching]
        if watchers:
            line = _ENCODE(event) + b"\n"
            for client in watchers:
                client.send(line)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._waiting: asyncio.Queue[Request] = asyncio.Queue(_MAX_WAITING)
        self._task: asyncio.Task[None] | None = None
        self.watching = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected; only this user is let in."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not same_user(transport.get_extra_info("socket")) or len(self._server.clients) >= MAX_CLIENTS:
            transport.abort()
            return
        self._server.clients.add(self)
        self._task = asyncio.get_running_loop().create_task(self._work())

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._server.clients.discard(self)
        self.watching = False
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Take whole lines as requests; a line without end is not waited for."""
        self._data += data
        while (end := self._data.find(b"\n")) >= 0:
            line = bytes(self._data[:end])
            del self._data[: end + 1]
            self._take(line)
        if len(self._data) > MAX_REQUEST_BYTES:
            self._refuse(0, f"the request is larger than {MAX_REQUEST_BYTES} bytes")
            self._data.clear()
            self.drop()

    def drop(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, line: bytes) -> None:
        """Send a line; one who does not read is dropped instead of waited for."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() + len(line) > MAX_UNREAD_BYTES:
            self.watching = False
            transport.abort()
            return
        transport.write(line)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            request: Request = _DECODE(line)
        except msgspec.DecodeError as error:
            number = 0
            with contextlib.suppress(msgspec.DecodeError):
                number = msgspec.json.decode(line, type=_AnyId).id
            self._refuse(number, f"the request is not understood: {error}")
            return
        try:
            self._waiting.put_nowait(request)
        except asyncio.QueueFull:
            self._refuse(request.id, f"more than {_MAX_WAITING} requests wait", Category.RATE_LIMIT)

    def _refuse(self, number: int, error: str, category: Category = Category.VALIDATION) -> None:
        self.send(_ENCODE(Reply(id=number, ok=False, error=error[:500], category=str(category))) + b"\n")

    async def _work(self) -> None:
        while True:
            request = await self._waiting.get()
            try:
                reply = await self._server.answer(request)
            except NimifyError as error:
                reply = Reply(
                    id=request.id, ok=False, error=error.message, remedy=error.remedy, category=str(error.category)
                )
            except OSError as error:
                text = f"the supervisor cannot do it: {error.strerror or error}"
                reply = Reply(id=request.id, ok=False, error=text, category=str(Category.INTERNAL))
            self.send(_ENCODE(reply) + b"\n")
            if isinstance(request, Watch) and reply.ok:
                for event in self._server.first():
                    self.send(_ENCODE(event) + b"\n")
                self.watching = True


def same_user(peer: socket.socket) -> bool:
    """Whether the other end runs as this user (SO_PEERCRED, unix(7))."""
    packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", packed)[1] == os.getuid())
