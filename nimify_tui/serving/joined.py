"""What an answer writes to, and what it writes to when nobody is there any more."""

from __future__ import annotations

import asyncio


class Joined:
    """What an answer writes to: its head waits for its body, so that both leave in one system call."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send what came, after the head that waited; a head alone waits."""
        if self._head:
            data, self._head = self._head + data, b""
            self._transport.write(data)
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that has no body."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Send what waits, then close."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more will be sent."""
        return self._transport.is_closing()

    def lose(self) -> None:
        """The connection is gone: an answer that waited for its client to read goes nowhere."""
        self._transport, self._head = _LOST, b""


class Lost(asyncio.Transport):
    """Takes what nobody will read; the real transport raises once it is closed."""

    def write(self, data: object) -> None:
        """Nowhere."""

    def close(self) -> None:
        """It is."""

    def is_closing(self) -> bool:
        """It is closed."""
        return True


_LOST = Lost()
