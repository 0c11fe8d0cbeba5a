"""Asks each Alertmanager for its alerts and silences until cancelled; one that is slow or gone delays no other.

An Alertmanager has no watch, so it is asked: every EVERY_S with jitter (several consoles do not ask at the same
moment), less often when it has much to say, sooner when somebody has changed a silence here, and with a growing pause
while it does not answer. Silences are read when an alert names one that is not known, else with the status. A body that
is the one of before is not decoded again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence

import msgspec

from nimify_tui.backends.alertmanager.server import Alertmanager, Status
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError, RateLimited
from nimify_tui.base.retry import Backoff
from nimify_tui.domain.alertmanagers import ManagerFacts, ToldAlert
from nimify_tui.domain.updates import AlertmanagerSeen, Update

log = logging.getLogger(__name__)
#: A bounded question so often, seconds (Prometheus tells an Alertmanager of an alert once a minute), in a span of
#: so much around it; who it is, and all its silences, once a minute.
EVERY_S, JITTER, STATUS_S = 10.0, 0.2, 60.0
#: Somebody sits behind a slow line: no more than so many bytes a second, but once a minute whatever it takes.
BYTES_PER_S, SLOWEST_S = 5_000.0, 60.0
#: What was changed at one is known to its peers after so long (their gossip goes round in parts of a second), seconds.
PEERS_S = 2.0
#: One that does not answer is asked again after this at first, and at last after that, seconds.
TROUBLE_S, TROUBLE_CAP_S = 2.0, 60.0

Sink = Callable[[Sequence[Update]], None]


class Asked:
    """One Alertmanager, for all ``regions`` that name it."""

    def __init__(
        self, origin: str, regions: tuple[str, ...], server: Alertmanager, clock: Clock,
        rng: random.Random | None = None,
    ) -> None:  # fmt: skip
        self.server = server
        self._clock, self._rng = clock, rng or random.Random()
        self._facts = ManagerFacts(origin=origin, regions=regions, since=clock.now())
        self._backoff = Backoff(TROUBLE_S, TROUBLE_CAP_S, self._rng)
        self._status_s = 0.0
        self._sooner = asyncio.Event()

    def ask_now(self) -> None:
        """Something was changed: do not wait for the next time."""
        self._sooner.set()

    async def run(self, sink: Sink) -> None:
        """Ask until cancelled."""
        self._tell(sink)
        changed = False
        while True:
            wait_s = await self.once()
            if changed:
                wait_s = min(wait_s, PEERS_S)
            self._tell(sink)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._sooner.wait()
            changed = self._sooner.is_set()
            self._sooner.clear()

    async def once(self) -> float:
        """Ask, and take in what came of it; seconds until it is asked again."""
        before = self.server.read_bytes
        try:
            await self._turn()
        except NimifyError as error:
            wait_s = error.retry_after_s if isinstance(error, RateLimited) else self._backoff.next_s()
            self._silent(error.message, error.remedy, wait_s)
            return wait_s
        except Exception:  # whatever an answer makes of it: it is logged whole, and asked again
            log.exception("the answer of an Alertmanager could not be understood")
            wait_s = self._backoff.next_s()
            self._silent(f"what {self.server.who} answers could not be understood", "look at the log", wait_s)
            return wait_s
        self._backoff.reset()
        pause_s = min(max(EVERY_S, (self.server.read_bytes - before) / BYTES_PER_S), SLOWEST_S)
        return pause_s * (1.0 + JITTER * (2.0 * self._rng.random() - 1.0))

    async def _turn(self) -> None:
        told, facts = await self.server.alerts(), self._facts
        silences, known = facts.silences, {each.id for each in facts.silences}
        again = self._clock.mono_s() >= self._status_s or bool(facts.cause)
        if again or not known.issuperset(name for each in told.alerts for name in each.silences):
            silences = await self.server.silences()
        if again:
            status: Status = await self.server.status()
            self._status_s = self._clock.mono_s() + STATUS_S
            facts = msgspec.structs.replace(facts, version=status.version, started_at=status.started_at)
        now = self._clock.now()
        self._facts = msgspec.structs.replace(
            facts, alerts=_kept(facts.alerts, told.alerts), left_out=told.left_out,
            silences=facts.silences if silences == facts.silences else silences, answered_at=now, cause="",
            remedy="", next_try_at=None, since=now if facts.cause or facts.answered_at is None else facts.since,
        )  # fmt: skip

    def _silent(self, cause: str, remedy: str, wait_s: float) -> None:
        facts, now = self._facts, self._clock.now()
        since = facts.since if facts.cause else now
        self._facts = msgspec.structs.replace(
            facts, cause=cause, remedy=remedy, since=since, next_try_at=now + wait_s
        )

    def _tell(self, sink: Sink) -> None:
        sink([AlertmanagerSeen(self._clock.now(), self._facts)])


def _kept(before: tuple[ToldAlert, ...], now: tuple[ToldAlert, ...]) -> tuple[ToldAlert, ...]:
    """What is told now, with the objects of before for what is the same: who merges them sees at once what is new."""
    known = {each.fingerprint: each for each in before}
    kept = tuple(old if (old := known.get(each.fingerprint)) == each else each for each in now)
    same = len(kept) == len(before) and all(a is b for a, b in zip(kept, before, strict=True))
    return before if same else kept


class AlertSource:
    """All Alertmanagers of a session, by origin."""

    def __init__(self, asked: Mapping[str, Asked]) -> None:
        self._asked = asked

    def ask_now(self) -> None:
        """Something was changed in one of them, which tells its peers."""
        for each in self._asked.values():
            each.ask_now()

    async def run(self, sink: Sink) -> None:
        """Ask until cancelled."""
        tasks = [asyncio.create_task(each.run(sink), name=f"Alertmanager {name}") for name, each in self._asked.items()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in self._asked.values():
                each.server.close()
