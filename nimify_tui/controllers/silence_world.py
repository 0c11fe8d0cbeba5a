"""The world as the desk of silences sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nimify_tui.controllers.world import World
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionState
from nimify_tui.domain.services import Replica, Service


class SilenceWorld:
    """The world as the desk of silences sees it: an Alertmanager may answer while its region does not."""

    def __init__(self, world: World) -> None:
        self._world = world

    def region(self, name: str) -> tuple[Region, RegionHealth] | None:
        """A region; whether its Alertmanagers answer is seen when they are asked."""
        found = self._world.region(name)
        return None if found is None else (found[0], RegionHealth(state=RegionState.LIVE, since=found[1].since))

    def service(self, _key: ServiceKey) -> Service | None:
        """No target of a silence is a service."""
        return None

    def replicas(self, _key: ServiceKey) -> Sequence[Replica]:
        """None has replicas."""
        return ()

    async def changed(self, timeout_s: float) -> None:
        """Nothing tells when a silence is there: it is looked again."""
        await asyncio.sleep(timeout_s)
