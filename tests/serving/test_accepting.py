"""New clients are let in at once also where the loop's turns have become long; counted in turns, not in time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

import uvloop

from nimify_tui.serving.accepting import MOST_SHARED, PAUSE_S, Acceptor
from tests.serving.servers import listener

CLIENTS = 120
Begin = Callable[[socket.socket, Callable[[], asyncio.Protocol]], Awaitable[Callable[[], None]]]


async def by_acceptor(listening: socket.socket, make: Callable[[], asyncio.Protocol]) -> Callable[[], None]:
    return Acceptor(listening, make).close


async def by_acceptor_of_a_shared_one(
    listening: socket.socket, make: Callable[[], asyncio.Protocol]
) -> Callable[[], None]:
    return Acceptor(listening, make, shared=True).close


async def by_uvloop(listening: socket.socket, make: Callable[[], asyncio.Protocol]) -> Callable[[], None]:
    server = await asyncio.get_running_loop().create_server(make, sock=listening.dup())
    return server.close


def turns(begin: Begin) -> int:
    """Turns of a busy loop until all of a crowd are in."""

    async def count() -> int:
        loop, inside, counted = asyncio.get_running_loop(), [], 0

        class Client(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                inside.append(transport)

        with contextlib.ExitStack() as stack:
            listening = stack.enter_context(listener())
            listening.setblocking(False)
            for _ in range(CLIENTS):
                stack.enter_context(socket.create_connection(listening.getsockname()))
            end = await begin(listening, Client)
            while len(inside) < CLIENTS and counted < 10_000:
                turn: asyncio.Future[None] = loop.create_future()
                loop.call_soon(turn.set_result, None)
                await turn
                counted += 1
            end()
            for each in inside:
                each.close()
        return counted

    return uvloop.run(count())


def test_a_crowd_is_let_in_within_a_few_turns() -> None:
    assert turns(by_acceptor) <= CLIENTS // 12


def test_sabotage_uvloops_own_server_lets_in_one_or_two_a_turn() -> None:
    assert turns(by_uvloop) >= CLIENTS // 3


def test_of_a_shared_listener_some_are_left_to_the_neighbours() -> None:
    assert CLIENTS // MOST_SHARED // 3 <= turns(by_acceptor_of_a_shared_one) < CLIENTS // 3


def test_without_descriptors_it_waits_and_goes_on() -> None:
    """Sabotage seen failing: without the pause the reader spins, and `accept` is asked thousands of times."""

    class Poor:
        """A listener that has no descriptor for a while."""

        def __init__(self, real: socket.socket) -> None:
            self._real, self.asked, self.poor = real, 0, True

        def fileno(self) -> int:
            return self._real.fileno()

        def accept(self) -> tuple[socket.socket, object]:
            self.asked += 1
            if self.poor:
                raise OSError(24, "Too many open files")
            return self._real.accept()

    async def go() -> tuple[int, int]:
        loop, inside = asyncio.get_running_loop(), asyncio.Event()

        class Client(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                inside.set()
                transport.close()

        with listener() as real, socket.create_connection(real.getsockname()):
            real.setblocking(False)
            poor = Poor(real)
            acceptor = Acceptor(poor, Client)  # type: ignore[arg-type]  # all of a socket that it uses
            enough = loop.create_future()
            loop.call_later(6 * PAUSE_S, enough.set_result, None)
            await enough
            asked, poor.poor = poor.asked, False
            await asyncio.wait_for(inside.wait(), 10)
            acceptor.close()
            return asked, poor.asked

    before, after = uvloop.run(go())
    assert 1 <= before <= 8
    assert after > before
