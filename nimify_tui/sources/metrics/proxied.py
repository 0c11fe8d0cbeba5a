"""Reads the metrics of pods through their cluster's API server: by a few requests a second, what is looked at first.

The proxy of a pod is asked for exactly one path, with GET, and for another one where that does not answer and the pod
is a Triton; it takes the right ``get pods/proxy``.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-connect-get-requests-to-proxy-of-pod
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from nimify_tui.backends.kubernetes.errors import (
    CredentialsFailed,
    Forbidden,
    Refused,
    ServerTrouble,
    Throttled,
    TlsFailed,
    Unauthorized,
    Unreachable,
)
from nimify_tui.backends.kubernetes.rights import Access, Review
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import Demand
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.services import Replica, Service
from nimify_tui.domain.updates import Sampled, SampleFailed, Update
from nimify_tui.sources.metrics.adapters import Reader
from nimify_tui.sources.metrics.statistics import PATH as STATISTICS
from nimify_tui.sources.metrics.turns import CAP_RPS, SHORTEST_S, Plan, Spot, planned

log = logging.getLogger(__name__)
#: Requests under way in one region, and how long a pod may take to answer, seconds.
AT_ONCE, TIMEOUT_S = 16, 3.0
#: A page of vLLM has some 300 kB.
MAX_BYTES = 2 * 1024 * 1024
#: Who is read is decided anew so often; what is due is looked for so often, seconds.
PLAN_S, LOOK_S = 2.0, 0.1
#: A right that is missing is asked for again after this; a server in trouble is let be for so long, seconds.
REFUSED_S, TROUBLE_S = 60.0, 5.0
#: What the server said of a right holds for so long, seconds: as for a kind that was refused.
REVIEWED_S = 3600.0
#: What is there and tells nothing that is known here is asked so seldom, seconds.
STRANGER_S = 60.0
_ACCEPT = "text/plain;version=0.0.4, */*;q=0.5"


class Answer(Protocol):
    """A good answer of the server."""

    async def read(self) -> bytes:
        """The whole body."""
        ...


class Link(Protocol):
    """The open connection of a region."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        ...

    def get(
        self, path: str, *, accept: str, read_timeout_s: float, limit_bytes: int
    ) -> AbstractAsyncContextManager[Answer]:
        """Ask the server; raises the errors of the connection."""
        ...

    async def may(self, access: Access) -> Review:
        """Whether these credentials have a right, by the server's own word."""
        ...


class Metered(Protocol):
    """Who knows the services, and what is looked at; the fleet is one."""

    def metered(self) -> list[tuple[Service, list[Replica]]]:
        """The services whose numbers are read through their region."""
        ...

    def demands(self) -> Collection[Demand]:
        """What is looked at now."""
        ...


class _Region:
    """What is under way in one region."""

    def __init__(self) -> None:
        self.plan = Plan((), SHORTEST_S, ())
        self.due_s: dict[ReplicaKey, float] = {}
        self.busy: dict[ReplicaKey, asyncio.Task[None]] = {}
        self.told: dict[ReplicaKey, str] = {}
        self.left_out: tuple[tuple[ReplicaKey, str], ...] = ()
        #: How often each was asked in vain since it answered.
        self.failures: dict[ReplicaKey, int] = {}
        #: By namespace: until when the right is known to be missing; and where it is known to be there.
        self.refused_s: dict[str, float] = {}
        self.allowed: set[str] = set()
        #: By namespace: what the server said of the right, and until when that holds; who has answered since.
        self.reviewed: dict[str, tuple[bool, float]] = {}
        self.answered: set[ReplicaKey] = set()
        #: Who tells its statistics instead of metrics, until when that is not tried again.
        self.by_stats_s: dict[ReplicaKey, float] = {}
        self.next_s = 0.0
        #: Until when the server is known to serve us: what says otherwise until then is a pod.
        self.serves_s = 0.0

    def trying(self, namespace: str) -> bool:
        """Whether somebody is finding out if the right is there: one request is enough to be told that it is not."""
        return namespace not in self.allowed and any(key.service.namespace == namespace for key in self.busy)


