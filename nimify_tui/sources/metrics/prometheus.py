"""Reads the metrics of a region's replicas out of its Prometheus: few bounded questions each aligned step.

Asked for are the newest raw samples (counters, gauges, buckets) of the names that the adapters read, so that what a
replica told is understood by the same adapters and counted by the same fleet as a page that we scrape ourselves. A
sample has the time of the scrape, not ours. What a limit cuts is not known, with the reason: never a part of a service.
https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from nimify_tui.backends.prometheus.errors import QueryRefused, Throttled
from nimify_tui.backends.prometheus.server import Found, PrometheusServer
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.retry import Backoff
from nimify_tui.domain.asked import both
from nimify_tui.domain.demands import Demand
from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica, Service
from nimify_tui.domain.updates import Sampled, SampleFailed, Update
from nimify_tui.sources.metrics.adapters import Reader
from nimify_tui.sources.metrics.layouts import Answer, Layouts, Told
from nimify_tui.sources.metrics.mesh import HEARD, Mesh
from nimify_tui.sources.metrics.pages import Target, beside, interval_of, told_by
from nimify_tui.sources.metrics.selectors import (
    INSTANCE,
    POD_LABELS,
    Spot,
    batches,
    expression,
    instances,
    label_words,
    pods,
)
from nimify_tui.sources.metrics.turns import in_turn
from nimify_tui.sources.metrics.whereabouts import Whereabouts

log = logging.getLogger(__name__)
#: A region is asked at whole multiples of one of these, seconds: the same times for all who look, so that caches in
#: front of a server help. Which one: what its scrapes need, and what the questions need at CAP_RPS.
STEPS_S = (5, 10, 15, 30, 60)
#: Questions a second to one server; replicas of one question (twenty vLLMs have some 6,000 series).
CAP_RPS, PER_QUESTION = 2.0, 20
#: Replicas of one region that are read: so many questions as fit into the longest step.
MOST = int(CAP_RPS * STEPS_S[-1]) * PER_QUESTION
#: What the server has is looked up so often; how often a replica is scraped (once a minute by Prometheus' default) is
#: found out in so much of its past, and again when there was nothing, seconds.
DISCOVER_S, LOOK_S, AGAIN_S = 60.0, 150, 15.0
#: A server in trouble is asked again after this at first, and at last after that; until a region's replicas are known
#: they are looked for so often, so many times, seconds.
TROUBLE_S, TROUBLE_CAP_S, SOON_S, SOON = 2.0, 60.0, 0.5, 20
#: So many series are understood before others have their turn (some 2 ms).
AT_ONCE = 500
#: A row's numbers are of so much time, with what its newest columns wait for (fleet.numbers), seconds.
ROW_S = 36.0
#: A service whose answer is too large is asked for again after this, seconds.
TOO_MUCH_S = 300.0
#: One series of each family's server by which it is found out how often it is scraped.
_ANCHORS = frozenset(
    {
        "nimify_inference_requests_in_flight", "vllm:num_requests_running", "num_requests_running",
        "nginx_ingress_controller_request_duration_seconds_count", "sglang:num_running_reqs",
        "trtllm_num_requests_running", "nv_inference_count", "nv_inference_request_success",
        "request_predict_seconds_count", "http_request_duration_seconds_count",
        "http_server_request_duration_seconds_count", "http_server_duration_milliseconds_count",
        "process_start_time_seconds",
    }
)  # fmt: skip


class Known(Protocol):
    """Who knows the services, and what is looked at; the fleet is one."""

    def metered(self, of_region: str = "") -> list[tuple[Service, list[Replica]]]:
        """The services of clusters ("" for all) that tell numbers."""
        ...

    def targets(self) -> list[Replica]:
        """All replicas."""
        ...

    def demands(self) -> Collection[Demand]:
        """What is looked at now."""
        ...


class PrometheusScrapes:
    """Reads all regions that have a server, until cancelled. ``has_pods``: whether a region's replicas are pods."""

    def __init__(
        self, known: Known, servers: Mapping[str, PrometheusServer], has_pods: Callable[[str], bool], clock: Clock
    ) -> None:
        self._regions = [
            RegionScrapes(name, known, server, clock, pods=has_pods(name)) for name, server in servers.items()
        ]

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Read until cancelled; a region that is slow or broken delays no other."""
        tasks = [asyncio.create_task(region.run(sink), name=f"{region.name}: Prometheus") for region in self._regions]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for region in self._regions:
                region.server.close()


class RegionScrapes:
    """One region."""

    def __init__(self, name: str, known: Known, server: PrometheusServer, clock: Clock, *, pods: bool) -> None:
        self.name, self.server = name, server
        self._known, self._clock, self._pods = known, clock, pods
        self._reader, self._layouts, self._whereabouts = Reader(), Layouts(), Whereabouts(name, server)
        self._found, self._names = Found(frozenset(), frozenset()), frozenset[str]()
        #: Whether there are proxies of a mesh; and who needs them, having no percentiles (or nothing) of its own.
        self._meshed = False
        self._bare: set[ReplicaKey] = set()
        self._discover_s = self._asked_s = 0.0
        self._per_question = PER_QUESTION
        self._step_s = STEPS_S[0]
        #: By replica: how often it is scraped, when it is looked for again, the target that is read, and what was told.
        self._every_s: dict[ReplicaKey, float] = {}
        self._look_s: dict[ReplicaKey, float] = {}
        self._target: dict[ReplicaKey, tuple[str, ...]] = {}
        self._told: dict[ReplicaKey, str] = {}
        self._at: dict[ReplicaKey, float] = {}
        #: The replicas whose past was asked for.
        self._begun: set[ReplicaKey] = set()
        #: Services that are too much for a question, until when (monotonic seconds).
        self._too_much: dict[ServiceKey, float] = {}
        self._updates: list[Update] = []

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Ask at each step until cancelled."""
        backoff = Backoff(TROUBLE_S, TROUBLE_CAP_S)
        at, soon = self._clock.now(), SOON
        while True:
            wait_s = 0.0
            try:
                await self.turn(at, sink)
                backoff.reset()
            except Throttled as error:
                wait_s = error.retry_after_s
            except NimifyError:  # it was told
                wait_s = backoff.next_s()
            except Exception:  # whatever an answer makes of it: it is logged whole, and asked again
                log.exception("the answer of a Prometheus could not be understood")
                self._fail({*self._every_s, *self._told}, "what the Prometheus answers could not be understood")
                wait_s = backoff.next_s()
            self._flush(sink)
            if not wait_s and not self._discover_s and soon:  # nobody was there
                wait_s, soon = SOON_S, soon - 1
            now = self._clock.now()
            at = now + wait_s if wait_s else (math.floor(now / self._step_s) + 1) * float(self._step_s)
            await asyncio.sleep(at - now)

    async def turn(self, at: float, sink: Callable[[Sequence[Update]], None]) -> None:
        """Ask all of the region as of ``at``. Raises what keeps it from being asked at all, after it was told."""
        services = self._services()
        spots = [spot for service in services for spot in service]
        self._forget({spot.key for spot in spots})
        self._layouts.begin()
        if not spots:
            return
        try:
            if self._clock.mono_s() >= self._discover_s:
                known = self._reader.wanted | Mesh.anchors
                self._found = await self.server.discover(sorted(known), at, 2.0 * LOOK_S)
                self._names = self._reader.wanted_with(self._found.names)
                self._meshed = not Mesh.anchors.isdisjoint(self._found.names)
                self._discover_s = self._clock.mono_s() + (DISCOVER_S if self._names or self._meshed else AGAIN_S)
            if not self._names and not self._meshed:
                self._fail((spot.key for spot in spots), f"{self.server.part} has none of the metrics that are "
                           "understood here; is it the right one, and the right tenant?")  # fmt: skip
                return
            waiting = batches(self._within(services), self._per_question)
            while waiting:
                waiting = await self._batch(waiting.pop(0), at) + waiting
                self._flush(sink)
        except NimifyError as error:
            self._discover_s = 0.0
            self._fail((spot.key for spot in spots), _words(error))
            raise
        self._set_step(len(spots))

    # -- who ------------------------------------------------------------------------------

    def _services(self) -> list[list[Spot]]:
        if not self._pods:
            here = [each for each in self._known.targets() if each.key.service.region == self.name]
            return instances(here, near=self.server.near)
        metered = [pair for pair in self._known.metered(self.name) if not pair[0].stopped]
        return pods(in_turn(metered, self._known.demands()))

    def _within(self, services: list[list[Spot]]) -> list[list[Spot]]:
        """As many services as are read, whole; the others are told why not."""
        taken: list[list[Spot]] = []
        count = 0
        now_s = self._clock.mono_s()
        for service in services:
            if service and self._too_much.get(service[0].key.service, 0.0) > now_s:
                continue
            if count + len(service) <= MOST:
                taken.append(service)
                count += len(service)
            else:
                why = f"{CAP_RPS:g} questions a second reach for {MOST} replicas; what is looked at is read"
                self._fail((spot.key for spot in service), f"not read now: {why}")
        return taken

    def _forget(self, there: set[ReplicaKey]) -> None:
        kept: dict[ReplicaKey, Any]
        for kept in (self._every_s, self._look_s, self._target, self._told, self._at):
            for key in [key for key in kept if key not in there]:
                del kept[key]
        self._whereabouts.forget(there)
        self._begun &= there
        self._bare &= there

    def _set_step(self, replicas: int) -> None:
        """No more often than the replicas are scraped, and than the questions are allowed."""
        needed = max(
            min(self._every_s.values(), default=STEPS_S[0]), math.ceil(replicas / self._per_question) / CAP_RPS
        )
        # Scrapes are a few ms early or late.
        self._step_s = next((step for step in STEPS_S if step >= 0.9 * needed), STEPS_S[-1])

    # -- one question ---------------------------------------------------------------------

    async def _batch(self, batch: list[Spot], at: float) -> list[list[Spot]]:
        """Ask for some replicas; the same ones in smaller parts where that was too much."""
        try:
            await self._look(batch, at)
            can = [spot for spot in batch if spot.key in self._every_s]
            if can:
                every_s = max(self._every_s[spot.key] for spot in can)
                # Two scrapes, so that one that is still coming in is told from one that is whole.
                window_s = 2.0 * every_s + 1.0
                if any(spot.key not in self._begun for spot in can):  # once: what a row needs to have its numbers
                    window_s += ROW_S
                    self._begun.update(spot.key for spot in can)
                await self._read(can, at, math.ceil(window_s))
        except QueryRefused as error:
            if not error.too_much:
                raise
            if len(batch) > 1:
                self._per_question = max(1, len(batch) // 2)
                return batches([batch], self._per_question)
            # Nothing of this service is read then, so that no sum is made of a part of it.
            service = batch[0].key.service
            self._too_much[service] = self._clock.mono_s() + TOO_MUCH_S
            self._per_question = PER_QUESTION
            self._fail([spot.key for each in self._services() for spot in each if spot.key.service == service],
                       _words(error))  # fmt: skip
        return []

    async def _look(self, batch: list[Spot], at: float) -> None:
        """Find out how often those are scraped of which that is not known."""
        now_s = self._clock.mono_s()
        new = [spot for spot in batch if spot.key not in self._every_s and self._look_s.get(spot.key, 0.0) <= now_s]
        if not new:
            return
        by_replica, _ = await self._ask(self._found.names & _ANCHORS, new, at, LOOK_S)
        silent = [spot for spot in new if spot.key not in by_replica]
        by_replica |= (await self._ask_proxies(silent, at, LOOK_S))[0]
        for spot in new:
            mine = by_replica.get(spot.key)
            every_s = interval_of(mine.parts, mine.texts, mine.read) if mine is not None else None
            if every_s is not None:
                self._every_s[spot.key] = max(1.0, every_s)
                continue
            self._look_s[spot.key] = now_s + AGAIN_S
            where = label_words(self._found.labels) if self._pods else f"instance {' or '.join(spot.names)}"
            seen = mine is not None
            what = f"one scrape of it in {LOOK_S} s" if seen else f"no series of it ({where}): is it scraped?"
            self._fail([spot.key], f"{self.server.part} has {what}")

    async def _read(self, batch: list[Spot], at: float, window_s: int) -> None:
        by_replica, warning = await self._ask(self._names, batch, at, window_s)
        bare = [spot for spot in batch if spot.key in self._bare or spot.key not in by_replica]
        proxies, other = await self._ask_proxies(bare, at, window_s)
        warning, since_yield = warning or other, 0
        for spot in batch:
            mesh = proxies.get(spot.key)
            mine, every_s = by_replica.get(spot.key, mesh), self._every_s[spot.key]
            targets = told_by(mine.parts, mine.texts, mine.read, at, every_s) if mine is not None else []
            if mine is None or not targets:
                self._every_s.pop(spot.key)
                self._fail([spot.key], f"{self.server.who} has no sample of it that is younger than {window_s} s")
                continue
            proxy = told_by(mesh.parts, mesh.texts, mesh.read, at, every_s) if mesh is not None else []
            pace_s = max(every_s, float(self._step_s))
            self._take(spot, targets, mine.labels, pace_s, warning, proxy[0] if proxy else None)
            since_yield += sum([len(part.places) for part in mine.parts])
            if since_yield >= AT_ONCE:
                since_yield = 0
                await asyncio.sleep(0)

    async def _ask_proxies(
        self, spots: list[Spot], at: float, window_s: int
    ) -> tuple[dict[ReplicaKey, Told], str]:
        """What the proxies beside these replicas saw come in."""
        if not spots or not self._meshed:
            return {}, ""
        # Requests are told a second time by who asks, and those that the pod itself makes are no requests to it.
        return await self._ask(Mesh.wanted, spots, at, window_s, 'reporter=~"destination|waypoint|"')

    async def _ask(
        self, metrics: Collection[str], spots: list[Spot], at: float, window_s: int, also: str = ""
    ) -> tuple[dict[ReplicaKey, Told], str]:
        """The series of each replica, and what the server warns of."""
        answers: list[Answer] = []
        warnings: dict[str, None] = {}
        variants = [pair for pair in POD_LABELS if set(pair) <= self._found.labels] if self._pods else [INSTANCE]
        for labels in variants if metrics else ():
            await self._pace()
            wanted = expression(metrics, spots, labels, window_s, both(also, self.server.match))
            said = await self.server.series(wanted, at)
            answers.append(Answer(labels, said.series))
            if said.warning:
                warnings[said.warning] = None
        what = "" if window_s == LOOK_S else also or "own"  # a look is taken once
        told = self._layouts.told(what, spots, answers, self.server)
        return told, "; ".join(warnings)

    async def _pace(self) -> None:
        now_s = self._clock.mono_s()
        wait_s = self._asked_s + 1.0 / CAP_RPS - now_s
        if wait_s > 0.0:
            await asyncio.sleep(wait_s)
        self._asked_s = max(now_s, now_s + wait_s)

    # -- what came ------------------------------------------------------------------------

    def _take(
        self, spot: Spot, targets: list[Target], labels: tuple[str, str], every_s: float, warning: str,
        proxy: Target | None = None,
    ) -> None:  # fmt: skip
        """The newest scrape that is understood; of two targets the one that was read before while it is as new."""
        key = spot.key
        before, since = self._target.get(key), self._at.get(key, 0.0)

        def read(target: Target, when: float) -> ReplicaSample | None:
            return self._reader.understand(
                target.page(when), when, self.server.who, beside(proxy, when, every_s)
            )

        best = targets[0].times[0]
        targets.sort(key=lambda each: (each.labels != before or best - each.times[0] > every_s, -each.times[0]))
        for target in targets:
            newest = target.times[0]
            if target.labels == before and newest <= since:
                return  # nothing new
            sample = read(target, newest)
            if sample is None:
                continue
            own = sample.duration is not None and bool(sample.duration.bounds_s) and sample.latency_note not in HEARD
            (self._bare.discard if own else self._bare.add)(key)
            self._target[key] = target.labels
            partial = f"{self.server.who} warns: {warning}" if warning else ""
            found = self._whereabouts.of(spot, labels, target, every_s, mixed=proxy is not None)
            for when in target.since(since, every_s / 2.0):
                earlier = sample if when == newest else read(target, when)
                if earlier is not None:
                    told = msgspec.structs.replace(
                        earlier, every_s=every_s, via=self.server.who, partial=partial, found=found
                    )
                    self._updates.append(Sampled(when, key, told))
                    self._at[key] = when
                    self._told.pop(key, None)
            return
        self._fail([key], f"what {self.server.who} has of it is of a runtime that is not known here")

    def _fail(self, keys: Iterable[ReplicaKey], why: str) -> None:
        for key in list(keys):
            if self._told.get(key) != why:
                self._told[key] = why
                self._updates.append(SampleFailed(self._clock.now(), key, why))

    def _flush(self, sink: Callable[[Sequence[Update]], None]) -> None:
        if self._updates:
            found, self._updates = self._updates, []
            sink(found)


def _words(error: NimifyError) -> str:
    """One sentence with what helps."""
    return f"{error.message}: {error.remedy}" if error.remedy else error.message
