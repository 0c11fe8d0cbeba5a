"""The traffic is open loop: a stalled server makes latency grow and never the rate drop; every request is counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
from collections.abc import Awaitable, Callable

import pytest

from nimify_tui.demo import bodies, traffic
from nimify_tui.demo.client import connect
from nimify_tui.demo.hostile import ATTACKERS, KINDS, hostile
from nimify_tui.demo.menu import Input
from nimify_tui.demo.orders import Aim, Count, Order, Pace, Raid, Tally, Told
from tests.demo.support import Talk
from tests.support import PYTHON, REPO, private_home, wait_for

INPUTS = (Input("x", "FP32", ("batch", 4)), Input("ids", "INT64", (1, 3), 9))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
RPS = 100.0


class Server:
    """Answers requests as told; ``gate`` closed: it takes them and does not answer."""

    def __init__(self, answer: bytes = ANSWER) -> None:
        self.answer = answer
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: list[bytes] = []
        self.peers: set[str] = set()
        self.connections = 0

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, limit=2**20)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.peers.add(writer.get_extra_info("peername")[0])
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").lower().split("\r\n")
                length = next((int(line[16:]) for line in lines if line.startswith("content-length: ")), 0)
                body = await reader.readexactly(length) if length < 10**6 else b""
                self.requests.append(head + body)
                await self.gate.wait()
                if not self.answer:
                    break
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def aim(endpoint: str, **changes: object) -> Aim:
    values: dict[str, object] = {
        "service": "s", "region": "r", "endpoint": endpoint, "model": "m", "inputs": INPUTS, "rps": RPS,
        "variation": 0.0, "seed": 3,
    }  # fmt: skip
    return Aim(**{**values, **changes})  # type: ignore[arg-type]  # fields by name


def tally_of(sender: traffic.Traffic) -> Tally:
    (tally,) = sender.obey(Count()).tallies
    return tally


async def sent_after(seconds: float, sender: traffic.Traffic) -> int:
    """How many requests were meant to start in that time."""
    before = tally_of(sender).sent
    await window(seconds)
    return tally_of(sender).sent - before


def check_open_loop(sent_flowing: int, sent_stalled: int, longest_ms: float, stall_s: float) -> None:
    """The rate is what it was, and those who waited counted their whole wait."""
    assert sent_stalled > 0.6 * sent_flowing, f"the rate dropped from {sent_flowing} to {sent_stalled}"
    assert longest_ms > 800 * stall_s, f"the longest latency is {longest_ms} ms"


def test_a_stalled_server_makes_latency_grow_and_not_the_rate_drop() -> None:
    async def go() -> None:
        async with Server() as server:
            sender = traffic.Traffic()
            sender.obey(aim(server.endpoint))
            flowing = await sent_after(1.0, sender)
            server.gate.clear()
            stalled = await sent_after(1.0, sender)
            server.gate.set()
            sender.obey(aim(server.endpoint, rps=0.0))
            await until(lambda: tally_of(sender).ok == tally_of(sender).sent)
            check_open_loop(flowing, stalled, tally_of(sender).max_ms, 1.0)

    asyncio.run(go())


def test_sabotage_a_closed_loop_is_caught() -> None:
    """The same check on a client that waits for each answer before it sends the next request."""

    async def go() -> None:
        async with Server() as server:
            sent = 0
            host, port = "127.0.0.1", int(server.endpoint.rpartition(":")[2])

            async def closed_loop() -> None:
                nonlocal sent
                connection = await connect(host, port)
                while True:
                    sent += 1
                    await connection.ask(bodies.request("h", "m", b"{}"))
                    await window(1 / RPS)

            task = asyncio.create_task(closed_loop())
            await window(1.0)
            flowing = sent
            server.gate.clear()
            await window(1.0)
            stalled = sent - flowing
            task.cancel()
            with pytest.raises(AssertionError, match="the rate dropped"):
                check_open_loop(flowing, stalled, 1000.0, 1.0)

    asyncio.run(go())


async def window(seconds: float) -> None:
    """A time over which something is counted."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)


async def until(condition: Callable[[], bool], deadline_s: float = 8.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            await window(0.02)


def run(work: Callable[[traffic.Traffic], Awaitable[None]]) -> None:
    async def go() -> None:
        await work(traffic.Traffic())

    asyncio.run(go())


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "http 503"), (b"", "reset"), (b"no http\r\n\r\n", "reset")],
)
def test_failures_are_counted_by_kind(answer: bytes, kind: str) -> None:
    async def go(sender: traffic.Traffic) -> None:
        async with Server(answer) as server:
            sender.obey(aim(server.endpoint))
            await until(lambda: tally_of(sender).failed.get(kind, 0) >= 10)
            sender.obey(aim(server.endpoint, rps=0.0))
            await until(lambda: tally_of(sender).sent == sum(tally_of(sender).failed.values()))
            assert tally_of(sender).ok == 0

    run(go)


