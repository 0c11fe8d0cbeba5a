"""A region with what is looked up on demand, as a session puts it together: for tests on a real cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nimify_tui.backends.kubernetes.connection import Connection
from nimify_tui.backends.kubernetes.place import ClusterPlace
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.demands import LogDemand, LogLine
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import Region, RegionKind
from nimify_tui.domain.updates import Update
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.kubernetes.logs import PodLogs, pods_of
from nimify_tui.sources.kubernetes.objects import ObjectReader, place_of
from nimify_tui.sources.kubernetes.region import KubernetesSource
from nimify_tui.sources.kubernetes.starting import StartReader
from tests.kube.cluster import cri

T = TypeVar("T")
SPACE = "logged"
REGION = Region(name="us-east-1", kind=RegionKind.KUBERNETES, address="context us-east-1", short="use1")


def key(name: str) -> ServiceKey:
    return ServiceKey(REGION.name, name, SPACE)


def deployment(name: str, replicas: int = 1, fault: str = "", beside: bool = False) -> dict[str, Any]:
    labels = {"app": name} | ({"lab/fault": fault} if fault else {})
    containers = [{"name": "main", "image": "nvcr.io/nvidia/tritonserver:26.09-py3"}]
    containers += [{"name": "beside", "image": "busybox:1"}] if beside else []
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": SPACE},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }  # fmt: skip


def write(file: Path, *texts: str | bytes, at: float | None = None) -> None:
    with file.open("ab") as log:
        log.write(cri(*texts, at=at))


class Following:
    """A region with its logs, as a session puts them together."""

    def __init__(self, place: ClusterPlace) -> None:
        self.fleet, self.clock = Fleet(), SystemClock()
        self._place = place
        self.listeners: list[Callable[[Sequence[Update]], None]] = []
        self.link: Connection | None = None
        self.source = KubernetesSource(REGION, self._connect, self.clock, namespaces=(SPACE,))
        self.logs = PodLogs(
            self.fleet, lambda demand: pods_of(self.source.cluster, demand), lambda _: self.link,
            lambda name: name == REGION.name, self.clock,
        )  # fmt: skip
        self.starts = StartReader(
            self.fleet, lambda _: self.source.cluster, lambda _: self.link, lambda _: self.source.heard(), self.clock
        )
        self.objects = ObjectReader(
            self.fleet, lambda demand: place_of(self.source.cluster, demand), lambda _: self.link,
            lambda name: name == REGION.name, self.clock,
        )  # fmt: skip

    async def _connect(self) -> Connection:
        self.link = Connection(self._place, clock=self.clock)
        await self.link.open()
        return self.link

    def _sink(self, updates: Sequence[Update]) -> None:
        self.fleet.apply_many(updates)
        for listener in self.listeners:
            listener(updates)

    @contextlib.asynccontextmanager
    async def running(self, *demands: LogDemand, ready: int = 1) -> AsyncGenerator[None]:
        """With the demands up, once the service has so many ready pods."""
        works = (self.source, self.logs, self.objects, self.starts)
        tasks = [asyncio.create_task(work.run(self._sink)) for work in works]
        try:
            if demands:
                name = demands[0].key.name
                await self.until(lambda: self.ready(name) == ready, f"{ready} ready pods")
            for demand in demands:
                self.fleet.demand(demand)
            yield
            assert not any(task.done() for task in tasks), "none ends by itself"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def pods(self, name: str) -> list[str]:
        return [each.metadata.name for each in pods_of(self.source.cluster, LogDemand(key(name)))]

    def ready(self, name: str) -> int:
        pods = pods_of(self.source.cluster, LogDemand(key(name)))
        return sum(any(each.ready for each in pod.status.container_statuses or ()) for pod in pods)

    async def until(self, probe: Callable[[], T | None], what: str, deadline_s: float = 30.0) -> T:
        end_s = asyncio.get_running_loop().time() + deadline_s
        while not (found := probe()):
            assert asyncio.get_running_loop().time() < end_s, f"not seen: {what}"
            await tick(0.05)
        return found

    def lines(self, demand: LogDemand) -> list[LogLine]:
        return self.fleet.log_tail(demand).since(0)[1]

    def texts(self, demand: LogDemand) -> list[str]:
        return [line.text for line in self.lines(demand)]

    def marks(self, demand: LogDemand) -> list[str]:
        return [line.text for line in self.lines(demand) if line.mark]


async def tick(seconds: float) -> None:
    """Let the loop work on for a moment."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()
