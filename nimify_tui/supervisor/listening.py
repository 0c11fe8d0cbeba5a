"""Listening sockets: made once for a service, handed to its replicas, and got back from them after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Sequence

from nimify_tui.supervisor.process import Watched, listening_fd, receive_fd

_BACKLOG = 1024
_ASK_S = 0.5


def listen(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1:``port`` (0: one that is free). Raises OSError with plain words.

    The protocol is named on purpose: asyncio sets TCP_NODELAY only on sockets that say IPPROTO_TCP, and
    a socket without it answers many times slower.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(errno.EADDRINUSE, f"port {port} is used by another process") from error
        if error.errno == errno.EACCES:
            raise OSError(errno.EACCES, f"port {port} is not allowed to this user") from error
        raise
    return made


async def get_back(port: int, replicas: Sequence[tuple[str, Watched]]) -> socket.socket | None:
    """The socket that living replicas listen on, from (control socket, process); None when none gives it.

    Each is asked over its control socket first (SCM_RIGHTS). One that cannot answer, because it is
    stopped, may still have it taken by pidfd_getfd(2), where the kernel lets us.
    """
    for path, _ in replicas:
        with contextlib.suppress(OSError):
            found = await asyncio.to_thread(receive_fd, path, _ASK_S)
            if _fits(found, port):
                return found
    for _, watched in replicas:
        with contextlib.suppress(OSError):
            number = listening_fd(watched.pid, port)
            if number is not None:
                found = socket.socket(fileno=watched.duplicate_fd(number))
                if _fits(found, port):
                    return found
    return None


def _fits(found: socket.socket, port: int) -> bool:
    """Whether it listens on that port; closed when not."""
    with contextlib.suppress(OSError):
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listens and found.getsockname()[1] == port:
            os.set_inheritable(found.fileno(), False)
            return True
    found.close()
    return False
