"""The world as a desk sees it, kept from the same updates that feed the fleet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth
from nimify_tui.domain.services import Replica, Service
from nimify_tui.domain.updates import (
    RegionGone,
    RegionListed,
    RegionSeen,
    ReplicaGone,
    ReplicaSeen,
    ServiceGone,
    ServiceSeen,
    Update,
)


class Mirror:
    """A :class:`nimify_tui.controllers.world.World` made of updates. Lives on one loop, like the sources.

    Rows read from the disk (``last_known``) are not the world: no plan is made from them.
    """

    def __init__(self) -> None:
        self._regions: dict[str, tuple[Region, RegionHealth]] = {}
        self._services: dict[ServiceKey, Service] = {}
        self._replicas: dict[ServiceKey, dict[str, Replica]] = {}
        self._news = asyncio.Event()

    def apply(self, updates: Sequence[Update]) -> None:
        """Take over what changed; other kinds of update are passed over."""
        for update in updates:
            match update:
                case RegionSeen(region=region, health=health):
                    self._regions[region.name] = (region, health)
                case RegionGone(region=name):
                    self._regions.pop(name, None)
                    self._forget(name)
                case RegionListed(last_known=False):
                    self._forget(update.region)
                    self._services |= {service.key: service for service in update.services}
                    for replica in update.replicas:
                        self._replicas.setdefault(replica.key.service, {})[replica.key.replica] = replica
                case ServiceSeen(service=service):
                    self._services[service.key] = service
                case ServiceGone(key=key):
                    self._services.pop(key, None)
                    self._replicas.pop(key, None)
                case ReplicaSeen(replica=replica):
                    self._replicas.setdefault(replica.key.service, {})[replica.key.replica] = replica
                case ReplicaGone(key=gone):
                    self._replicas.get(gone.service, {}).pop(gone.replica, None)
                case _:
                    continue
            self._news.set()

    def region(self, name: str) -> tuple[Region, RegionHealth] | None:
        """A region and how it is seen."""
        return self._regions.get(name)

    def service(self, key: ServiceKey) -> Service | None:
        """A service as its region told last."""
        return self._services.get(key)

    def services(self) -> list[Service]:
        """All services."""
        return list(self._services.values())

    def replicas(self, key: ServiceKey) -> Sequence[Replica]:
        """The replicas of a service."""
        return list(self._replicas.get(key, {}).values())

    async def changed(self, timeout_s: float) -> None:
        """Return at the next update, at the latest after ``timeout_s``."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    def _forget(self, region: str) -> None:
        for key in [key for key in self._services if key.region == region]:
            del self._services[key]
        for key in [key for key in self._replicas if key.region == region]:
            del self._replicas[key]
