"""Name resolution of one region: in threads of its own, because a name server that is silent holds each for long."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver, ResolveResult
else:  # aiohttp is imported when a region is opened
    AbstractResolver = object

#: Names that are looked up at once in one region: the server's and its proxy's.
_AT_ONCE = 2


class OwnNames(AbstractResolver):
    """``getaddrinfo`` away from the threads that all regions, the files and the audit trail share."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of ``host``. Raises OSError."""

        def look_up() -> list[ResolveResult]:
            found = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
            )
            return [
                {
                    "hostname": host, "host": _numeric(address), "port": int(address[1]), "family": kind,
                    "proto": proto, "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                }
                for kind, _, proto, _, address in found
            ]  # fmt: skip

        return await asyncio.get_running_loop().run_in_executor(self._threads, look_up)

    async def close(self) -> None:
        """Wait for nobody: a look-up that hangs ends by the system's own time."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _numeric(address: tuple[object, ...]) -> str:
    """The address with its link, where it is one that only holds there (IPv6)."""
    return f"{address[0]}%{address[3]}" if len(address) == 4 and address[3] else str(address[0])
