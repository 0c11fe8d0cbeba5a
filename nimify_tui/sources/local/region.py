"""An embedded region as a source: connects to its supervisor, keeps watching, and says when it cannot."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from nimify_tui.backends.local import Attachment, LocalBackend
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.retry import Backoff
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.embedded import (
    HEARTBEAT_S,
    ChangeEvent,
    Event,
    Heartbeat,
    Listed,
    ReplicaEvent,
    SecurityFound,
    ServiceEvent,
)
from nimify_tui.domain.regions import Region, RegionHealth, RegionState
from nimify_tui.domain.updates import (
    Changed,
    RegionListed,
    RegionSeen,
    ReplicaGone,
    ReplicaSeen,
    SecuritySeen,
    ServiceGone,
    ServiceSeen,
    Update,
)

Sink = Callable[[Sequence[Update]], None]
#: So many heartbeats may fail to come before the region is DOWN.
MISSED_BEATS = 3
#: The longest wait between two tries: it is this machine, a try costs nothing.
_RETRY_CAP_S = 5.0


class EmbeddedSource:
    """Turns what a supervisor tells into updates, for ever."""

    def __init__(
        self, region: Region, backend: LocalBackend, clock: Clock, rng: random.Random | None = None
    ) -> None:
        self._region = region
        self._backend = backend
        self._clock = clock
        self._backoff = Backoff(0.25, _RETRY_CAP_S, rng)
        self._state = RegionState.CONNECTING
        self._since = clock.now()
        self._last_contact_at: float | None = None
        self._lost_at: float | None = None
        self._keeper = ""

    async def run(self, sink: Sink) -> None:
        """Watch until cancelled; a supervisor that is not there is a state of the region, never an error."""
        sink([self._seen(RegionState.CONNECTING, f"connecting to {self._region.address}")])
        while True:
            try:
                attachment = await self._backend.watch()
                try:
                    await self._follow(attachment, sink)
                finally:
                    attachment.close()
            except NimifyError as error:
                wait_s = self._backoff.next_s()
                sink(self._lost(error, wait_s))
                await asyncio.sleep(wait_s)

    async def _follow(self, attachment: Attachment, sink: Sink) -> None:
        self._keeper = attachment.keeper
        while True:
            events = await attachment.events(MISSED_BEATS * HEARTBEAT_S)
            self._last_contact_at = self._clock.now()
            updates: list[Update] = []
            for event in events:
                updates += self._updates(event)
            sink(updates)

    def _updates(self, event: Event) -> Sequence[Update]:
        match event:
            case ReplicaEvent():
                replica = event.replica
                return [ReplicaSeen(event.at, replica) if replica else ReplicaGone(event.at, event.key)]
            case ServiceEvent():
                service = event.service
                return [ServiceSeen(event.at, service) if service else ServiceGone(event.at, event.key)]
            case ChangeEvent():
                return [Changed(event.at, event.change)]
            case SecurityFound():
                return [SecuritySeen(event.at, event.event)]
            case Heartbeat():
                return [self._seen(RegionState.LIVE)]
            case Listed():
                return self._listed(event)

    def _listed(self, listed: Listed) -> Sequence[Update]:
        self._backoff.reset()
        updates: list[Update] = [
            self._seen(RegionState.LIVE),
            RegionListed(listed.at, self._region.name, listed.services, listed.replicas),
        ]
        updates += [Changed(change.at, change) for change in listed.changes]
        if self._lost_at is not None:
            now = self._clock.now()
            text = f"contact with {self._region.name} is back after {now - self._lost_at:.0f} s"
            updates.append(self._changed(now, text, self._keeper, "back"))
            self._lost_at = None
        return updates

    def _lost(self, error: NimifyError, wait_s: float) -> Sequence[Update]:
        now = self._clock.now()
        cause = f"no contact from this host ({error.message})"
        updates: list[Update] = [self._seen(RegionState.DOWN, cause, error.remedy, now + wait_s)]
        if self._last_contact_at is not None and self._lost_at is None:
            self._lost_at = self._last_contact_at
            text = f"no contact with {self._region.name} ({error.message})"
            updates.append(self._changed(self._lost_at, text, self._keeper, "lost"))
        return updates

    def _changed(self, at: float, text: str, evidence: str, word: str) -> Changed:
        name = self._region.name
        change = Change(
            id=f"{name}-{word}-{at:.3f}", at=at, kind=ChangeKind.REGION, region=name, key=None, text=text,
            evidence=evidence, source="this console",
        )  # fmt: skip
        return Changed(at, change)

    def _seen(
        self, state: RegionState, cause: str = "", remedy: str = "", next_try_at: float | None = None
    ) -> RegionSeen:
        now = self._clock.now()
        if state is not self._state:
            self._state, self._since = state, now
        health = RegionHealth(
            state=state, since=self._since, cause=cause, remedy=remedy, last_contact_at=self._last_contact_at,
            next_try_at=next_try_at, keeper=self._keeper,
        )  # fmt: skip
        return RegionSeen(now, self._region, health)
