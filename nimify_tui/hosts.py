"""The Docker regions of a session: the configured ones, their sources and the one open connection of each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nimify_tui.base.clock import Clock
from nimify_tui.config import Config
from nimify_tui.config.schema import RegionConfig
from nimify_tui.domain.regions import Region
from nimify_tui.engine import FleetWork, Sink
from nimify_tui.fleet.store import Fleet

if TYPE_CHECKING:
    from nimify_tui.backends.docker.connection import Connection
    from nimify_tui.controllers.docker.making import Recipe
    from nimify_tui.domain.names import ReplicaKey, ServiceKey
    from nimify_tui.sources.docker.host import Known
    from nimify_tui.sources.docker.region import DockerSource


class DockerRegions:
    """Docker hosts: one engine each. Nothing of it is imported before a region of this kind is watched."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._clock = clock
        self._where = {item.name: item for item in config.region if item.kind == "docker"}
        self._links: dict[str, Connection] = {}
        self._sources: dict[str, DockerSource] = {}
        self._told: frozenset[str] = frozenset()

    def link(self, region: str) -> Connection | None:
        """The open connection of a region, one for all that is done there; None while there is none."""
        return self._links.get(region)

    def recipe(self, region: str) -> Recipe:
        """What images are made of in a region, as it is configured."""
        from nimify_tui.controllers.docker.making import FRONT_IMAGE, Recipe

        item = self._where[region]
        wheels = Path(item.wheelhouse).expanduser() if item.wheelhouse else None
        return Recipe(
            front_image=item.front_image or FRONT_IMAGE, base_image=item.base_image or "", wheelhouse=wheels
        )

    async def watch(self, region: Region, sink: Sink) -> None:
        """Watch one region until cancelled."""
        from nimify_tui.sources.docker.region import DockerSource, Link

        item = self._where[region.name]

        async def connect() -> Link:
            self._links.pop(region.name, None)
            connection = await greeted(item)
            self._links[region.name] = connection
            return connection

        source = DockerSource(region, connect, self._clock)
        self._sources[region.name] = source
        try:
            await source.run(sink)
        finally:
            self._links.pop(region.name, None)
            self._sources.pop(region.name, None)

    def fleet_work(self, numbers: bool = False, told: frozenset[str] = frozenset()) -> tuple[FleetWork, ...]:
        """What runs beside the regions: what is looked up on demand and, with ``numbers``, their GPUs.

        Nothing where there is no Docker region. The GPUs of the regions in ``told`` are told by others.
        """
        self._told = told
        on_demand = (self._logs, self._use, self._objects)
        return ((*on_demand, self._gpus) if numbers else on_demand) if self._where else ()

    async def _gpus(self, fleet: Fleet, sink: Sink) -> None:
        """Read the GPUs out of the containers that export them, until cancelled."""
        from nimify_tui.backends.http import HttpClient
        from nimify_tui.monitors import gpu_faults
        from nimify_tui.sources.metrics.dcgm_direct import DirectCards, Exporter, by_address

        async with HttpClient() as client:

            def exporters() -> dict[str, list[Exporter]]:
                found: dict[str, list[Exporter]] = {name: [] for name in self._where.keys() - self._told}
                for each in fleet.gpu_exporters():
                    region = each.key.service.region
                    if region in found and each.admin_url:
                        name = f"container {each.key.replica}"
                        found[region].append(by_address(client, name, each.admin_url, region))
                return found

            await DirectCards(exporters, gpu_faults("containers"), self._clock).run(sink)

    async def _logs(self, fleet: Fleet, sink: Sink) -> None:
        """Follow what logs are looked at, until cancelled."""
        from nimify_tui.sources.docker.logs import ContainerLogs

        await ContainerLogs(fleet, self._members, self.link, self._where.__contains__, self._clock).run(sink)

    async def _objects(self, fleet: Fleet, sink: Sink) -> None:
        """Read what containers are looked at, until cancelled."""
        from nimify_tui.sources.docker.objects import ContainerReader

        await ContainerReader(fleet, self._members, self.link, self._where.__contains__, self._clock).run(sink)

    def _members(self, key: ServiceKey) -> Sequence[Known]:
        source = self._sources.get(key.region)
        host = source.host if source is not None else None
        return host.members(key) if host is not None else ()

    async def _use(self, fleet: Fleet, sink: Sink) -> None:
        """Measure what is looked at, until cancelled."""
        from nimify_tui.sources.docker.use import UseSource

        def shown(row_id: str) -> Sequence[tuple[str, ReplicaKey, str]]:
            hosts = [(name, source.host) for name, source in self._sources.items()]
            return [
                (name, key, uid)
                for name, host in hosts
                if host is not None
                for key, uid in host.running(row_id)
            ]

        await UseSource(fleet, shown, self.link, self._clock).run(sink)


async def greeted(item: RegionConfig) -> Connection:
    """An open connection to the engine of a region that has answered once. Raises NimifyError."""
    from nimify_tui.backends.docker.connection import Connection
    from nimify_tui.backends.docker.place import place_of

    # Files are read outside of the loop that serves all regions.
    place = await asyncio.to_thread(place_of, item.url or "", item.context or "", dict(os.environ))
    connection = Connection(place)
    try:
        await connection.open()
        await connection.hello()
    except BaseException:
        await connection.close()
        raise
    return connection
