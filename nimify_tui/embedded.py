"""The embedded regions of a session: the configured ones, and those that a demo announces on this machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from nimify_tui.backends.announced import announced
from nimify_tui.backends.local import LocalBackend, Verify, ensure_supervisor, kept_model
from nimify_tui.base.clock import Clock
from nimify_tui.base.files import state_home, supervisor_socket
from nimify_tui.domain.embedded import Announced
from nimify_tui.domain.regions import Region, RegionHealth, RegionKind, RegionState
from nimify_tui.domain.services import Replica
from nimify_tui.domain.updates import RegionListed, RegionSeen
from nimify_tui.engine import FleetWork, Sink
from nimify_tui.fleet.store import Fleet
from nimify_tui.gate.policy import GatePolicy, make_region
from nimify_tui.sources.local.region import EmbeddedSource

#: A supervisor that keeps nothing and that nobody watches ends after this, seconds.
IDLE_EXIT_S = 60.0
#: How often an empty region is looked at for a supervisor, seconds.
LOOK_S = 1.0


class EmbeddedRegions:
    """Backends and sources of embedded regions.

    ``keep`` starts the supervisor of a configured region that has none; ``only`` (empty: all) narrows
    the announced regions as the command line does.
    """

    def __init__(
        self,
        regions: Sequence[Region],
        verify: Verify,
        clock: Clock,
        policy: GatePolicy,
        *,
        keep: bool,
        only: frozenset[str],
    ) -> None:
        self._verify, self._clock, self._policy, self._keep, self._only = verify, clock, policy, keep, only
        self._backends: dict[str, LocalBackend] = {}
        self._folders: dict[str, Path] = {}
        for region in regions:
            if region.kind is RegionKind.EMBEDDED:
                folder = Path(region.address)
                self._folders[region.name] = folder
                starter = self._starter(region.name, folder) if keep else None
                self._backends[region.name] = LocalBackend(supervisor_socket(folder), verify, starter=starter)
        self._configured = frozenset(self._folders)

    def discover(self) -> list[Region]:
        """Regions of a demo that runs on this machine now."""
        found = []
        for one in announced():
            if one.demo and one.name not in self._configured and (not self._only or one.name in self._only):
                self._take_in(one)
                found.append(
                    make_region(one.name, RegionKind.EMBEDDED, one.state_dir, demo=True, policy=self._policy)
                )
        return found

    async def watch(self, region: Region, sink: Sink) -> None:
        """Watch one region until cancelled."""
        backend = self._backends[region.name]
        if region.name in self._configured and not self._keep:
            await self._wait_for_supervisor(region, backend, sink)
        await EmbeddedSource(region, backend, self._clock).run(sink)

    def backend(self, name: str) -> LocalBackend | None:
        """The way to a region; None when it is not embedded."""
        return self._backends.get(name)

    def kept_model(self, name: str, sha256: str) -> Path | None:
        """The region's own copy of a model file."""
        folder = self._folders.get(name)
        return kept_model(folder, sha256) if folder is not None else None

    def fleet_work(self, numbers: bool, told: frozenset[str] = frozenset()) -> tuple[FleetWork, ...]:
        """What runs beside the regions: logs on demand and, with ``numbers``, metrics and GPUs.

        The metrics of the regions in ``told`` are told by others.
        """

        async def logs(fleet: Fleet, sink: Sink) -> None:
            from nimify_tui.sources.local.logs import LogSource

            await LogSource(fleet, self.backend, self._clock).run(sink)

        async def metrics(fleet: Fleet, sink: Sink) -> None:
            from nimify_tui.sources.metrics.scrape import ScrapeSource

            def targets() -> list[Replica]:
                return [each for each in fleet.targets() if each.key.service.region not in told]

            await ScrapeSource(targets if told else fleet.targets, self._clock).run(sink)

        async def gpus(_fleet: Fleet, sink: Sink) -> None:
            from nimify_tui.sources.gpu import GpuSource
            from nimify_tui.sources.gpu_faults import GpuFaults

            await GpuSource(self._clock, faults=GpuFaults(state_home() / "gpu-faults.json")).run(sink)

        return (logs, metrics, gpus) if numbers else (logs,)

    def _take_in(self, one: Announced) -> None:
        known = self._backends.get(one.name)
        if known is None or known.socket_path != Path(one.socket):
            self._folders[one.name] = Path(one.state_dir)
            self._backends[one.name] = LocalBackend(Path(one.socket), self._verify)

    def _starter(self, name: str, folder: Path) -> Callable[[], Awaitable[Path]]:
        return lambda: ensure_supervisor(name, folder, idle_exit_s=IDLE_EXIT_S)

    async def _wait_for_supervisor(self, region: Region, backend: LocalBackend, sink: Sink) -> None:
        """An empty folder without a supervisor is nothing to worry about: say so, and look again."""
        folder = Path(region.address)
        since = self._clock.now()
        while not backend.socket_path.exists() and not _holds_services(folder):
            now = self._clock.now()
            health = RegionHealth(
                state=RegionState.PAUSED,
                since=since,
                cause="nothing is deployed here",
                remedy="`nimify-tui deploy MODEL` begins",
            )
            sink([RegionSeen(now, region, health), RegionListed(now, region.name, (), ())])
            await asyncio.sleep(LOOK_S)


def _holds_services(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return any((entry / "desired.json").exists() for entry in folder.iterdir())
    return False
