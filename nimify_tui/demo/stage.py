"""What a scenario may do, and the record of what it did: processes, traffic, the wire; nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from nimify_tui.base.errors import ClusterError
from nimify_tui.demo.cast import Part
from nimify_tui.demo.menu import Dish
from nimify_tui.demo.orders import Aim, Order, Told
from nimify_tui.demo.wire import Wire, connected
from nimify_tui.domain.services import Replica


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What really happened, for tests alone: a line of ``ground-truth.jsonl``.

    ``service`` is "" when a whole region is meant. ``kind`` is the kind of change that explains it
    (a word of ``domain.changes.ChangeKind``), ``cause`` says it in words. Times are unix seconds.
    """

    scenario: str
    seed: int
    service: str
    region: str
    kind: str
    cause: str
    onset_at: float


class TrafficLine:
    """Orders to the traffic process over its socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def tell(self, order: Order, deadline_s: float = 10.0) -> Told:
        """Give an order. Raises ClusterError when it is refused, DeadlineError when nobody listens."""
        async with self._turn:
            if self._streams is None:
                self._streams = await connected(self._socket, "the traffic", deadline_s)
            reader, writer = self._streams
            writer.write(msgspec.json.encode(order) + b"\n")
            told = msgspec.json.decode(await reader.readline(), type=Told)
        if not told.ok:
            raise ClusterError(f"traffic: {told.error}")
        return told

@dataclass
class Stage:
    """The running fleet as a scenario sees it."""

    parts: Sequence[Part]
    wires: Mapping[str, Wire]
    traffic: TrafficLine
    menu: Mapping[str, Dish]
    models: Path
    truth_path: Path
    aims: dict[tuple[str, str], Aim] = field(default_factory=dict)

    def wire(self, part: Part) -> Wire:
        """The supervisor of the part's region."""
        return self.wires[part.region]

    def replicas(self, part: Part) -> list[Replica]:
        """Its replicas that have a process."""
        return self.wire(part).of_service(part.service)

    def victim(self, part: Part) -> str:
        """The replica that something happens to. Raises ClusterError when there is none."""
        replicas = self.replicas(part)
        if not replicas:
            raise ClusterError(f"{part.service} has no replica in {part.region}")
        return replicas[0].key.replica

    async def aim(self, part: Part, **changes: object) -> None:
        """Turn the part's traffic; without changes as it was in the beginning."""
        aim = self.aims[part.service, part.region]
        await self.traffic.tell(msgspec.structs.replace(aim, **changes))

    def send(self, replica: Replica, number: signal.Signals) -> bool:
        """Send a signal to a replica's process; False when it is gone."""
        if replica.pid is None:
            return False
        try:
            handle = os.pidfd_open(replica.pid)
        except ProcessLookupError:
            return False
        try:
            # The pidfd is of whoever has the pid now; its command line says whether that is the replica.
            words = Path(f"/proc/{replica.pid}/cmdline").read_bytes().split(b"\0")
            if replica.key.service.name.encode() not in words:
                return False
            signal.pidfd_send_signal(handle, number)
            return True
        except OSError:
            return False
        finally:
            os.close(handle)

    def write_truth(self, truth: Truth) -> None:
        """Append to the ground truth; on the disk at once, so that a test that polls sees whole lines."""
        handle = os.open(self.truth_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, msgspec.json.encode(truth) + b"\n")
        finally:
            os.close(handle)


@dataclass
class Run:
    """One run of one scenario: where, how long, and what it reports."""

    stage: Stage
    scenario: str
    seed: int
    target: Part
    lasts_s: float
    healed: asyncio.Event = field(default_factory=asyncio.Event)
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    truth: Truth | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.scenario}/{self.seed}/run")

    def strike(self, kind: str, cause: str, *, whole_region: bool = False, at: float | None = None) -> None:
        """It has just happened: the onset."""
        self.truth = Truth(
            scenario=self.scenario,
            seed=self.seed,
            service="" if whole_region else self.target.service,
            region=self.target.region,
            kind=kind,
            cause=cause,
            onset_at=time.time() if at is None else at,
        )
        self.stage.write_truth(self.truth)
        self.struck.set()

    async def lasts(self) -> None:
        """Wait until the scenario's time is over, or it is told to heal."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.lasts_s):
                await self.healed.wait()

    async def beats(self, every_s: float) -> AsyncIterator[int]:
        """0, 1, 2 ... every so often until the scenario's time is over."""
        loop = asyncio.get_running_loop()
        end_s, count = loop.time() + self.lasts_s, 0
        while loop.time() < end_s and not self.healed.is_set():
            yield count
            count += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self.healed.wait()


@dataclass(frozen=True)
class Scenario:
    """A row of the table: its name, one line for people, where it may happen, and what it does.

    ``play`` strikes, lasts and heals; it heals also when it is cancelled or an action fails.
    """

    name: str
    story: str
    fits: Callable[[Part], bool]
    play: Callable[[Run], Coroutine[Any, Any, None]]

    def targets(self, parts: Sequence[Part]) -> list[Part]:
        """Where it may happen."""
        return sorted(
            (part for part in parts if not part.stopped and self.fits(part)), key=lambda one: (one.region, one.service)
        )
