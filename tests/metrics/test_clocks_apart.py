"""How far a server's clock is from ours: by when its answers' heads come, and by several of them."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import itertools
import math

from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.backends.prometheus.ways import Direct
from nimify_tui.base.clock import ManualClock

BODY = b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[%d,"1"]]}]}}'


class Looked(ManualClock):
    """A clock that knows that somebody looked at it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = asyncio.Event()

    def now(self) -> float:
        self.seen.set()
        return super().now()


async def asked(clock: Looked, answers: list[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """(how far ahead the server is, how old its newest sample) after each answer.

    An answer is (how far its clock is ahead, how long its head and how long its body is on the way), seconds.
    """
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while waiting:
            await reader.readuntil(b"\r\n\r\n")
            ahead_s, head_s, body_s = waiting.pop(0)
            served = math.floor(ManualClock.now(clock) + ahead_s)
            clock.advance(head_s)
            body = BODY % served
            date = email.utils.formatdate(served, usegmt=True)
            clock.seen.clear()
            writer.write(f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            await writer.drain()
            if body_s:
                with contextlib.suppress(TimeoutError):  # where nobody looks at the clock before all is there
                    async with asyncio.timeout(2.0):
                        await clock.seen.wait()
                clock.advance(body_s)
            writer.write(body)
            await writer.drain()
        writer.close()

    found: list[tuple[float, float]] = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        server = PrometheusServer(Direct(ServerPlace(f"http://127.0.0.1:{port}"), clock=clock), clock)
        for _ in answers:
            began = ManualClock.now(clock)
            samples = await server.samples("up[1m]", began)
            found.append((server.ahead_s, began - samples.rows[0].values[-1][0]))
            clock.advance(5.13)
        server.close()
    return found


def test_a_slow_answer_is_no_other_clock_and_a_small_difference_does_not_flicker() -> None:
    """Seen failing with the time after the whole body (4 s behind), and with each answer by itself (2, 0, 2 s)."""

    async def go() -> None:
        slow = await asked(Looked(), [(0.0, 0.1, 0.0), (0.0, 0.1, 4.0), (0.0, 4.0, 0.0), (0.0, 0.1, 0.0)])
        assert {ahead for ahead, _ in slow} == {0.0}
        assert all(-0.1 < age < 1.0 for _, age in slow), slow
        first = await asked(Looked(), [(0.0, 4.0, 0.0), (0.0, 0.1, 0.0)])
        assert first[-1][0] == 0.0
        near = [ahead for ahead, _ in await asked(Looked(), [(2.0, 0.1, 0.0)] * 30)]
        assert sum((a == 0.0) != (b == 0.0) for a, b in itertools.pairwise(near)) <= 1, near
        assert all(each == 0.0 or 1.0 < each < 3.0 for each in near)
        # A clock that is set is believed at once, both ways.
        set_anew = [(0.0, 0.1, 0.0)] * 5 + [(60.0, 0.1, 0.0), (0.0, 0.1, 0.0)]
        jumped = [ahead for ahead, _ in await asked(Looked(), set_anew)]
        assert 58.0 < jumped[-2] < 61.0
        assert jumped[-1] == 0.0

    asyncio.run(go())
