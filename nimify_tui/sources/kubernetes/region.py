"""A cluster as a source: its reflectors, its heartbeat, and what both make of it as updates."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.retry import Backoff
from nimify_tui.domain.changes import Change
from nimify_tui.domain.regions import CertificateSeen, Region, RegionHealth
from nimify_tui.domain.updates import Changed, RegionListed, RegionSeen, ServiceSeen, Update
from nimify_tui.sources.kubernetes.around import AUTOSCALER
from nimify_tui.sources.kubernetes.cluster import SHOWN, SYSTEM_NAMESPACES, Cluster
from nimify_tui.sources.kubernetes.discovery import AGAIN_S, RETRY_S, served
from nimify_tui.sources.kubernetes.health import BEAT_S, Monitor
from nimify_tui.sources.kubernetes.kinds import POD, Kind
from nimify_tui.sources.kubernetes.livez import livez
from nimify_tui.sources.kubernetes.pace import Pace, Sleep
from nimify_tui.sources.kubernetes.reflector import KindState, Reflector
from nimify_tui.sources.kubernetes.story import Story
from nimify_tui.sources.kubernetes.table import CUSTOM_KINDS, KINDS
from nimify_tui.sources.kubernetes.telling import Telling
from nimify_tui.sources.kubernetes.wire import Api

Sink = Callable[[Sequence[Update]], None]
#: What changed is told at most so often, seconds; less often where the telling would take more than its share of the
#: loop, because thousands of pods change at once.
FLUSH_S, FLUSH_MOST_S, FLUSH_SHARE = 0.2, 1.0, 0.1
#: While it is read for the first time somebody waits for it: so often, seconds.
FIRST_FLUSH_S = 0.05
#: The age of the last contact is told at least so often, seconds.
RETELL_S = 2.0
#: Back-off of the probes of a region that is DOWN, seconds.
PROBE_S = (1.0, 30.0)
_REFUSED = (KindState.FORBIDDEN, KindState.MISSING)


class Link(Api, Protocol):
    """An open way to an API server."""

    address: str

    @property
    def certificates(self) -> tuple[CertificateSeen, ...]:
        """Those that were seen on the way there."""
        ...

    async def authorise(self) -> None:
        """Return when credentials are at hand, which may take a plugin's time. Raises CredentialsFailed."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


Connect = Callable[[], Awaitable[Link]]


