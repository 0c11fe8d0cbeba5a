"""A connected TCP socket for a name, whichever of its addresses answers (RFC 8305, "happy eyeballs")."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from nimify_tui.backends.kubernetes.tls import watchful_socket

#: A second address of a name is tried beside a first that does not answer, after this time (RFC 8305), seconds.
STAGGER_S = 0.25

_Address = tuple[Any, Any, int, str, Any]


async def dial(host: str, port: int) -> socket.socket:
    """The addresses one after the other, each soon beside one that does not answer.

    Raises OSError: socket.gaierror for a name that nobody knows, else why the first address failed.
    """
    waiting = await _addresses(host, port)
    trying: set[asyncio.Task[socket.socket]] = set()
    failure: OSError | None = None
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.create_task(_reach(waiting.pop(0))))
            wait_s = STAGGER_S if waiting else None
            done, trying = await asyncio.wait(trying, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                if (error := each.exception()) is None:
                    return each.result()
                if not isinstance(error, OSError):
                    raise error
                failure = failure or error
    finally:
        for each in trying:
            each.cancel()
        for one in await asyncio.gather(*trying, return_exceptions=True):
            if isinstance(one, socket.socket):
                one.close()
    raise failure or socket.gaierror(socket.EAI_NONAME, "no address")


async def _addresses(host: str, port: int) -> list[_Address]:
    """Of both families in turn, as the resolver prefers them."""
    name = host.encode("ascii")  # of text Python would make IDNA's form, whose tables cost some ms
    with contextlib.suppress(socket.gaierror):  # numbers need no resolver, and no thread
        return list(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    first = [each for each in found if each[0] == found[0][0]]
    second = [each for each in found if each[0] != found[0][0]]
    mixed = [each for pair in zip(first, second, strict=False) for each in pair]
    shorter = min(len(first), len(second))
    return [*mixed, *first[shorter:], *second[shorter:]]


async def _reach(address: _Address) -> socket.socket:
    made = watchful_socket(address)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, address[4])
    except BaseException:
        made.close()
        raise
    return made
