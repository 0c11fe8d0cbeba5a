"""The listening sockets: bound here, or inherited from a supervisor that shares them among replicas."""

from __future__ import annotations

import os
import resource
import socket
from dataclasses import dataclass

from nimify_tui.base.errors import ConfigurationError, NetworkError
from nimify_tui.serving.options import Options

BACKLOG = 1024
#: More are not needed; a process may be allowed a billion.
MAX_DESCRIPTORS = 65_536
#: Connections of the admin listener, what a refused one holds while its refusal is read, files of the process.
ADMIN_CONNECTIONS, LINGERING, OWN_FILES = 32, 32, 64


@dataclass(frozen=True, slots=True)
class Listeners:
    """``shared``: other processes hold the main listener too, so what waits in its backlog is not lost."""

    main: socket.socket
    admin: socket.socket | None
    shared: bool


def raise_descriptors() -> None:
    """As many descriptors as this process may have: a shell's 1,024 are too few for 1,000 clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_connections() -> int:
    """Of the main listener: what is left for it, so that a crowd there never keeps a probe out."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    return max(8, allowed - ADMIN_CONNECTIONS - LINGERING - OWN_FILES)


def open_listeners(options: Options) -> Listeners:
    """Raises NetworkError when an address cannot be had, ConfigurationError for a descriptor that is no listener."""
    shared = options.listen_fd is not None
    main = _inherited(options.listen_fd) if options.listen_fd is not None else _bound(options.host, options.port)
    admin = None
    if options.admin_fd is not None:
        admin = _inherited(options.admin_fd)
    elif options.admin_port is not None:
        admin = _bound(options.host, options.admin_port)
    return Listeners(main, admin, shared)


def _inherited(fd: int) -> socket.socket:
    try:
        made = socket.socket(fileno=fd)
        listening = made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigurationError(f"descriptor {fd} is no socket: {error.strerror}") from error
    if not listening or made.type != socket.SOCK_STREAM:
        raise ConfigurationError(f"descriptor {fd} is no listening stream socket")
    made.setblocking(False)
    os.set_inheritable(fd, False)
    return made


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        remedy = "choose another --port, or end what uses it" if error.strerror == "Address already in use" else ""
        raise NetworkError(f"cannot listen on {host}:{port}: {error.strerror}", remedy) from error
    made.setblocking(False)
    return made
