"""What it takes to enter a replica: a door for each kind of region, behind it a command with a terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Permit, Plan, Precondition
from nimify_tui.domain.services import Service

#: What is run for a shell, by sh: bash where there is one.
SHELL = "command -v bash >/dev/null && exec bash || exec sh"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a plan that the kind of region knows; ``calls`` as :attr:`Plan.calls` counts them."""

    facts: tuple[tuple[str, str], ...]
    precondition: Precondition
    calls: int = 0


class Command(Protocol):
    """A command that runs in a replica, with a terminal."""

    #: How it ended: the exit code, None while it runs, and when that was not told (``trouble`` says why).
    exit_code: int | None
    trouble: str

    def output(self) -> AsyncIterator[bytes]:
        """What it writes, until it ends; then ``exit_code`` or ``trouble`` is set."""
        ...

    async def type(self, data: bytes) -> None:
        """Keys for it."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size."""
        ...

    async def close(self) -> None:
        """Leave; what runs there is hung up."""
        ...


class Door(Protocol):
    """The way into the replicas of one kind of region."""

    async def entry(self, request: ActionRequest, key: ServiceKey, service: Service) -> Entry:
        """What a plan says of it; opens nothing.

        Raises ValidationError for what makes no sense there, GateRefused where a right is missing, NetworkError.
        """
        ...

    def ready(self, region: str) -> None:
        """Raises NetworkError while there is no contact with the region."""
        ...

    async def command(self, plan: Plan, permit: Permit) -> Command:
        """Run the shell that was planned. Raises GateRefused, ClusterError, NetworkError."""
        ...

    def may_be_open(self, plan: Plan, error: NimifyError) -> bool:
        """Whether something may have been left behind all the same when :meth:`command` raised ``error``."""
        ...

    def left_open(self, plan: Plan) -> str:
        """What is so of a shell whose console ended with it."""
        ...
