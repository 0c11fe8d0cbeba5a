"""A source on a real cluster, heard by a fleet: what the tests of Kubernetes regions look at."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from nimify_tui.backends.kubernetes.connection import Connection
from nimify_tui.backends.kubernetes.place import ClusterPlace
from nimify_tui.base.clock import SystemClock
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import ServiceState
from nimify_tui.domain.updates import Changed, RegionSeen, Update
from nimify_tui.fleet.frames import ServiceRow
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.kubernetes.region import KubernetesSource
from tests.kube.cluster import Cluster
from tests.kube.reach import let_pass
from tests.support import wait_for

T = TypeVar("T")
SPACE = "watched"
REGION = Region(name="us-east-1", kind=RegionKind.KUBERNETES, address="context us-east-1", short="use1")
TRITON = "nvcr.io/nvidia/tritonserver:26.09-py3"
#: Waits of ours pass so many times faster.
FASTER = 20.0


def deployment(name: str, image: str, replicas: int = 1, fault: str = "", **container: Any) -> dict[str, Any]:
    labels = {"app": name} | ({"lab/fault": fault} if fault else {})
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": image, **container}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": SPACE}, "spec": spec,
    }  # fmt: skip


class FastClock(SystemClock):
    """Spans pass so many times faster, as the waits do; the time of day is the real one."""

    def __init__(self, faster: float) -> None:
        self._faster = faster

    def mono_s(self) -> float:
        return super().mono_s() * self._faster


class Watching:
    """A source on a real cluster, heard by a fleet. Its waits pass ``faster``; only what is in SPACE is read."""

    def __init__(
        self,
        place: ClusterPlace,
        region: Region = REGION,
        faster: float = FASTER,
        rest: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.updates: list[Update] = []
        self.fleet = Fleet()
        self.clock = FastClock(faster)
        self._place = place
        self._came = asyncio.Event()
        self.source = KubernetesSource(
            region, self._connect, self.clock, namespaces=(SPACE,), sleep=lambda s: let_pass(s / faster), rest=rest
        )

    async def _connect(self) -> Connection:
        connection = Connection(self._place, clock=self.clock)
        await connection.open()
        return connection

    def _sink(self, updates: Sequence[Update]) -> None:
        self.updates += updates
        self.fleet.apply_many(updates)
        self._came.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self.source.run(self._sink))
        try:
            yield
            assert not task.done(), "the source must never end by itself"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, probe: Callable[[], T | None], what: str, deadline_s: float = 40.0) -> T:
        """Until ``probe`` answers; it is asked again at each update."""
        try:
            async with asyncio.timeout(deadline_s):
                while not (found := probe()):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"not seen: {what}; rows {self.rows}") from None
        return found

    async def until_state(self, state: RegionState) -> None:
        await self.until(lambda: self.state is state, f"region {state}")

    @property
    def health(self) -> RegionHealth:
        """How the region is seen now."""
        return [each.health for each in self.updates if isinstance(each, RegionSeen)][-1]

    @property
    def state(self) -> RegionState | None:
        return next(
            (each.health.state for each in reversed(self.updates) if isinstance(each, RegionSeen)), None
        )

    @property
    def rows(self) -> dict[str, ServiceRow]:
        rows = self.fleet.publish(self.clock.now()).rows
        return {row.name: row for row_id, row in rows.items() if "@" not in row_id}

    def row(self, name: str, state: ServiceState) -> ServiceRow | None:
        found = self.rows.get(name)
        return found if found is not None and found.state is state else None

    def changes(self, kind: ChangeKind) -> list[str]:
        return [
            each.change.text
            for each in self.updates
            if isinstance(each, Changed) and each.change.kind is kind
        ]

    def versions(self) -> dict[str, dict[str, str]]:
        """By kind: what each reflector holds, uid -> version."""
        return {
            each.kind.plural: {uid: one.metadata.resource_version for uid, one in each.rows.items()}
            for each in self.source._reflectors
        }


def truth(cluster: Cluster, plural: str) -> dict[str, str]:
    items = json.loads(cluster.kubectl("get", plural, "--namespace", SPACE, "--output=json"))["items"]
    return {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in items}


async def agrees(watching: Watching, cluster: Cluster) -> None:
    """What the source holds becomes what the server has."""
    loop = asyncio.get_running_loop()
    for plural in ("deployments", "replicasets", "pods"):

        async def held(plural: str = plural) -> dict[str, str]:
            return watching.versions()[plural]

        def same(plural: str = plural) -> bool:
            has = truth(cluster, plural)
            return asyncio.run_coroutine_threadsafe(held(), loop).result(5) == has

        await asyncio.to_thread(wait_for, same, 20, why=f"the same {plural}", every_s=0.1)
