"""Six regions that never rest: speaks the supervisor's side of domain/embedded.py and sends events at a rate.

The console that is measured finds these regions as it finds any other on this machine, and knows nothing of
being measured. Commands on stdin: ``go RATE HOT SECONDS`` sends RATE events a second, HOT of them about the
services whose name begins with "hot"; the answer is one JSON line. The end of stdin ends the program.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import msgspec

from nimify_tui.base.files import private_dir, runtime_home
from nimify_tui.base.process import boot_id, start_ticks
from nimify_tui.domain.embedded import (
    HEARTBEAT_S,
    Heartbeat,
    Hello,
    Listed,
    ReplicaEvent,
    Reply,
    Request,
    Watch,
)
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica, ReplicaState, Service

REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1")
SERVICES = 500
HOT_SERVICES = 25
REPLICAS = 2
SLICE_S = 0.01
_REQUESTS = msgspec.json.Decoder(Request)
_ENCODE = msgspec.json.Encoder().encode


def services(region: str) -> list[ServiceKey]:
    """All services of a region; the hot ones stand in one region each."""
    calm = [ServiceKey(region, f"calm-{number:03d}") for number in range(SERVICES)]
    here = REGIONS.index(region)
    hot = [ServiceKey(region, f"hot-{number:02d}") for number in range(HOT_SERVICES) if number % len(REGIONS) == here]
    return hot + calm


def service(key: ServiceKey, at: float) -> Service:
    """A service that stands as it is wanted."""
    return Service(
        key=key, uid=f"uid-{key.name}", family="ours", revision=1, desired_replicas=REPLICAS, generation=1,
        observed_generation=1, created_at=at, changed_at=at, endpoint="http://127.0.0.1:9", model_name=key.name,
    )  # fmt: skip


def replica(key: ReplicaKey, turn: int, at: float) -> Replica:
    """A replica after ``turn`` changes: each one shows in ready count, state, reason and restarts."""
    if turn % 2:
        return Replica(
            key=key, state=ReplicaState.NOT_READY, since=at, revision=1, pid=4711, run=turn, restarts=turn,
            reason=f"not ready {turn}", started_at=at,
        )  # fmt: skip
    return Replica(
        key=key, state=ReplicaState.READY, since=at, revision=1, pid=4711, run=turn + 1, restarts=turn, started_at=at
    )


class BusyRegion:
    """One region: its socket, who watches it, and its replicas' turns."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys = [ReplicaKey(each, f"r{number}") for each in services(name) for number in range(REPLICAS)]
        self.hot = [key for key in self.keys if key.service.name.startswith("hot-")]
        self.calm = [key for key in self.keys if key not in set(self.hot)]
        self.turns = dict.fromkeys(self.keys, 0)
        self.watchers: list[asyncio.StreamWriter] = []
        self._next = {True: 0, False: 0}

    async def serve(self) -> None:
        """Listen, and tell the machine about it."""
        folder = private_dir(runtime_home() / "s")
        path = folder / f"{hashlib.sha256(self.name.encode()).hexdigest()[:8]}.sock"
        await asyncio.start_unix_server(self._answer, path)
        path.chmod(0o600)
        facts = {
            "name": self.name, "socket": str(path), "pid": os.getpid(), "boot_id": boot_id(), "demo": True,
            "start_time_ticks": start_ticks(os.getpid()), "state_dir": str(folder),
        }  # fmt: skip
        announced = private_dir(runtime_home() / "regions") / f"{self.name}.json"
        announced.write_text(json.dumps(facts), encoding="utf-8")
        announced.chmod(0o600)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = _REQUESTS.decode(line)
            known = isinstance(request, Hello | Watch)
            reply = Reply(id=request.id, ok=known, error="" if known else "only watched", keeper_pid=os.getpid())
            writer.write(_ENCODE(reply) + b"\n")
            if isinstance(request, Watch):
                writer.write(_ENCODE(self._listed()) + b"\n")
                self.watchers.append(writer)
            await writer.drain()
        if writer in self.watchers:
            self.watchers.remove(writer)

    def _listed(self) -> Listed:
        at = time.time()
        return Listed(
            at=at,
            services=tuple(service(key, at) for key in services(self.name)),
            replicas=tuple(replica(key, turn, at) for key, turn in self.turns.items()),
            changes=(),
            demo=True,
        )

    def events(self, count: int, *, hot: bool) -> bytes:
        """The next ``count`` events, each about another replica in turn."""
        keys, at = (self.hot if hot else self.calm), time.time()
        lines = []
        for _ in range(count if keys else 0):
            key = keys[self._next[hot] % len(keys)]
            self._next[hot] += 1
            self.turns[key] += 1
            lines.append(_ENCODE(ReplicaEvent(at=at, key=key, replica=replica(key, self.turns[key], at))))
        return b"\n".join([*lines, b""])

    async def send(self, data: bytes) -> None:
        """Send to all who watch; a slow reader slows this down, and the rate that is reported."""
        for writer in self.watchers:
            writer.write(data)
            await writer.drain()

    async def beat(self) -> None:
        """A heartbeat each second, for ever."""
        while True:
            await self.send(_ENCODE(Heartbeat(at=time.time())) + b"\n")
            await asyncio.sleep(HEARTBEAT_S)


async def go(regions: list[BusyRegion], rate: int, hot: int, seconds: float) -> dict[str, float]:
    """Send for ``seconds`` and say how much it was."""
    started = time.monotonic()
    sent = hot_sent = 0
    while (elapsed := time.monotonic() - started) < seconds:
        due, hot_due = round(elapsed * rate) - sent, round(elapsed * hot) - hot_sent
        for region in regions:
            hot_share = round(hot_due * len(region.hot) / sum(len(each.hot) for each in regions))
            share = max(0, due // len(regions) - hot_share)
            await region.send(region.events(hot_share, hot=True) + region.events(share, hot=False))
            sent += hot_share + share
            hot_sent += hot_share
        left = SLICE_S - (time.monotonic() - started - elapsed)
        await asyncio.sleep(max(0, left))
    return {"sent": sent, "hot": hot_sent, "seconds": round(time.monotonic() - started, 2)}


async def main() -> None:
    """Serve all regions; obey stdin."""
    regions = [BusyRegion(name) for name in REGIONS]
    for region in regions:
        await region.serve()
    beats = [asyncio.create_task(region.beat()) for region in regions]
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    print("ready", flush=True)
    while line := await stdin.readline():
        _, rate, hot, seconds = line.split()
        print(json.dumps(await go(regions, int(rate), int(hot), float(seconds))), flush=True)
    for beat in beats:
        beat.cancel()


if __name__ == "__main__":
    Path(os.environ["XDG_RUNTIME_DIR"]).mkdir(exist_ok=True)
    asyncio.run(main())
