"""The control socket: hands the listening sockets to a supervisor that adopts this process.

Any process of the same user may ask. It sends the line ``listener`` and gets ``ok`` with the descriptors
of the main and the admin listener (SCM_RIGHTS), or ``draining`` without any.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path

_PATIENCE_S = 1.0


class Control:
    """A listening unix socket (0600) and the task that answers on it."""

    def __init__(self, path: Path, listeners: list[socket.socket]) -> None:
        self._path = path
        self._listeners = listeners
        self._server = _bind(path)
        self._task = asyncio.get_running_loop().create_task(self._serve(), name="control")

    def withhold(self) -> None:
        """From now on nobody gets a listener: this process is about to close its own."""
        self._listeners = []

    def close(self) -> None:
        """Stop, and remove the socket."""
        self._task.cancel()
        self._server.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(self._server)
            except OSError:  # no descriptor left: later perhaps
                await asyncio.sleep(_PATIENCE_S)
                continue
            with client, contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    line = await loop.sock_recv(client, 64)
                self._answer(client, line)

    def _answer(self, client: socket.socket, line: bytes) -> None:
        _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (os.getuid(), 0):
            client.send(b"refused\n")
        elif line != b"listener\n":
            client.send(b"unknown\n")
        elif not self._listeners:
            client.send(b"draining\n")
        else:
            socket.send_fds(client, [b"ok\n"], [item.fileno() for item in self._listeners])


def _bind(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(before)
    server.listen(4)
    server.setblocking(False)
    return server
