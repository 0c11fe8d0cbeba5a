"""A client of one supervisor, over the same wire as everybody's: mirrors a region and asks for changes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec

from nimify_tui.base.errors import ClusterError, DeadlineError, NetworkError
from nimify_tui.domain.embedded import (
    FromSupervisor,
    Hello,
    Leave,
    Listed,
    ReplicaEvent,
    Reply,
    Request,
    ServiceEvent,
    Watch,
)
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.services import Replica, ReplicaState, Service

#: The longest line a supervisor may send (everything it has).
MAX_LINE_BYTES = 32 * 1024 * 1024
ANSWER_S = 15.0


def leave(actor: str, reason: str) -> Leave:
    """Leave for one change in the demo's own regions."""
    number = uuid.uuid4().hex[:12]
    return Leave(permit_id=f"demo-{number}", plan_id=f"demo-{number}", actor=actor, reason=reason)


async def connected(
    socket: Path, whose: str, deadline_s: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a unix socket that may not be there yet. Raises DeadlineError."""
    end_s = asyncio.get_running_loop().time() + deadline_s
    while True:
        try:
            return await asyncio.open_unix_connection(socket, limit=MAX_LINE_BYTES)
        except OSError as error:
            if asyncio.get_running_loop().time() > end_s:
                raise DeadlineError(f"{whose} does not listen at {socket}") from error
            await asyncio.sleep(0.03)


class Wire:
    """One region as its supervisor tells it. Use after :meth:`open`."""

    def __init__(self, region: str, socket: Path) -> None:
        self.region = region
        self.keeper_pid = 0
        self.services: dict[str, Service] = {}
        self.replicas: dict[ReplicaKey, Replica] = {}
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Reply]] = {}
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, deadline_s: float = 20.0) -> None:
        """Connect and watch. Raises DeadlineError when nobody listens in time."""
        reader, self._writer = await connected(self._socket, f"the supervisor of {self.region}", deadline_s)
        self._reader = asyncio.create_task(self._read(reader))
        hello = await self.ask(Hello(id=0, client=f"nimify-tui demo pid {os.getpid()}"))
        self.keeper_pid = hello.keeper_pid
        await self.ask(Watch(id=0))

    async def ask(self, request: Request) -> Reply:
        """Send a request (its id is filled in). Raises ClusterError when refused, NetworkError, DeadlineError."""
        if self._writer is None or self._writer.is_closing():
            raise NetworkError(f"no connection to the supervisor of {self.region}")
        number = next(self._numbers)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._writer.write(msgspec.json.encode(msgspec.structs.replace(request, id=number)) + b"\n")
        try:
            async with asyncio.timeout(ANSWER_S):
                reply = await answer
        except TimeoutError as error:
            raise DeadlineError(f"the supervisor of {self.region} did not answer") from error
        finally:
            del self._answers[number]
        if not reply.ok:
            raise ClusterError(f"{self.region}: {reply.error}", reply.remedy)
        return reply

    def of_service(self, name: str) -> list[Replica]:
        """The replicas of a service that have a process, by name."""
        found = [one for key, one in self.replicas.items() if key.service.name == name and one.pid is not None]
        return sorted(found, key=lambda one: one.key.replica)

    def ready(self, name: str) -> list[Replica]:
        """Those of them that are ready."""
        return [one for one in self.of_service(name) if one.state is ReplicaState.READY]

    async def until(self, condition: Callable[[], bool], deadline_s: float) -> bool:
        """Wait until ``condition()`` holds; False when time ran out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        return condition()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = msgspec.json.Decoder(FromSupervisor)
        try:
            while line := await reader.readline():
                self._take(decoder.decode(line))
        except OSError:
            pass  # told below, like an end of the stream
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(NetworkError(f"the supervisor of {self.region} is gone"))

    def _take(self, told: FromSupervisor) -> None:
        if isinstance(told, Reply):
            answer = self._answers.get(told.id)
            if answer is not None and not answer.done():
                answer.set_result(told)
            return
        if isinstance(told, Listed):
            self.services = {one.key.name: one for one in told.services}
            self.replicas = {one.key: one for one in told.replicas}
        elif isinstance(told, ServiceEvent):
            if told.service is None:
                self.services.pop(told.key.name, None)
            else:
                self.services[told.key.name] = told.service
        elif isinstance(told, ReplicaEvent):
            if told.replica is None:
                self.replicas.pop(told.key, None)
            else:
                self.replicas[told.key] = told.replica
        self._changed.set()
