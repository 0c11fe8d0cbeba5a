"""The cluster as updates: what was told before is remembered, so only differences are told."""

from __future__ import annotations

import asyncio

import msgspec

from nimify_tui.base.clock import Clock
from nimify_tui.domain.services import Replica, Service
from nimify_tui.domain.updates import GpuMapSeen, ReplicaGone, ReplicaSeen, ServiceGone, ServiceSeen, Update
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.workloads import alone_service, service_of

#: After so many replicas the loop is left to the other regions for a moment.
SLICE = 200


class Telling:
    """What a region's source has told of its services."""

    def __init__(self, cluster: Cluster, region: str) -> None:
        self._cluster = cluster
        self._region = region
        #: How long the last telling took of this loop, what others did meanwhile left out; seconds.
        self.took_s = 0.0
        self._services: dict[str, Service] = {}
        self._replicas: dict[str, dict[str, Replica]] = {}

    async def everything(self, clock: Clock) -> tuple[tuple[Service, ...], tuple[Replica, ...]]:
        """All services and all replicas."""
        self._cluster.dirty.update(self._cluster.workloads, self._cluster.nearby.every_alone())
        await self.news(clock)
        self.took_s = 0.0  # it was no news
        self._cluster.gpus.again()
        replicas = tuple(each for some in self._replicas.values() for each in some.values())
        return tuple(self._services.values()), replicas

    def names(self, now: float) -> list[Service]:
        """The workloads as services before anything is known of their pods; not remembered as told."""
        found = [service_of(self._cluster, uid, self._region, now)[0] for uid in self._cluster.workloads]
        return [msgspec.structs.replace(each, progress="", failure="") for each in found]

    async def news(self, clock: Clock) -> list[Update]:
        """What is other than it was told; lets other regions run in between.

        What changes meanwhile is told the next time: while thousands of pods roll, every workload would be looked at
        again and again. Only where a name has another owner by now, the rest is told at once, so that no row is given
        away in one telling and taken over in another.
        """
        gone: list[Update] = []
        seen: list[Update] = []
        cluster, looked_at, since_s = self._cluster, 0, clock.mono_s()
        waiting, cluster.renamed, self.took_s = list(cluster.dirty), False, 0.0
        cluster.dirty.clear()
        try:
            while waiting:
                looked_at += self._one(waiting.pop(), clock.now(), gone, seen)
                if looked_at >= SLICE:
                    looked_at = 0
                    self.took_s += clock.mono_s() - since_s
                    await asyncio.sleep(0)
                    since_s = clock.mono_s()
        finally:
            cluster.dirty.update(waiting)  # who ended it early has seen nothing of these
        self.took_s += clock.mono_s() - since_s
        while cluster.renamed and cluster.dirty:
            self._one(cluster.dirty.pop(), clock.now(), gone, seen)
        if (places := self._cluster.gpus.news(self._cluster.nodes.values())) is not None:
            seen.append(GpuMapSeen(clock.now(), self._region, places))
        # Services that are gone come first: another one may have their name by now.
        return gone + seen

    def _one(self, uid: str, now: float, gone: list[Update], seen: list[Update]) -> int:
        """Look at one workload; returns how much work that was."""
        before, told = self._services.get(uid), self._replicas.get(uid, {})
        replicas: dict[str, Replica] = {}
        if uid in self._cluster.workloads:
            service, replicas = service_of(self._cluster, uid, self._region, now)
        elif (alone := self._cluster.alone(uid)) is not None:
            service = alone_service(*alone, self._region, now)
        else:
            self._services.pop(uid, None)
            self._replicas.pop(uid, None)
            if before is not None:
                gone.append(ServiceGone(now, before.key))
            return 1
        if before is not None and before.key != service.key:  # it got, or gave up, the plain name
            gone.append(ServiceGone(now, before.key))
            before, told = None, {}
        if before != service:
            seen.append(ServiceSeen(now, service))
        # Gone before new: a StatefulSet's next pod has the name of the one before.
        seen += [ReplicaGone(now, old.key) for pod, old in told.items() if pod not in replicas]
        seen += [
            ReplicaSeen(now, new)
            for pod, new in replicas.items()
            if (old := told.get(pod)) is not new and old != new
        ]
        self._services[uid], self._replicas[uid] = service, replicas
        return 1 + len(replicas)