def test_nobody_listens_is_refused_and_the_rate_holds() -> None:
    async def go(sender: traffic.Traffic) -> None:
        sender.obey(aim("http://127.0.0.1:9"))
        assert await sent_after(0.5, sender) > 0.3 * RPS
        assert set(tally_of(sender).failed) == {"refused"}

    run(go)


def test_no_answer_in_time_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "TIMEOUT_S", 0.2)

    async def go(sender: traffic.Traffic) -> None:
        async with Server() as server:
            server.gate.clear()
            sender.obey(aim(server.endpoint))
            await until(lambda: tally_of(sender).failed.get("timeout", 0) >= 5)
            server.gate.set()

    run(go)


def test_rate_follows_the_orders() -> None:
    async def go(sender: traffic.Traffic) -> None:
        async with Server() as server:
            sender.obey(aim(server.endpoint, rps=40.0))
            usual = await sent_after(1.0, sender)
            sender.obey(Pace(service="s", region="r", factor=5.0))
            await window(0.1)
            assert await sent_after(1.0, sender) > 2.5 * usual
            sender.obey(Pace(service="s", region="r", factor=0.0))
            await window(0.2)
            assert await sent_after(0.5, sender) == 0
            assert not sender.obey(Pace(service="other", region="r", factor=1.0)).ok

    run(go)


def test_kept_and_fresh_connections_and_both_kinds_of_body() -> None:
    async def go(sender: traffic.Traffic) -> None:
        async with Server() as server:
            sender.obey(aim(server.endpoint, binary=0.5, fresh=0.3))
            await until(lambda: tally_of(sender).ok >= 60)
            fresh = [request for request in server.requests if b"Connection: close" in request]
            binary = [request for request in server.requests if b"Inference-Header-Content-Length" in request]
            for some in (fresh, binary):
                assert 0.1 < len(some) / len(server.requests) < 0.8
            assert len(fresh) <= server.connections < len(server.requests)
            assert len(server.peers) > 1

    run(go)


def test_an_attack_comes_from_its_own_addresses_beside_the_traffic() -> None:
    async def go(sender: traffic.Traffic) -> None:
        async with Server(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n") as server:
            sender.obey(aim(server.endpoint, rps=0.0))
            sender.obey(Raid(service="s", region="r", rps=100.0, seed=1))
            await until(lambda: sum(tally_of(sender).hostile.values()) >= 20)
            sender.obey(Raid(service="s", region="r", rps=0.0))
            assert server.peers == set(ATTACKERS)
            assert tally_of(sender).sent == 0
            await window(0.2)
            before = len(server.requests)
            await window(0.3)
            assert len(server.requests) == before

    run(go)


def test_hostile_requests_are_of_every_kind() -> None:
    rng = random.Random(1)
    made = b"".join(hostile("h", "m", rng) for _ in range(40 * len(KINDS)))
    for sign in (b"etc/passwd", b"jndi", b"DROP", b"Transfer-Encoding", b"AAAA", b"[[["):
        assert sign in made


def test_json_body_is_what_the_protocol_wants() -> None:
    body = json.loads(bodies.json_body(INPUTS, random.Random(1), 2))
    first, second = body["inputs"]
    assert (first["datatype"], first["shape"], len(first["data"])) == ("FP32", [2, 4], 8)
    assert second["shape"] == [1, 3]
    assert all(0 <= value < 9 for value in second["data"])


def test_binary_body_says_where_its_tensors_are() -> None:
    body, length = bodies.binary_body(INPUTS, random.Random(1))
    head = json.loads(body[:length])
    sizes = [one["parameters"]["binary_data_size"] for one in head["inputs"]]
    assert sizes == [4 * 4, 3 * 8]
    assert len(body) == length + sum(sizes)


def test_orders_over_the_socket_and_its_end() -> None:
    with private_home() as home:
        path = home.root / "t.sock"
        process = subprocess.Popen([PYTHON, "-m", "nimify_tui.demo.traffic", str(path)], cwd=REPO)
        try:
            wait_for(path.exists, 10)
            assert path.stat().st_mode & 0o077 == 0
            talk = Talk(path)
            orders: list[Order] = [aim("http://127.0.0.1:9"), Count()]
            told = [talk.ask(order, Told) for order in orders]
            assert [one.ok for one in told] == [True, True]
            assert len(told[1].tallies) == 1
            process.terminate()
            assert process.wait(5) == 0
            assert not path.exists()
            talk.close()
        finally:
            process.kill()
            process.wait()
