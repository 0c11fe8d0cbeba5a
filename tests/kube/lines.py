"""A TCP line to a server that can fall silent or be cut off: nothing comes through any more, and nobody is told.

Unlike the fault proxy it does not read what passes, so the server's own certificate is the one that is seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field

_CHUNK_BYTES = 65536


@dataclass(eq=False)
class _Call:
    """One connection through the line: both its ends, and whether anything flows between them."""

    ends: tuple[socket.socket, socket.socket]
    flows: asyncio.Event
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Line:
    """``async with Line(port) as line``: what connects to ``line.port`` reaches ``port`` of this machine."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._calls: set[_Call] = set()
        self._silent = False
        self._door = socket.socket()
        self._crowd: list[socket.socket] = []
        self._accepting: asyncio.Task[None] | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """Where to connect to."""
        return f"https://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Line:
        self._door.bind(("127.0.0.1", 0))
        self._door.listen(128)
        self._door.setblocking(False)
        self.port = self._door.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_accepting()
        for call in list(self._calls):
            for task in call.tasks:
                task.cancel()
            await asyncio.gather(*call.tasks, return_exceptions=True)
        self._free()
        self._door.close()

    async def freeze(self) -> None:
        """Connections stay open and new ones are taken; not a byte passes. :meth:`mend` lets go what waits."""
        self._silent = True
        for call in self._calls:
            call.flows.clear()

    async def cut(self) -> None:
        """As if somebody had pulled the plug: no byte, no FIN, no RST, and new connections are not answered at all.

        What was open stays silent for ever, as behind a router that has lost its table.
        """
        await self._stop_accepting()
        for call in list(self._calls):
            for task in call.tasks:
                task.cancel()
            await asyncio.gather(*call.tasks, return_exceptions=True)
        self._door.listen(0)
        # A full queue of the kernel: it drops the SYN of whoever comes next.
        while len(self._crowd) < 16:
            one = socket.socket()
            one.setblocking(False)
            self._crowd.append(one)
            with contextlib.suppress(BlockingIOError):
                one.connect(("127.0.0.1", self.port))

    async def mend(self) -> None:
        """New connections pass again, and what :meth:`freeze` held up."""
        self._free()
        self._silent = False
        for call in self._calls:
            call.flows.set()
        if self._accepting is None:
            self._door.listen(128)
            self._accepting = asyncio.create_task(self._accept())

    def _free(self) -> None:
        for one in self._crowd:
            one.close()
        self._crowd.clear()

    async def _stop_accepting(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(self._door)
            far = socket.socket()
            for end in (near, far):
                end.setblocking(False)
            call = _Call((near, far), asyncio.Event())
            if not self._silent:
                call.flows.set()
            self._calls.add(call)
            call.tasks.append(asyncio.create_task(self._serve(call)))

    async def _serve(self, call: _Call) -> None:
        near, far = call.ends
        try:
            await call.flows.wait()
            with contextlib.suppress(ConnectionError):
                await asyncio.get_running_loop().sock_connect(far, ("127.0.0.1", self._upstream_port))
                ways = [asyncio.create_task(_carry(call, *way)) for way in ((near, far), (far, near))]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
        except asyncio.CancelledError:
            return  # cut: the ends stay open, and silent, until the line itself goes
        self._calls.discard(call)
        for end in call.ends:
            end.close()


async def _carry(call: _Call, source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while data := await loop.sock_recv(source, _CHUNK_BYTES):
            await call.flows.wait()
            await loop.sock_sendall(sink, data)
