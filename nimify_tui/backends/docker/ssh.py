"""An engine behind SSH: each connection is one `ssh HOST docker system dial-stdio`, as Docker's own command line does.

The user's ssh does it (agent, ProxyJump, known_hosts hold), never with a question: BatchMode. The HTTP client
connects to a private socket here; what it connects to is handed to ssh as it is, so that no byte is copied by us.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import IO

from nimify_tui.backends.docker.place import EnginePlace
from nimify_tui.base.errors import ConfigurationError

#: Seconds for ssh to connect.
CONNECT_S = 10
#: Of what ssh says so much is kept, bytes.
_SAID_BYTES = 4096
#: Its words may be read a little after its end, seconds.
_LATE_S = 0.5
#: One process each, some 5 MB: for the events, what is on screen, kept connections and changes. One more waits until
#: another ends: it may be a change, which is not to be taken for one that broke off on its way. A multiplexing ssh
#: opens a connection of its own for what sshd's MaxSessions (10) refuses.
MOST_AT_ONCE = 32


def command(place: EnginePlace) -> list[str]:
    """What is run for one connection."""
    words = ["ssh", "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
    words += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"]
    if place.user:
        words += ["-l", place.user]
    if place.port:
        words += ["-p", str(place.port)]
    engine = ["--host", f"unix://{place.path}"] if place.path else []
    return [*words, "--", place.host, "docker", *engine, "system", "dial-stdio"]


class SshTunnel:
    """The private socket and the processes behind it. For one event loop, between open and close."""

    def __init__(self, place: EnginePlace) -> None:
        self._place = place
        self._folder = ""
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._processes: set[asyncio.Task[None]] = set()
        #: What ssh said last, for the error that follows from it.
        self.said = ""

    async def open(self) -> str:
        """The path of the socket. Raises ConfigurationError where there is no ssh."""
        if shutil.which("ssh") is None:
            raise ConfigurationError(
                f"{self._place.address} needs ssh, which is not installed", "install openssh-client"
            )
        self._folder = tempfile.mkdtemp(prefix="nimify-ssh-")  # 0700
        path = str(Path(self._folder) / "s")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        self._listener.listen(16)
        self._accepting = asyncio.create_task(
            self._accept(self._listener), name=f"{self._place.address}: ssh"
        )
        return path

    async def close(self) -> None:
        """End every process; the socket goes."""
        tasks = [*self._processes, *([self._accepting] if self._accepting is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        if self._folder:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop, free = asyncio.get_running_loop(), asyncio.Semaphore(MOST_AT_ONCE)

        def ended(task: asyncio.Task[None]) -> None:
            self._processes.discard(task)
            free.release()

        while True:
            await free.acquire()
            connection, _ = await loop.sock_accept(listener)
            task = loop.create_task(self._serve(connection))
            self._processes.add(task)
            task.add_done_callback(ended)

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(True)  # it is ssh's from here on
        reading, writing = os.pipe()
        # Our end is kept until it is known what ssh said: who sees the connection end asks why.
        with connection, os.fdopen(reading, "rb", buffering=0) as words:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command(self._place), stdin=connection.fileno(), stdout=connection.fileno(), stderr=writing,
                    env={**os.environ, "LC_ALL": "C"}, start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(writing)
            try:
                await self._heard(words, process)
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()

    async def _heard(self, words: IO[bytes], process: asyncio.subprocess.Process) -> None:
        """Until the end of the process; a master that ControlPersist leaves behind may hold its stderr for longer."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), words
        )
        reading = asyncio.create_task(_last(reader))
        try:
            await process.wait()
            await asyncio.wait([reading], timeout=_LATE_S)
            if reading.done() and (said := reading.result()):
                self.said = said
        finally:
            reading.cancel()
            transport.close()


async def _last(reader: asyncio.StreamReader) -> str:
    """The last of what is said, at its end."""
    said = b""
    while piece := await reader.read(_SAID_BYTES):
        said = (said + piece)[-_SAID_BYTES:]
    return said.decode("utf-8", "replace")
