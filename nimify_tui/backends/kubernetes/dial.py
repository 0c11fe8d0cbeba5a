"""A connected TCP socket for a name, whichever of its addresses answers (RFC 8305, "happy eyeballs")."""

from __future__ import annotations

import asyncio
import socket

from nimify_tui.backends.kubernetes.names import Address, Names
from nimify_tui.backends.kubernetes.tls import watchful_socket

#: A second address of a name is tried beside a first that does not answer, after this time (RFC 8305), seconds.
STAGGER_S = 0.25


async def dial(host: str, port: int, names: Names) -> socket.socket:
    """The addresses one after the other, each soon beside one that does not answer.

    Raises OSError: socket.gaierror for a name that nobody knows, else why the first address failed.
    """
    waiting = _in_turn(await names.look_up(host, port))
    trying: set[asyncio.Task[socket.socket]] = set()
    failure: OSError | None = None
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.create_task(_reach(waiting.pop(0))))
            wait_s = STAGGER_S if waiting else None
            done, trying = await asyncio.wait(trying, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            reached = [each for each in done if each.exception() is None]
            trying |= set(reached[1:])  # two at once: one is enough
            if reached:
                return reached[0].result()
            for each in done:
                if not isinstance(error := each.exception(), OSError):
                    raise error or AssertionError("it has neither failed nor reached anything")
                failure = failure or error
    finally:
        for each in trying:
            each.cancel()
        for one in await asyncio.gather(*trying, return_exceptions=True):
            if isinstance(one, socket.socket):
                one.close()
    raise failure or socket.gaierror(socket.EAI_NONAME, "no address")


def _in_turn(found: list[Address]) -> list[Address]:
    """Of both families in turn, as the resolver prefers them."""
    first = [each for each in found if each[0] == found[0][0]]
    second = [each for each in found if each[0] != found[0][0]]
    mixed = [each for pair in zip(first, second, strict=False) for each in pair]
    shorter = min(len(first), len(second))
    return [*mixed, *first[shorter:], *second[shorter:]]


async def _reach(address: Address) -> socket.socket:
    made = watchful_socket(address)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, address[4])
    except BaseException:
        made.close()
        raise
    return made
