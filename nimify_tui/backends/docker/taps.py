"""Streams that are looked into now and then: what comes in between waits in the kernel and wakes nobody.

Streams that bring 2 kB each second cost their reader 0.3 to 0.4 ms of CPU a piece when each one is waited for, nearly
all of it for waking up; looked into together once a second it is 0.08 ms (two busy cores, 64 streams of a real engine).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nimify_tui.backends.docker.errors import BadAnswer
from nimify_tui.base.errors import NimifyError

if TYPE_CHECKING:
    import aiohttp

#: No line of an engine is longer, bytes.
_LINE_BYTES = 1024 * 1024
#: The loop looks at its sockets at the end of one turn and handles what it found in the next.
_TURNS = 2


class Tap:
    """An open answer whose lines are taken when their reader wants them. Made by ``Connection.tap``, ended by close."""

    def __init__(
        self, reply: aiohttp.ClientResponse, known: Callable[[BaseException], NimifyError | None]
    ) -> None:
        self._reply, self._known = reply, known
        self._rest = b""
        #: Whether the engine has said all that it will.
        self.ended = False

    def take(self) -> list[bytes]:
        """The whole lines that were let in; nothing more comes in after it. Raises as ``Connection.get``."""
        content = self._reply.content
        try:
            data = content.read_nowait(-1)
        except BaseException as error:
            if (found := self._known(error)) is None:
                raise
            raise found from error
        self.ended = content.at_eof()
        if (transport := self._transport) is not None:
            transport.pause_reading()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_BYTES:
            raise BadAnswer(f"the engine sends a line of more than {_LINE_BYTES} bytes")
        return [line for line in lines if line.strip()]

    def open(self) -> None:
        """Let in what waits."""
        if (transport := self._transport) is not None:
            transport.resume_reading()

    def close(self) -> None:
        """End the stream."""
        self._reply.close()

    @property
    def _transport(self) -> asyncio.Transport | None:
        connection = self._reply.connection
        return connection.transport if connection is not None else None


async def let_in(taps: Iterable[Tap]) -> None:
    """Let in what waits on all of them; each one's :meth:`Tap.take` has it then."""
    for each in taps:
        each.open()
    for _ in range(_TURNS):
        await asyncio.sleep(0)
