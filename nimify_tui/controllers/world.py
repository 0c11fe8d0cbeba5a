"""What a controller needs of the outside: the world as it is seen, and word that it changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, DiffLine, Permit, Plan, Precondition
from nimify_tui.domain.regions import Region, RegionHealth
from nimify_tui.domain.services import Replica, Service


class World(Protocol):
    """The newest facts. All but :meth:`changed` answer at once from memory."""

    def region(self, name: str) -> tuple[Region, RegionHealth] | None:
        """A region and how it is seen; None when it is not known."""
        ...

    def service(self, key: ServiceKey) -> Service | None:
        """A service; None when its region does not have it (or is not seen)."""
        ...

    def replicas(self, key: ServiceKey) -> Sequence[Replica]:
        """The replicas of a service, ended ones included."""
        ...

    async def changed(self, timeout_s: float) -> None:
        """Return when something may have changed, at the latest after ``timeout_s`` seconds."""
        ...


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of one target. ``facts`` are (label, text) without the undo, which the desk words.

    ``no_undo`` says why there is no ``undo``. ``nothing_to_do`` is set (in words) when the target is
    already as wanted.
    """

    part: ActionRequest
    precondition: Precondition
    facts: tuple[tuple[str, str], ...] = ()
    diff: tuple[DiffLine, ...] = ()
    destructive: bool = False
    undo: ActionRequest | None = None
    no_undo: str = ""
    nothing_to_do: str = ""
    #: How often the region may be asked for this part, attempts that it refused as outdated included.
    calls: int = 1
    #: What has to be known of the ``undo``, beyond what it does.
    undo_note: str = ""
    #: Why this cannot be carried out as it is, and what helps; the rest of the plan can still be read.
    obstacle: str = ""
    obstacle_remedy: str = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What the region answered to a change: the generation that has to become true.

    ``deadline_s`` is how long that may take; 0: as the desk thinks.
    """

    generation: int
    uid: str
    deadline_s: float = 0.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How far a target is: RUNNING, OK, FAILED or UNKNOWN, in words and in numbers."""

    state: ActionState
    text: str
    done: int = 0
    total: int = 0


#: (what is going on, how many are done, of how many)
Say = Callable[[str, int, int], None]


def quiet(_text: str, _done: int, _total: int) -> None:
    """Nobody is told."""


class Controller(Protocol):
    """Plans and carries out for one kind of region; knows nothing of permits beyond passing them on."""

    async def draft(self, part: ActionRequest, key: ServiceKey, world: World) -> Draft:
        """The plan of ``part`` for ``key`` in the world as it is. Raises ValidationError, ClusterError."""
        ...

    async def send(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, permit: Permit, say: Say = quiet
    ) -> Receipt:
        """Ask the region for the change, once; ``say`` is told of steps where that takes its time.

        Raises GateRefused, ValidationError or ClusterError when it said no; NetworkError or
        DeadlineError when it cannot be told whether it was done.
        """
        ...

    async def standing(
        self, plan: Plan, part: ActionRequest, key: ServiceKey, receipt: Receipt, world: World
    ) -> Standing:
        """How far the change with ``receipt`` is in the world as it is."""
        ...

    async def reality(self, plan: Plan, part: ActionRequest, key: ServiceKey, world: World) -> Standing:
        """Whether ``part`` of a plan of which no end is known was done; asks for nothing but a look.

        Raises NetworkError when the region cannot be looked at.
        """
        ...
