"""Open-loop traffic in a process of its own (``python -m nimify_tui.demo.traffic SOCKET``).

Every request has an intended start that no answer can delay; its latency counts from there, so a
server that stalls shows as latency and never as a lower rate (coordinated omission). Arrivals are
a Poisson process whose rate swings gently. Some requests use kept connections, some new ones.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
import os
import random
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from nimify_tui.demo import bodies
from nimify_tui.demo.client import Connection, connect
from nimify_tui.demo.hostile import ATTACKERS, hostile
from nimify_tui.demo.orders import Aim, Count, Order, Pace, Raid, Tally, Told

TIMEOUT_S = 10.0
#: A kept connection that was idle for longer is not used again; servers close theirs after some 5 s.
MAX_IDLE_S = 3.0
#: More connections to one service are not opened; requests wait for one, and their latency says so.
MAX_CONNECTIONS = 64
#: Latency buckets: ``_FIRST_MS * _STEP ** n``.
_FIRST_MS, _STEP = 0.05, 1.1
#: The swing of the rate, seconds.
SWING_S = 47.0
#: Clients of a service have this many addresses.
CLIENTS = 4


@dataclass
class Stream:
    """The requests to one service in one region."""

    aim: Aim
    number: int
    factor: float = 1.0
    sent: int = 0
    ok: int = 0
    failed: collections.Counter[str] = field(default_factory=collections.Counter)
    hostile: collections.Counter[str] = field(default_factory=collections.Counter)
    buckets: collections.Counter[int] = field(default_factory=collections.Counter)
    max_ms: float = 0.0
    idle: list[Connection] = field(default_factory=list)
    #: The loops that make the arrivals.
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.aim.seed}/{self.aim.service}/{self.aim.region}")
        self.slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._prepare()

    def _prepare(self) -> None:
        aim = self.aim
        parts = urlsplit(aim.endpoint)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.requests: dict[tuple[bool, bool], list[bytes]] = {}
        for close in (False, True):
            plain = [bodies.json_body(aim.inputs, self.rng, aim.batch) for _ in range(bodies.VARIANTS)]
            packed = [bodies.binary_body(aim.inputs, self.rng, aim.batch) for _ in range(bodies.VARIANTS)]
            self.requests[False, close] = [
                bodies.request(parts.netloc, aim.model, body, close=close) for body in plain
            ]
            self.requests[True, close] = [
                bodies.request(parts.netloc, aim.model, body, json_bytes=size, close=close) for body, size in packed
            ]

    def turn_to(self, aim: Aim) -> None:
        """Another rate, address or kind of body from now on; the counts go on."""
        before, self.aim = self.aim, aim
        if aim.endpoint != before.endpoint:
            while self.idle:
                self.idle.pop().close()
        if aim != msgspec.structs.replace(before, rps=aim.rps, variation=aim.variation):
            self._prepare()

    def rate_rps(self, now_s: float) -> float:
        """The wanted rate at this moment."""
        swing = math.sin(2 * math.pi * (now_s / SWING_S + self.number / 7))
        return self.aim.rps * self.factor * (1 + self.aim.variation * swing)

    def client(self) -> str:
        """The address that a new connection comes from."""
        return f"127.10.{self.number % 250}.{1 + self.rng.randrange(CLIENTS)}"

    def tally(self) -> Tally:
        """The counts so far."""
        return Tally(
            service=self.aim.service, region=self.aim.region, sent=self.sent, ok=self.ok, failed=dict(self.failed),
            p50_ms=self._quantile(0.5), p95_ms=self._quantile(0.95), max_ms=round(self.max_ms, 3),
            hostile=dict(self.hostile),
        )  # fmt: skip

    def note_latency(self, ms: float) -> None:
        """An answered request took ``ms`` from its intended start."""
        self.max_ms = max(self.max_ms, ms)
        self.buckets[max(0, math.ceil(math.log(max(ms, _FIRST_MS) / _FIRST_MS, _STEP)))] += 1

    def _quantile(self, share: float) -> float | None:
        left = share * self.buckets.total()
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                return float(round(_FIRST_MS * _STEP**bucket, 3))
        return None


class Traffic:
    """All streams, and the orders that change them."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], Stream] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def obey(self, order: Order) -> Told:
        """Carry out an order."""
        if isinstance(order, Count):
            return Told(ok=True, tallies=tuple(stream.tally() for stream in self._streams.values()))
        stream = self._streams.get((order.service, order.region))
        if isinstance(order, Aim):
            if stream is None:
                stream = Stream(order, len(self._streams))
                self._streams[order.service, order.region] = stream
                self._begin(stream, "arrivals", self._arrivals(stream))
            stream.turn_to(order)
        elif stream is None:
            return Told(ok=False, error=f"no traffic for {order.service} in {order.region}")
        elif isinstance(order, Pace):
            stream.factor = max(0.0, order.factor)
        else:
            self._raid(stream, order)
        return Told(ok=True)

    def _raid(self, stream: Stream, order: Raid) -> None:
        running = stream.tasks.pop("raid", None)
        if running is not None:
            running.cancel()
        if order.rps > 0:
            self._begin(stream, "raid", self._attack(stream, order))

    def _begin(self, stream: Stream, name: str, work: Coroutine[Any, Any, None]) -> None:
        stream.tasks[name] = self._loop.create_task(work)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _arrivals(self, stream: Stream) -> None:
        due_s = self._loop.time()
        while True:
            rate = stream.rate_rps(due_s)
            if rate <= 0:
                await asyncio.sleep(0.1)
                due_s = self._loop.time()
                continue
            due_s += min(stream.rng.expovariate(rate), 5.0)
            await asyncio.sleep(due_s - self._loop.time())  # late: not at all, so nothing is left out
            stream.sent += 1
            self._spawn(self._one(stream, due_s))

    async def _one(self, stream: Stream, due_s: float) -> None:
        fresh = stream.rng.random() < stream.aim.fresh
        request = stream.rng.choice(stream.requests[stream.rng.random() < stream.aim.binary, fresh])
        try:
            async with asyncio.timeout_at(due_s + TIMEOUT_S), stream.slots:
                status = await self._exchange(stream, request, fresh)
        except TimeoutError:
            stream.failed["timeout"] += 1
        except ConnectionRefusedError:
            stream.failed["refused"] += 1
        except (ConnectionError, OSError):
            stream.failed["reset"] += 1
        else:
            stream.note_latency(1000 * (self._loop.time() - due_s))
            if status == 200:
                stream.ok += 1
            else:
                stream.failed[f"http {status}"] += 1

    async def _exchange(self, stream: Stream, request: bytes, fresh: bool) -> int:
        connection = None if fresh else self._kept(stream)
        if connection is None:
            connection = await connect(stream.host, stream.port, stream.client())
        kept = False
        try:
            status = await connection.ask(request)
            kept = connection.open and not fresh
            return status
        finally:
            if kept:
                connection.idle_since_s = self._loop.time()
                stream.idle.append(connection)
            else:
                connection.close()

    def _kept(self, stream: Stream) -> Connection | None:
        oldest_s = self._loop.time() - MAX_IDLE_S
        while stream.idle:
            connection = stream.idle.pop()
            if connection.open and connection.idle_since_s > oldest_s:
                return connection
            connection.close()
        return None

    async def _attack(self, stream: Stream, order: Raid) -> None:
        rng = random.Random(order.seed)
        due_s = self._loop.time()
        while True:
            due_s += rng.expovariate(order.rps)
            await asyncio.sleep(due_s - self._loop.time())
            request = hostile(f"{stream.host}:{stream.port}", stream.aim.model, rng)
            self._spawn(self._one_hostile(stream, request, rng.choice(ATTACKERS)))

    async def _one_hostile(self, stream: Stream, request: bytes, client: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                connection = await connect(stream.host, stream.port, client)
                try:
                    status = await connection.ask(request)
                finally:
                    connection.close()
        except TimeoutError:
            stream.hostile["timeout"] += 1
        except OSError:
            stream.hostile["closed"] += 1
        else:
            stream.hostile[f"http {status}"] += 1


async def serve(path: Path, parent: int) -> None:
    """Take orders at ``path`` until SIGTERM, or until ``parent`` is no longer our parent."""
    traffic, stop = Traffic(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    decoder = msgspec.json.Decoder(Order)

    talking: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking.add(writer)
        with contextlib.closing(writer):
            while line := await reader.readline():
                try:
                    told = traffic.obey(decoder.decode(line))
                except msgspec.DecodeError as error:
                    told = Told(ok=False, error=str(error))
                writer.write(msgspec.json.encode(told) + b"\n")
                await writer.drain()
        talking.discard(writer)

    server = await asyncio.start_unix_server(talk, path, limit=1024 * 1024)
    try:
        while os.getppid() == parent and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await stop.wait()
    finally:
        server.close()
        for writer in list(talking):
            writer.close()
        await asyncio.sleep(0)  # the talks end by themselves, not by being cancelled


def main(argv: list[str]) -> int:
    """Process entry: ``SOCKET``."""
    os.umask(0o077)  # the socket is for this user alone
    path = Path(argv[0])
    try:
        asyncio.run(serve(path, os.getppid()))
    finally:
        path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