class KubernetesSource:
    """Turns what one cluster tells into updates, for ever.

    ``connect`` makes and opens the connection (reading the kubeconfig; raises NimifyError).
    ``namespaces`` (empty: all but the cluster's own) narrow what is read. What is read beyond the workloads waits
    for ``rest``: thousands of pods would take the time in which the first frame is drawn.
    """

    def __init__(
        self,
        region: Region,
        connect: Connect,
        clock: Clock,
        rng: random.Random | None = None,
        namespaces: Sequence[str] = (),
        sleep: Sleep = asyncio.sleep,
        rest: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._rest = rest
        self._region, self._connect, self._clock = region, connect, clock
        self._rng = rng or random.Random()
        self._namespaces = tuple(namespaces) or ("",)
        self._sleep = sleep
        self._probes = Backoff(*PROBE_S, self._rng)
        self._monitor = Monitor(clock, region.address)
        self._cluster = Cluster(frozenset() if namespaces else SYSTEM_NAMESPACES)
        self._cluster.gpus.only = self._namespaces if namespaces else ()
        self._story = Story(self._cluster, region.name)
        self._telling = Telling(self._cluster, region.name)
        self._reflectors: list[Reflector] = []
        self._running: set[Reflector] = set()
        self._discovered = False
        self._previewed = False
        self._changes: list[Change] = []
        self._listed = False
        self._news = asyncio.Event()
        self._may_read = asyncio.Event()
        self._must_stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._told: RegionHealth | None = None
        self._told_at_s = 0.0

    @property
    def cluster(self) -> Cluster:
        """All that is known of the cluster, for those who look things up on demand."""
        return self._cluster

    def again(self) -> None:
        """Ask now and not when it is time: what stood in the way (a login, a kubeconfig, a right) may be mended."""
        self._may_read.clear()
        self._must_stop.set()
        self._hurry.set()

    def heard(self) -> None:
        """Something new of the cluster was found out beside the reflectors."""
        self._news.set()

    async def _pause(self, wait_s: float) -> None:
        """Wait, unless somebody is in a hurry."""
        waits = {asyncio.ensure_future(self._sleep(wait_s)), asyncio.ensure_future(self._hurry.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        self._hurry.clear()

    async def run(self, sink: Sink) -> None:
        """Watch until cancelled; a cluster that cannot be reached is a state of the region, never an error."""
        self._tell_health(sink)
        while True:
            try:
                link = await self._connect()
            except NimifyError as error:
                wait_s = self._probes.next_s()
                self._monitor.missed(error, wait_s)
                self._tell_health(sink)
                await self._pause(wait_s)
                continue
            try:
                await self._follow(link, sink)
            finally:
                await link.close()

    async def _follow(self, link: Link, sink: Sink) -> None:
        pace = Pace(self._clock, self._rng, self._sleep)
        self._reflectors = [each for kind in KINDS for each in self._reflectors_of(kind, link, pace)]
        self._may_read.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(link, pace), name=f"{self._region.name}: read")
            group.create_task(self._beat(link, pace), name=f"{self._region.name}: heartbeat")
            group.create_task(self._flush(sink), name=f"{self._region.name}: tell")

    def _reflectors_of(self, kind: Kind, link: Link, pace: Pace) -> list[Reflector]:
        return [
            Reflector(kind, namespace, link, pace, self, self._clock, self._rng)
            for namespace in (self._namespaces if kind.namespaced else ("",))
        ]

    # -- reading -------------------------------------------------------------------------

    async def _read(self, link: Link, pace: Pace) -> None:
        """Run the reflectors while the server answers heartbeats; they keep their rows and versions in between."""
        while True:
            await self._may_read.wait()
            reading = asyncio.create_task(self._read_all(link, pace))
            stop = asyncio.create_task(self._must_stop.wait())
            try:
                await asyncio.wait((reading, stop), return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    reading.result()
            finally:
                reading.cancel()
                stop.cancel()
                await asyncio.gather(reading, stop, return_exceptions=True)

    async def _read_all(self, link: Link, pace: Pace) -> None:
        async with asyncio.TaskGroup() as group:
            every = [each for each in self._reflectors if not each.kind.custom or each.state is not KindState.MISSING]
            for each in every:
                if each.kind in SHOWN:
                    self._start(group, each)
            if self._rest is not None:
                await self._rest()
            for each in every:
                if each.kind not in SHOWN:
                    self._start(group, each)
            while True:
                await self._sleep(AGAIN_S if await self._discover(link, pace, group) else RETRY_S)

    def _start(self, group: asyncio.TaskGroup, reflector: Reflector) -> None:
        self._running.add(reflector)
        task = group.create_task(reflector.run(), name=f"{self._region.name}: {reflector.kind.plural}")
        task.add_done_callback(lambda _: self._running.discard(reflector))

    async def _discover(self, link: Link, pace: Pace, group: asyncio.TaskGroup) -> bool:
        """Follow the custom kinds that the server has; False when it does not say: it has none for now."""
        await pace.wait()
        try:
            kinds, told = await served(link, CUSTOM_KINDS), True
        except NimifyError:
            kinds, told = [], False  # whatever is the matter, the heartbeat and the other kinds tell it
        for kind in kinds:
            if all(each.kind is not kind for each in self._reflectors):
                self._reflectors += self._reflectors_of(kind, link, pace)
        for each in self._reflectors:
            if each.kind in kinds and each not in self._running:
                self._start(group, each)
        self._discovered = True
        self._judge_kinds()
        return told

    async def _beat(self, link: Link, pace: Pace) -> None:
        """Ask ``/livez`` for ever; what does not answer three times is not asked for anything else."""
        monitor = self._monitor
        while True:
            begun_s = self._clock.mono_s()
            wait_s = BEAT_S
            try:
                # A login may take longer than the server's answer, which alone says how far away it is.
                await link.authorise()
                begun_s = self._clock.mono_s()
                told_at = await livez(link, monitor.beat_wait_s)
            except NimifyError as error:
                was_down = monitor.down
                if was_down:
                    wait_s = self._probes.next_s()
                monitor.missed(error, wait_s)
                if monitor.down:
                    if not was_down:
                        wait_s = self._probes.next_s()
                        monitor.next_beat_in(wait_s)
                    self._may_read.clear()
                    self._must_stop.set()
            else:
                if not self._may_read.is_set():
                    pace.clear()
                self._probes.reset()
                monitor.beat(self._clock.mono_s() - begun_s)
                monitor.certificates = link.certificates
                if told_at is not None:
                    monitor.told_time(told_at)
                self._must_stop.clear()
                self._may_read.set()
            self._news.set()
            # From beat to beat, also when a beat was waited for: three that are missed are known within 20 s.
            await self._pause(wait_s if monitor.down else max(0.0, wait_s - (self._clock.mono_s() - begun_s)))

    # -- what reflectors tell (Feed) -----------------------------------------------------

    def delta(self, kind: Kind, gone: Sequence[Any], seen: Sequence[Any]) -> None:
        """Objects that are no more, and new ones."""
        now, cluster, story = self._clock.now(), self._cluster, self._story
        if not self._listed or (kind not in SHOWN and kind not in (POD, AUTOSCALER)):
            cluster.apply(kind, gone, seen)
        elif kind is AUTOSCALER:
            scalers = [(cluster.nearby.scaler(each.metadata.uid), each) for each in seen]
            cluster.apply(kind, gone, seen)
            for scaler, new_scaler in scalers:
                self._changes += story.scaler(scaler, new_scaler, now)
        elif kind is POD:
            pods = [(cluster.pods.get(each.metadata.uid), each) for each in seen]
            cluster.apply(kind, gone, seen)
            for pod, new_pod in pods:
                self._changes += story.pod(pod, new_pod, now)
        else:
            uids = [each.metadata.uid for each in gone if each.metadata.uid in cluster.workloads]
            self._changes += [story.gone(kind, story.key_of(uid), uid, now) for uid in uids]
            pairs = [(cluster.workloads.get(each.metadata.uid), each) for each in seen]
            cluster.apply(kind, gone, seen)
            for old, new in pairs:
                self._changes += story.workload(kind, old, new, now)
        self._news.set()

    def dropped(self, kind: Kind, objects: Sequence[Any]) -> None:
        """Objects that may not be seen any more: they leave the screen, and nobody says that they were deleted."""
        self._cluster.apply(kind, objects, ())
        self._news.set()

    def contact(self) -> None:
        """The server said something."""
        self._monitor.contact()

    def trouble(self, error: NimifyError, wait_s: float) -> None:
        """A kind cannot be read for the moment."""
        self._monitor.trouble(error, wait_s)
        self._news.set()

    def kind_changed(self, reflector: Reflector) -> None:
        """Say anew what is still read, what lags behind, and what is not to be seen."""
        self._judge_kinds()

    def _judge_kinds(self) -> None:
        monitor, every = self._monitor, self._reflectors
        waiting = [
            each
            for each in every
            if each.state is KindState.WAITING
            or (each.kind.needed and each.state is KindState.FAILING and not each.complete)
        ]
        failing = [each for each in every if each.state is KindState.FAILING]
        refused = [each for each in every if each.state in _REFUSED]
        reading = [_progress(each) for each in waiting] + (
            [] if self._discovered else ["which kinds there are"]
        )
        monitor.reading = ", ".join(reading)
        monitor.lagging = "; ".join(
            dict.fromkeys(
                f"{each.kind.plural} may be old: {each.cause.message}" for each in failing if each.cause
            )
        )
        hidden = [
            f"{each.kind.plural} ({each.state})"
            for each in refused
            if not (each.kind.custom and each.state is KindState.MISSING)
        ]
        monitor.refused = bool(hidden)
        hidden += [f"{each.unreadable} {each.kind.plural} (unreadable)" for each in every if each.unreadable]
        monitor.hidden = ", ".join(dict.fromkeys(hidden))
        monitor.blind = all(each.state in _REFUSED for each in every if each.kind.needed)
        if all(each.cause is None or each.state in _REFUSED for each in every):
            monitor.untroubled()
        self._news.set()

    # -- telling -------------------------------------------------------------------------

    async def _flush(self, sink: Sink) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETELL_S):
                    await self._news.wait()
            self._news.clear()
            if not self._listed and self._monitor.reading == "":
                await self._first(sink)
            elif not self._listed:
                self._preview(sink)
            elif self._listed:
                updates = await self._telling.news(self._clock)
                updates += [Changed(each.at, each) for each in self._changes]
                self._changes.clear()
                if updates:
                    sink(updates)
            self._tell_health(sink)
            least_s = FLUSH_S if self._listed else FIRST_FLUSH_S
            await self._sleep(min(FLUSH_MOST_S, max(least_s, self._telling.took_s / FLUSH_SHARE)))

    def _preview(self, sink: Sink) -> None:
        """The names are known, the pods not yet: rows that say that they are still read."""
        if self._previewed or not all(each.complete for each in self._reflectors if each.kind in SHOWN[:3]):
            return
        self._previewed = True
        now = self._clock.now()
        services = self._telling.names(now)
        if services:
            sink([ServiceSeen(now, each) for each in services])

    async def _first(self, sink: Sink) -> None:
        """All is there for the first time."""
        listed = await self._telling.everything(self._clock)
        now = self._clock.now()
        self._listed = True
        updates: list[Update] = [
            self._seen(self._monitor.health),
            RegionListed(now, self._region.name, *listed),
        ]
        updates += [Changed(each.at, each) for each in self._story.history(now)]
        sink(updates)

    def _tell_health(self, sink: Sink) -> None:
        """The region's state when it is another one, and now and then for the age of the last contact."""
        health, told = self._monitor.health, self._told
        mono_s = self._clock.mono_s()
        same = (
            told is not None and msgspec.structs.replace(health, last_contact_at=told.last_contact_at) == told
        )
        if not same or mono_s - self._told_at_s >= RETELL_S:
            sink([self._seen(health)])

    def _seen(self, health: RegionHealth) -> RegionSeen:
        self._told, self._told_at_s = health, self._clock.mono_s()
        return RegionSeen(self._clock.now(), self._region, health)


def _progress(reflector: Reflector) -> str:
    return (
        f"{reflector.kind.plural}, {reflector.reading:,} so far"
        if reflector.reading
        else reflector.kind.plural
    )
