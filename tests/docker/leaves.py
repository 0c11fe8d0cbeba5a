"""What the tests of Docker's actions share: an open connection, and the leave of a real gate."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.place import place_of
from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.clock import ManualClock
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Plan, Precondition, Verb
from nimify_tui.domain.regions import Region, RegionKind
from nimify_tui.gate.gate import Gate
from nimify_tui.gate.journal import Journal
from nimify_tui.gate.policy import GatePolicy
from tests.docker.engine import Engine

T = TypeVar("T")
REGION = Region(
    name="dock", kind=RegionKind.DOCKER, address="", short="dock", read_write=True, production=False
)


class Leaves:
    """A real gate that has said yes."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        folder.mkdir(parents=True, exist_ok=True)
        places = AuditPlaces(folder / "audit", folder / "key", folder / "anchor")
        journal = Journal(AuditLog(places, self.clock), self.clock)
        self.gate = Gate(
            GatePolicy(max_changes_per_minute=1000), lambda _: REGION, journal, self.clock, "ops@host"
        )
        self._numbers = itertools.count(1)

    def leave(self, calls: int, verb: Verb = Verb.CREATE, name: str = "digits") -> Leave:
        """The leave to ask an engine ``calls`` times."""
        key = ServiceKey(REGION.name, name)
        plan = Plan(
            id=f"plan-{next(self._numbers)}", request=ActionRequest(verb=verb, targets=(key,)),
            summary="a test's", facts=(), diff=(), preconditions=(Precondition(key, "", 0),), production=False,
            created_at=self.clock.now(), expires_at=self.clock.now() + 600, calls=calls,
        )  # fmt: skip
        return Leave(self.gate.authorise(plan, "y"), plan, self.gate.verify)


@contextlib.asynccontextmanager
async def connected(engine: Engine) -> AsyncGenerator[Connection]:
    """An open connection to ``engine`` that has agreed on a version."""
    connection = Connection(place_of(engine.url, "", {}))
    await connection.open()
    try:
        await connection.hello()
        yield connection
    finally:
        await connection.close()


def acting(engine: Engine, work: Callable[[Connection], Awaitable[T]], deadline_s: float = 240.0) -> T:
    """Run ``work`` with a connection, to its end."""

    async def whole() -> T:
        async with asyncio.timeout(deadline_s), connected(engine) as connection:
            return await work(connection)

    return asyncio.run(whole())
