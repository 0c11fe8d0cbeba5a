"""Asks pods that are starting, while somebody looks at them, what they are at: the last lines of their logs.

A bounded number of pods of each service and region, each now and then; nothing is asked of a pod that is ready, and
nothing at all where nobody looks. What a NIMCache is at its job's pod says in the same way.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nimify_tui.backends.kubernetes.errors import Forbidden
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import Looks, StartDemand
from nimify_tui.domain.services import ReplicaState
from nimify_tui.domain.updates import Update
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.custom import Custom
from nimify_tui.sources.kubernetes.kinds import Pod
from nimify_tui.sources.kubernetes.pace import Sleep
from nimify_tui.sources.kubernetes.pods import seconds
from nimify_tui.sources.kubernetes.startup import Phase, phase_of
from nimify_tui.sources.kubernetes.wire import Api
from nimify_tui.sources.waking import Wake

log = logging.getLogger(__name__)
#: How often it is looked for pods to ask, and how often one of them is asked; after a failure; seconds.
LOOK_S, EVERY_S, LATER_S = 0.5, 5.0, 30.0
#: Whose logs may not be read is asked again after so long, seconds.
REFUSED_S = 3600.0
#: Pods of one service, and questions under way in one region.
MOST_PODS, AT_ONCE = 4, 4
#: Of a log so many lines, and bytes of them, are read; the server has so long, seconds.
LINES, BYTES, READ_S = 80, 64 * 1024, 10.0


@dataclass(frozen=True)
class Asked:
    """One container to ask. ``cache`` is what its pod fills, None where the pod is a replica that starts."""

    pod: Pod
    container: str
    prefix: str = ""
    cache: Custom | None = None


class StartReader:
    """Answers every StartDemand of Kubernetes regions for as long as it is there.

    ``cluster`` is what a region has told, ``link`` its open connection, ``news`` is called when something new was
    put into a cluster.
    """

    def __init__(
        self,
        looks: Looks,
        cluster: Callable[[str], Cluster | None],
        link: Callable[[str], Api | None],
        news: Callable[[str], None],
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._looks, self._cluster, self._link, self._news = looks, cluster, link, news
        self._clock, self._sleep, self._rng = clock, sleep, rng or random.Random()
        #: By region and pod: when it is asked next.
        self._due_s: dict[tuple[str, str], float] = {}
        self._refused_s: dict[tuple[str, str], float] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        #: Who is asked: what they said is taken back when they are no more, so that nothing old is shown.
        self._asked: dict[tuple[str, str], Asked] = {}

    async def run(self, _sink: Callable[[Sequence[Update]], None]) -> None:
        """Ask until cancelled."""
        wake = Wake(self._looks, lambda demand: isinstance(demand, StartDemand))
        try:
            while True:
                looked_at = self._look()
                await (self._sleep(LOOK_S) if looked_at else wake.wait())
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _look(self) -> bool:
        """Ask who is due. Returns whether anybody looks."""
        self._tasks = {key: task for key, task in self._tasks.items() if not task.done()}
        now_s, there = self._clock.mono_s(), dict[tuple[str, str], Asked]()
        demands = sorted((each for each in self._looks.demands() if isinstance(each, StartDemand)), key=_of)
        for demand in demands:
            region = demand.key.region
            cluster, link = self._cluster(region), self._link(region)
            if cluster is None or link is None:
                continue
            for one in asked(cluster, demand):
                key = (region, one.pod.metadata.uid)
                there[key] = one
                place = (region, one.pod.metadata.namespace)
                busy = key in self._tasks or sum(each == region for each, _ in self._tasks) >= AT_ONCE
                if busy or now_s < self._due_s.get(key, 0.0) or now_s < self._refused_s.get(place, 0.0):
                    continue
                self._due_s[key] = now_s + EVERY_S * (1.0 + 0.2 * self._rng.random())
                self._tasks[key] = asyncio.create_task(self._ask(region, cluster, link, one), name="how it starts")
        self._due_s = {key: at_s for key, at_s in self._due_s.items() if key in there}
        for (region, uid), one in self._asked.items():
            if (region, uid) not in there and (known := self._cluster(region)) is not None:
                self._tell(region, known, one, "")
        self._asked = there
        return bool(demands)

    def _tell(self, region: str, cluster: Cluster, one: Asked, words: str) -> None:
        new = cluster.started_on(one.pod, words) if one.cache is None else cluster.nearby.filled_on(one.cache, words)
        if new:
            self._news(region)

    async def _ask(self, region: str, cluster: Cluster, link: Api, one: Asked) -> None:
        meta = one.pod.metadata
        try:
            phase = await read(link, one)
        except Forbidden:
            self._refused_s[region, meta.namespace] = self._clock.mono_s() + REFUSED_S
            return
        except NimifyError:  # it has only begun, or is gone: the region itself says what is the matter
            self._due_s[region, meta.uid] = self._clock.mono_s() + LATER_S
            return
        except Exception:  # whatever it is: it is logged whole, and the log is read again later
            log.exception("the log of a pod that starts could not be understood")
            self._due_s[region, meta.uid] = self._clock.mono_s() + LATER_S
            return
        if phase is not None and (region, meta.uid) in self._asked:
            words = f"{one.prefix}{phase.words}{_since(phase, self._clock.now())}"
            self._tell(region, cluster, one, words)


def _of(demand: StartDemand) -> tuple[str, str, str]:
    return demand.key.region, demand.key.namespace, demand.key.name


def _since(phase: Phase, now: float) -> str:
    """``, since 2 m`` once a phase lasts a minute: shorter ones are read in the column beside."""
    minutes = int((now - phase.at) // 60) if phase.at is not None else 0
    if minutes < 1:
        return ""
    return f", since {minutes} m" if minutes < 120 else f", since {minutes // 60} h"


def asked(cluster: Cluster, demand: StartDemand) -> Iterator[Asked]:
    """The containers of a service to ask now, a bounded number: those that start, and those that fill its caches."""
    key = demand.key
    uid = cluster.find(key.namespace, key.name)
    count = 0
    for pod in cluster.pods_of(uid) if uid else ():
        known = cluster.judged.get(pod.metadata.uid)
        one = container_of(pod) if known is not None and known.replica.state is ReplicaState.STARTING else None
        if one is not None:
            yield one
            count += 1
            if count >= MOST_PODS:
                return
    for cache in cluster.nearby.filling(key.namespace, key.name, uid):
        # The operator's job is named after its cache (k8s-nim-operator, nimcache_controller.go).
        start = f"{cache.metadata.name}-job-"
        for pod in cluster.pods.values():
            meta = pod.metadata
            if meta.namespace == key.namespace and meta.name.startswith(start) and pod.status.phase == "Running":
                one = container_of(pod)
                if one is not None:
                    yield Asked(pod, one.container, cache=cache)
                break


def container_of(pod: Pod) -> Asked | None:
    """The container that holds up a pod: the preparing one that runs, else the first that runs and is not ready."""
    for each in pod.status.init_container_statuses or ():
        if each.state is not None and each.state.running is not None and not each.ready:
            return Asked(pod, each.name, f"init container {clean_line(each.name, 60)}: ")
    for each in pod.status.container_statuses or ():
        if each.state is not None and each.state.running is not None and not each.ready:
            return Asked(pod, each.name)
    return None


async def read(link: Api, one: Asked) -> Phase | None:
    """What the last lines of a container's log tell. Raises the errors of the connection."""
    meta = one.pod.metadata
    query = {
        "container": one.container, "timestamps": "true", "tailLines": str(LINES), "limitBytes": str(BYTES),
    }  # fmt: skip
    path = f"/api/v1/namespaces/{meta.namespace}/pods/{meta.name}/log"
    async with link.get(path, query, accept="*/*", read_timeout_s=READ_S, limit_bytes=4 * BYTES) as answer:
        body = await answer.read()
    return phase_of(_lines(body.decode("utf-8", "replace")))


def _lines(text: str) -> Iterator[tuple[float | None, str]]:
    """(time, text) of each line."""
    for line in text.split("\n"):
        stamp, _, rest = line.partition(" ")
        at = seconds(stamp)
        if at is not None:
            yield at, rest
        elif line:
            yield None, line