class ProxiedScrapes:
    """Reads all regions for which ``link`` gives a connection and that are ``live``, until cancelled."""

    def __init__(
        self,
        fleet: Metered,
        link: Callable[[str], Link | None],
        live: Callable[[], Collection[str]],
        clock: Clock,
        cap_rps: float = CAP_RPS,
    ) -> None:
        self._fleet, self._link, self._live, self._clock, self._cap_rps = fleet, link, live, clock, cap_rps
        self._regions: dict[str, _Region] = {}
        self._found: list[Update] = []
        self._plan_s = 0.0
        self._reader = Reader()

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Read until cancelled."""
        try:
            while True:
                self.step(sink)
                await asyncio.sleep(LOOK_S)
        finally:
            tasks = [task for region in self._regions.values() for task in region.busy.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def step(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Start what is due, and tell what was found since the last step."""
        now_s = self._clock.mono_s()
        if now_s >= self._plan_s:
            self._plan_s = now_s + PLAN_S
            self._plan(now_s)
        for name, region in self._regions.items():
            self._start(name, region, now_s)
        if self._found:
            found, self._found = self._found, []
            sink(found)

    def _plan(self, now_s: float) -> None:
        live, demands = self._live(), self._fleet.demands()
        by_region: dict[str, list[tuple[Service, Sequence[Replica]]]] = {}
        for service, replicas in self._fleet.metered():
            if service.key.region in live and not service.stopped:
                by_region.setdefault(service.key.region, []).append((service, replicas))
        for name in [*self._regions]:
            if name not in by_region:
                self._regions[name].plan = Plan((), SHORTEST_S, ())
        for name, services in by_region.items():
            region = self._regions.setdefault(name, _Region())
            region.refused_s = {space: until for space, until in region.refused_s.items() if until > now_s}
            plan = region.plan = planned(services, demands, region.refused_s)
            there = {spot.key for spot in plan.spots}
            region.due_s = {key: due for key, due in region.due_s.items() if key in there}
            region.failures = {key: count for key, count in region.failures.items() if key in there}
            region.answered &= there
            region.by_stats_s = {key: until for key, until in region.by_stats_s.items() if key in there}
            if plan.left_out != region.left_out:
                region.left_out = plan.left_out
                for key, why in plan.left_out:
                    if region.told.get(key) != why:
                        self._found.append(SampleFailed(self._clock.now(), key, why))
                region.told = dict(plan.left_out)

    def _start(self, name: str, region: _Region, now_s: float) -> None:
        if region.next_s > now_s or not region.plan.spots:
            return
        link = self._link(name)
        if link is None or not link.is_open:
            return
        plan = region.plan
        due = [each for each in plan.spots if region.due_s.get(each.key, 0.0) <= now_s and each.key not in region.busy]
        due.sort(key=lambda each: region.due_s.get(each.key, 0.0))
        for spot in due:
            if len(region.busy) >= AT_ONCE or region.next_s > now_s:
                return
            space = spot.key.service.namespace
            if region.trying(space) or space in region.refused_s:
                continue
            # Time that nobody used is not saved up: never more than the cap in any second.
            region.next_s = max(region.next_s, now_s - LOOK_S) + 1.0 / self._cap_rps
            region.due_s[spot.key] = self._next_s(spot.key, now_s, plan.every_s)
            task = asyncio.create_task(self._scrape(region, link, spot, plan.every_s), name=f"{name}: metrics")
            region.busy[spot.key] = task

    @staticmethod
    def _next_s(key: ReplicaKey, now_s: float, every_s: float) -> float:
        """The next time that is this replica's: its own phase of the interval, at least half of it away."""
        phase_s = zlib.crc32(repr(key).encode()) % 1000 / 1000 * every_s
        return phase_s - (phase_s - now_s - every_s / 2) // every_s * every_s

    async def _scrape(self, region: _Region, link: Link, spot: Spot, every_s: float) -> None:
        try:
            by_stats = region.by_stats_s.get(spot.key, 0.0) > self._clock.mono_s()
            try:
                body = await _read(link, spot.stats_path if by_stats else spot.path)
            except (Refused, ServerTrouble) as error:
                if by_stats or not spot.stats_path or not _is_silent(error):
                    raise
                body, by_stats = await _read(link, spot.stats_path), True
                region.next_s += 1.0 / self._cap_rps
                region.by_stats_s[spot.key] = self._clock.mono_s() + STRANGER_S
            region.allowed.add(spot.key.service.namespace)
            region.answered.add(spot.key)
            self._take(region, spot, body, every_s, by_stats=by_stats)
        except TimeoutError:
            self._failed(region, spot, f"no answer within {TIMEOUT_S:g} s")
        except Forbidden as error:
            await self._forbidden(region, link, spot, error)
        except (Throttled, Unauthorized) as error:
            await self._put_off(region, link, spot, error)
        except NimifyError as error:
            self._trouble(region, spot, error)
        except Exception:  # whatever a page makes of it: it is logged whole, and the others are read on
            log.exception("the metrics of a pod could not be understood")
            self._failed(region, spot, "its metrics could not be understood")
        finally:
            region.busy.pop(spot.key, None)

    def _take(self, region: _Region, spot: Spot, body: bytes, every_s: float, *, by_stats: bool) -> None:
        at = self._clock.now()
        read, place = (self._reader.statistics, STATISTICS) if by_stats else (self._reader.read, spot.place)
        sample = read(body, at, f"pod port {place}" if not by_stats else f"pod {place}")
        if sample is None:
            region.due_s[spot.key] = self._clock.mono_s() + STRANGER_S
            self._failed(region, spot, "its metrics are of a runtime that is not known here")
        else:
            region.failures.pop(spot.key, None)
            self._found.append(Sampled(at, spot.key, msgspec.structs.replace(sample, every_s=every_s)))

    def _failed(self, region: _Region, spot: Spot, why: str) -> None:
        """Say why, and ask ever more seldom: a pod that does not answer costs the server a dial each time."""
        count = region.failures[spot.key] = region.failures.get(spot.key, 0) + 1
        wait_s = min(STRANGER_S, region.plan.every_s * 2.0 ** min(count - 1, 8))
        region.due_s[spot.key] = max(region.due_s.get(spot.key, 0.0), self._clock.mono_s() + wait_s)
        self._found.append(SampleFailed(self._clock.now(), spot.key, why))

    async def _forbidden(self, region: _Region, link: Link, spot: Spot, error: Forbidden) -> None:
        """A 403 may also be the pod's own word: whether the right is there, the server alone can say."""
        space, now_s = spot.key.service.namespace, self._clock.mono_s()
        allowed, until_s = region.reviewed.get(space, (False, 0.0))
        lost = spot.key in region.answered  # it did answer: perhaps the right was taken away
        region.answered.discard(spot.key)
        if until_s <= now_s or lost:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    allowed = (await link.may(Access("get", "", "pods/proxy", space))).allowed
                region.reviewed[space] = allowed, now_s + REVIEWED_S
            except (NimifyError, TimeoutError):
                allowed = False
        if allowed:
            region.allowed.add(space)
            self._failed(region, spot, f"{spot.place} answers {error.status}")
            return
        region.allowed.discard(space)
        region.refused_s[space] = self._clock.mono_s() + REFUSED_S
        self._failed(region, spot, f"no right to pods/proxy in ns {space}")

    async def _put_off(self, region: _Region, link: Link, spot: Spot, error: Throttled | Unauthorized) -> None:
        """A 401, a 429 or a 503 with Retry-After may also be the pod's own word: it must not stop the whole region."""
        if region.serves_s <= self._clock.mono_s():
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await link.may(Access("get", "", "pods/proxy", spot.key.service.namespace))
            except (NimifyError, TimeoutError):
                self._trouble(region, spot, error)
                return
            region.serves_s = self._clock.mono_s() + STRANGER_S
        region.due_s[spot.key] = self._clock.mono_s() + STRANGER_S
        what = "401" if isinstance(error, Unauthorized) else "that it is asked too often"
        self._failed(region, spot, f"{spot.place} answers {what}")

    def _trouble(self, region: _Region, spot: Spot, error: NimifyError) -> None:
        now_s = self._clock.mono_s()
        match error:
            case Throttled():
                region.next_s = max(region.next_s, now_s + error.retry_after_s)
            case Unreachable() | TlsFailed() | CredentialsFailed() | Unauthorized():
                region.next_s = max(region.next_s, now_s + TROUBLE_S)
            case Refused() | ServerTrouble():
                region.allowed.add(spot.key.service.namespace)
                if error.status == 404:
                    region.due_s[spot.key] = now_s + STRANGER_S
        self._failed(region, spot, _why(error, spot))


async def _read(link: Link, path: str) -> bytes:
    async with (
        asyncio.timeout(TIMEOUT_S),
        link.get(path, accept=_ACCEPT, read_timeout_s=3 * TIMEOUT_S, limit_bytes=MAX_BYTES) as answer,
    ):
        return await answer.read()


def _is_silent(error: Refused | ServerTrouble) -> bool:
    """Whether nothing tells metrics there, by the pod's word or by the server's that dialled it in vain."""
    return error.status == 404 or "error trying to reach service" in error.message


def _why(error: NimifyError, spot: Spot) -> str:
    """In plain words. The server quotes the whole dial of a port that does not answer."""
    said = error.message.removeprefix(f"GET {spot.path}: ")
    if "error trying to reach service" in said:
        return f"port {spot.place.partition('/')[0]} does not answer ({clean_line(said.rpartition(': ')[2], 80)})"
    if isinstance(error, Refused | ServerTrouble) and said.startswith("status "):
        return f"{spot.place} answers {error.status}"
    return clean_line(said, 200)
