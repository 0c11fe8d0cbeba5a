"""One HTTP/1.1 connection of a client of the demo: small, and measured from the intended start."""

from __future__ import annotations

import asyncio
import re

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """Sends one request at a time. ``open`` is False once either side has closed it."""

    def __init__(self) -> None:
        self.open = False
        self.idle_since_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: asyncio.Future[int] | None = None
        self._ends_at = 0  # length of the whole answer, 0 while its head is not there
        self._status = 0
        self._chunked = False
        self._keep = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: closed by either side."""
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError("closed before the answer"))

    def data_received(self, data: bytes) -> None:
        """asyncio: a part of the answer."""
        self._buffer += data
        if not self._ends_at and not self._chunked:
            self._read_head()
        whole = self._buffer.endswith(b"0\r\n\r\n") if self._chunked else 0 < self._ends_at <= len(self._buffer)
        if whole:
            self._finish()

    async def ask(self, request: bytes) -> int:
        """Send a request and wait for the whole answer; its status. Raises ConnectionError."""
        if not self.open or self._transport is None:
            raise ConnectionResetError("closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def close(self) -> None:
        """Close at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[: end + 2])
        match = _STATUS.match(head)
        if match is None:
            self.close()
            return
        self._status = int(match[1])
        self._keep = _CLOSE.search(head) is None
        if _CHUNKED.search(head):
            self._chunked = True
            return
        length = _LENGTH.search(head)
        self._ends_at = end + 4 + (int(length[1]) if length else 0)

    def _finish(self) -> None:
        self._buffer.clear()
        self._ends_at, self._chunked = 0, False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._status)
        if not self._keep:
            self.close()


async def connect(host: str, port: int, client: str = "") -> Connection:
    """A new connection, from the loopback address ``client`` when one is named. Raises OSError."""
    loop = asyncio.get_running_loop()
    source = (client, 0) if client else None
    _, connection = await loop.create_connection(Connection, host, port, local_addr=source)
    return connection
