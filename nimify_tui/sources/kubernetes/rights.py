"""What may be done to the services that somebody looks at: asked once for each look, never from idle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

from nimify_tui.backends.kubernetes.rights import Access, Review, needed, needed_on_pods
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.domain.demands import Demands, RightsDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import Rights, Verb
from nimify_tui.domain.updates import RightsSeen, Update
from nimify_tui.sources.waking import Wake

#: An answer holds so long for the next look, seconds; a plan asks anew in any case.
HOLDS_S = 300.0
#: A service whose region is not connected yet is looked at again after this, seconds; nothing is sent meanwhile.
AGAIN_S = 1.0
#: Verbs whose rights differ; the others go with RESTART (a patch of the workload).
_ASKED = (Verb.RESTART, Verb.SCALE, Verb.DELETE)
_LIKE_RESTART = (Verb.ROLLBACK, Verb.STOP, Verb.START, Verb.PAUSE, Verb.RESUME, Verb.SET_IMAGE)
_OF_PODS = (Verb.DELETE, Verb.SHELL, Verb.DEBUG, Verb.FORWARD)
_KEPT = 1_000


class Asking(Protocol):
    """The open connection of a region."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        ...

    async def may(self, access: Access) -> Review:
        """Ask for a right."""
        ...


class RightsSource:
    """Answers every RightsDemand in a cluster.

    ``link`` finds a region's connection, ``kind`` a service's kind of workload ("" while it is not seen);
    ``may_change`` says whether the gate is open for a region: where it is not, nothing needs to be asked.
    """

    def __init__(
        self,
        fleet: Demands,
        link: Callable[[str], Asking | None],
        kind: Callable[[ServiceKey], str],
        may_change: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self._fleet, self._link, self._kind, self._may_change, self._clock = fleet, link, kind, may_change, clock
        self._known: dict[tuple[str, Access], tuple[float, Review]] = {}
        self._looked_at: frozenset[RightsDemand] = frozenset()
        self._waiting: set[RightsDemand] = set()

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Answer until cancelled."""
        wake = Wake(self._fleet, lambda demand: isinstance(demand, RightsDemand))
        async with asyncio.TaskGroup() as group:
            while True:
                for demand in self._due():
                    group.create_task(self._answer(demand, sink), name=f"rights: {demand.key.row_id}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_S if self._waiting else None):
                        await wake.wait()

    def _due(self) -> list[RightsDemand]:
        """What came under somebody's eyes since the last call and can be asked now."""
        looked_at = frozenset(each for each in self._fleet.demands() if isinstance(each, RightsDemand))
        new = looked_at - self._looked_at
        self._looked_at = looked_at
        waiting = (self._waiting | new) & looked_at
        self._waiting = {each for each in waiting if self._may_change(each.key.region)}
        due = [
            each for each in self._waiting if self._kind(each.key) and self._open(each.key.region) is not None
        ]
        self._waiting.difference_update(due)
        return due

    def _open(self, region: str) -> Asking | None:
        link = self._link(region)
        return link if link is not None and link.is_open else None

    async def _answer(self, demand: RightsDemand, sink: Callable[[Sequence[Update]], None]) -> None:
        key = demand.key
        refused: dict[Verb, str] = {}
        pods: dict[Verb, str] = {}
        unknown = ""
        try:
            for verb in _ASKED:
                access = needed(self._kind(key), verb, key.namespace)
                if access is None or await self._allowed(key, access):
                    continue
                for each in (verb, *(_LIKE_RESTART if verb is Verb.RESTART else ())):
                    refused[each] = str(access)
            for verb in _OF_PODS if demand.pods else ():
                for access in needed_on_pods(verb, key.namespace):
                    if verb not in pods and not (await self._review(key.region, access)).allowed:
                        pods[verb] = str(access)
        except NimifyError as error:
            refused, pods, unknown = {}, {}, error.message
        now = self._clock.now()
        sink([RightsSeen(now, key, Rights(at=now, refused=refused, unknown=unknown, pods=pods))])

    async def _allowed(self, key: ServiceKey, access: Access) -> bool:
        """Whether on all of the namespace, or on this one by its name."""
        if (await self._review(key.region, access)).allowed:
            return True
        name = key.name.removesuffix(f".{self._kind(key).lower()}")
        return (await self._review(key.region, Access(**{**vars(access), "name": name}))).allowed

    async def _review(self, region: str, access: Access) -> Review:
        now = self._clock.mono_s()
        known = self._known.get((region, access))
        if known is not None and now - known[0] < HOLDS_S:
            return known[1]
        link = self._open(region)
        if link is None:
            raise NimifyError(f"region {region} has no connection")
        review = await link.may(access)
        while len(self._known) >= _KEPT:
            self._known.pop(next(iter(self._known)))
        self._known[(region, access)] = (now, review)
        return review
