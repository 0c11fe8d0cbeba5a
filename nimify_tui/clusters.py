"""The Kubernetes regions of a session: the configured ones, or the kubeconfig's current context."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nimify_tui.base.clock import Clock
from nimify_tui.config import Config
from nimify_tui.domain.names import suggest_name
from nimify_tui.domain.regions import Region, RegionKind
from nimify_tui.engine import FleetWork, Sink
from nimify_tui.fleet.store import Fleet
from nimify_tui.gate.policy import make_region

if TYPE_CHECKING:
    from nimify_tui.backends.kubernetes.connection import Connection
    from nimify_tui.backends.kubernetes.place import ClusterPlace
    from nimify_tui.backends.kubernetes.sockets import PodSockets, Verify
    from nimify_tui.domain.demands import LogDemand, ObjectDemand
    from nimify_tui.sources.kubernetes.kinds import Pod
    from nimify_tui.sources.kubernetes.objects import Place
    from nimify_tui.sources.kubernetes.region import KubernetesSource

#: A larger kubeconfig is not looked through for its current context.
MAX_BYTES = 8 * 1024 * 1024
_CURRENT = re.compile(
    r"""(?:^|[{,])[ \t]*["']?current-context["']?[ \t]*:[ \t]*["']?([^"'\n,#}]+)""", re.MULTILINE
)


@dataclass(frozen=True)
class _Where:
    """How a region is reached: a context ("" is the current one) and the namespaces that are read (empty: all)."""

    context: str
    namespaces: tuple[str, ...] = ()


class ClusterRegions:
    """Sources of Kubernetes regions. ``only`` (empty: all) narrows as the command line does."""

    def __init__(self, config: Config, clock: Clock, only: Sequence[str]) -> None:
        self._clock = clock
        self._links: dict[str, Connection] = {}
        self._sources: dict[str, KubernetesSource] = {}
        self._where = {
            item.name: _Where(item.context or "", item.namespaces)
            for item in config.region
            if item.kind == "kubernetes"
        }
        #: What is watched without having been configured.
        self.found: tuple[Region, ...] = ()
        context = current_context() if config.is_default else ""
        name = region_name(context, {item.name for item in config.region}) if context else ""
        if name and (not only or name in only):
            self._where[name] = _Where(context)
            self.found = (
                make_region(name, RegionKind.KUBERNETES, f"context {context}", policy=config.gate_policy),
            )

    async def watch(self, region: Region, sink: Sink) -> None:
        """Watch one region until cancelled."""
        from nimify_tui.sources.kubernetes.region import KubernetesSource, Link

        where = self._where[region.name]

        async def connect() -> Link:
            # Files are read outside of the loop that serves all regions.
            place = await asyncio.to_thread(_place, where.context)
            from nimify_tui.backends.kubernetes.connection import Connection

            connection = Connection(place, clock=self._clock)
            await connection.open()
            self._links[region.name] = connection
            return connection

        source = KubernetesSource(region, connect, self._clock, namespaces=where.namespaces)
        self._sources[region.name] = source
        try:
            await source.run(sink)
        finally:
            self._links.pop(region.name, None)
            self._sources.pop(region.name, None)

    def link(self, region: str) -> Connection | None:
        """The open connection of a region, one for all that is done there; None while there is none."""
        return self._links.get(region)

    def sockets(self, verify: Verify, region: str) -> PodSockets | None:
        """The way into the pods of a region; None while there is no connection."""
        link = self.link(region)
        return link.sockets(verify) if link is not None else None

    def fleet_work(self) -> tuple[FleetWork, ...]:
        """What runs beside the regions: what is looked up on demand. Nothing where there is no cluster."""
        return (self._logs, self._objects) if self._where else ()

    async def _objects(self, fleet: Fleet, sink: Sink) -> None:
        """Read what objects are looked at, until cancelled."""
        from nimify_tui.sources.kubernetes.objects import ObjectReader, place_of

        def place(demand: ObjectDemand) -> Place | None:
            source = self._sources.get(demand.key.region)
            return place_of(source.cluster, demand) if source is not None else None

        await ObjectReader(fleet, place, self.link, self._where.__contains__, self._clock).run(sink)

    async def _logs(self, fleet: Fleet, sink: Sink) -> None:
        """Follow what logs are looked at, until cancelled."""
        from nimify_tui.sources.kubernetes.logs import PodLogs, pods_of

        def pods(demand: LogDemand) -> Sequence[Pod]:
            source = self._sources.get(demand.key.region)
            return pods_of(source.cluster, demand) if source is not None else ()

        await PodLogs(fleet, pods, self.link, self._where.__contains__, self._clock).run(sink)


def _place(context: str) -> ClusterPlace:
    """Where ``context`` is; inside a pod without any kubeconfig, the cluster around it. Raises ConfigurationError."""
    from nimify_tui.backends.kubernetes import kubeconfig

    known = kubeconfig.load()
    if not known.contexts and not context and (inside := kubeconfig.in_cluster()) is not None:
        return inside
    return known.place(context)


def current_context() -> str:
    """The current context's name, "" without one: a quick look that the first frame can wait for.

    The files are read as a whole, and judged, when the region connects.
    """
    from nimify_tui.backends.kubernetes.kubeconfig import files_named

    for path in files_named(os.environ):
        try:
            if not path.is_file() or path.stat().st_size > MAX_BYTES:
                continue
            match = _CURRENT.search(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if match is not None and match[1].strip():
            return match[1].strip()
    return ""


def region_name(context: str, taken: set[str]) -> str:
    """A region's name for a context: clouds put paths and accounts around the cluster's own name."""
    name = suggest_name(context.rpartition("/")[2])
    return name if name not in taken else suggest_name(f"{name}-cluster")
