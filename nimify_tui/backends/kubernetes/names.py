"""Name resolution of one region: in threads of its own, because a name server that is silent holds each for long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

#: Names that are looked up at once in one region: the server's and its proxy's.
_AT_ONCE = 2

#: What :func:`socket.getaddrinfo` tells: family, type, protocol, canonical name, address.
Address = tuple[Any, Any, int, str, Any]


class Names:
    """``getaddrinfo`` away from the threads that all regions, the files and the audit trail share."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    async def look_up(self, host: str, port: int) -> list[Address]:
        """The addresses of ``host``, as the resolver prefers them. Raises OSError, socket.gaierror for no such name."""
        try:
            # Of text Python would make IDNA's form, whose tables cost some ms; few hosts need it.
            name = host.encode("ascii") if host.isascii() else host.encode("idna")
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from error
        with contextlib.suppress(socket.gaierror):  # numbers need no resolver, and no thread
            return list(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="names")
        ask = partial(socket.getaddrinfo, name, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        return list(await asyncio.get_running_loop().run_in_executor(self._threads, ask))

    def close(self) -> None:
        """Wait for nobody: a look-up that hangs ends by the system's own time."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
