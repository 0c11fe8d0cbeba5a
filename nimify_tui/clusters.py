"""The Kubernetes regions of a session: the configured ones, or the kubeconfig's current context."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ValidationError
from nimify_tui.config import Config
from nimify_tui.domain.names import ServiceKey, suggest_name
from nimify_tui.domain.regions import Region, RegionKind, RegionState
from nimify_tui.engine import FleetWork, Sink
from nimify_tui.fleet.store import Fleet
from nimify_tui.gate.policy import make_region

if TYPE_CHECKING:
    from nimify_tui.backends.kubernetes.connection import Connection
    from nimify_tui.backends.kubernetes.place import ClusterPlace
    from nimify_tui.backends.kubernetes.sockets import PodSockets, Verify
    from nimify_tui.domain.demands import LogDemand, ObjectDemand
    from nimify_tui.sources.kubernetes.cluster import Cluster
    from nimify_tui.sources.kubernetes.kinds import Pod
    from nimify_tui.sources.kubernetes.objects import Place
    from nimify_tui.sources.kubernetes.region import KubernetesSource

#: A larger kubeconfig is not looked through for its current context.
MAX_BYTES = 8 * 1024 * 1024
#: Regions whose servers answer: pods can be asked through them.
ANSWERING = (RegionState.LIVE, RegionState.THROTTLED, RegionState.STALE)
_CURRENT = re.compile(
    r"""(?:^|[{,])[ \t]*["']?current-context["']?[ \t]*:[ \t]*["']?([^"'\n,#}]+)""", re.MULTILINE
)


@dataclass(frozen=True)
class _Where:
    """How a region is reached: a context ("" is the current one) and the namespaces that are read (empty: all)."""

    context: str
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What a command line says of clusters: ``--kubeconfig``, ``--context`` (again and again), ``--namespace``."""

    kubeconfig: str = ""
    contexts: tuple[str, ...] = ()
    namespace: str = ""


#: Nothing is said of clusters.
ANY = Wanted()


class ClusterRegions:
    """Kubernetes regions: their sources, and the one open connection of each, which its controller uses, too.

    ``only`` (empty: all) narrows as ``--region`` does; named contexts are the only clusters then. What is read
    beyond the names of the services waits for ``rest``.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        only: Sequence[str],
        wanted: Wanted = ANY,
        rest: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._kubeconfig = wanted.kubeconfig
        self._links: dict[str, Connection] = {}
        self._sources: dict[str, KubernetesSource] = {}
        self._told: frozenset[str] = frozenset()
        space = (wanted.namespace,) if wanted.namespace else ()
        self._where = {
            item.name: _Where(item.context or "", space or item.namespaces)
            for item in config.region
            if item.kind == "kubernetes"
        }
        #: What is watched without having been configured.
        self.found: tuple[Region, ...] = ()
        #: The regions that the named contexts mean, configured or not; empty when none is named.
        self.named: tuple[str, ...] = ()
        contexts = wanted.contexts
        if not contexts and (config.is_default or wanted.kubeconfig):
            contexts = tuple(filter(None, [current_context(wanted.kubeconfig)]))
        taken = {item.name for item in config.region}
        unnamed = contexts and any(not where.context for where in self._where.values())
        current = current_context(wanted.kubeconfig) if unnamed else ""
        for context in dict.fromkeys(contexts):
            known = next(
                (name for name, where in self._where.items() if (where.context or current) == context), ""
            )
            name = known or region_name(context, taken)
            if wanted.contexts:
                self.named += (name,)
            if known or (only and name not in only):
                continue
            taken.add(name)
            self._where[name] = _Where(context, space)
            self.found += (
                make_region(name, RegionKind.KUBERNETES, f"context {context}", policy=config.gate_policy),
            )

    def rights(self, kind: Callable[[ServiceKey], str], may_change: Callable[[str], bool]) -> FleetWork:
        """What answers which changes are allowed on the services that somebody looks at."""

        async def work(fleet: Fleet, sink: Sink) -> None:
            if not self._where:
                return
            from nimify_tui.sources.kubernetes.rights import RightsSource

            await RightsSource(fleet, self.link, kind, may_change, self._clock).run(sink)

        return work

    def link(self, region: str) -> Connection | None:
        """The open connection of a region, one for all that is done there; None while there is none."""
        return self._links.get(region)

    async def watch(self, region: Region, sink: Sink) -> None:
        """Watch one region until cancelled."""
        from nimify_tui.sources.kubernetes.region import KubernetesSource, Link

        where = self._where[region.name]

        async def connect() -> Link:
            # Files are read outside of the loop that serves all regions.
            place = await asyncio.to_thread(place_of_context, where.context, self._kubeconfig)
            from nimify_tui.backends.kubernetes.connection import Connection

            connection = Connection(place, clock=self._clock)
            await connection.open()
            self._links[region.name] = connection
            return connection

        source = KubernetesSource(region, connect, self._clock, namespaces=where.namespaces, rest=self._rest)
        self._sources[region.name] = source
        try:
            await source.run(sink)
        finally:
            self._links.pop(region.name, None)
            self._sources.pop(region.name, None)

    async def reconnect(self, region: str) -> None:
        """Ask a region again now, also for kinds that it has refused. Raises ValidationError: it is no cluster."""
        self._source(region).again()

    def _source(self, region: str) -> KubernetesSource:
        source = self._sources.get(region)
        if source is None:
            raise ValidationError(f"{region} is no Kubernetes region of this console", "name one that is")
        return source

    async def login(self, region: str) -> None:
        """Run the login of one region in this process' terminal, which must be free, and connect to it again.

        Raises CredentialsFailed, and ValidationError for a region that is no cluster.
        """
        source = self._source(region)
        try:
            if (link := self._links.get(region)) is not None:
                await link.login()
        finally:
            source.again()

    def sockets(self, verify: Verify, region: str) -> PodSockets | None:
        """The way into the pods of a region; None while there is no connection."""
        link = self.link(region)
        return link.sockets(verify) if link is not None else None

    def fleet_work(self, numbers: bool, told: frozenset[str] = frozenset()) -> tuple[FleetWork, ...]:
        """What runs beside the regions: what is looked up on demand and, with ``numbers``, the metrics of pods.

        Nothing where there is no cluster. The metrics of the regions in ``told`` are told by others.
        """
        self._told = told
        if not self._where:
            return ()
        on_demand = (self._logs, self._objects, self._starts)
        return (*on_demand, self._numbers, self._gpus) if numbers else on_demand

    def _live(self, fleet: Fleet) -> list[str]:
        """The regions whose pods we ask ourselves, and can."""
        ours = self._where.keys() - self._told
        rows = fleet.frame.regions
        return [row.region.name for row in rows if row.health.state in ANSWERING and row.region.name in ours]

    async def _numbers(self, fleet: Fleet, sink: Sink) -> None:
        """Read the metrics of pods, until cancelled."""
        from nimify_tui.sources.metrics.proxied import ProxiedScrapes

        await ProxiedScrapes(fleet, self.link, lambda: self._live(fleet), self._clock).run(sink)

    async def _gpus(self, fleet: Fleet, sink: Sink) -> None:
        """Read the GPUs out of the pods that export them, until cancelled."""
        from nimify_tui.monitors import gpu_faults
        from nimify_tui.sources.kubernetes.exporters import exporters_of
        from nimify_tui.sources.metrics.dcgm_direct import DirectCards, Exporter, by_proxy
        from nimify_tui.sources.metrics.turns import pod_path

        def exporters() -> dict[str, list[Exporter]]:
            found: dict[str, list[Exporter]] = {}
            for name in self._live(fleet):
                source, link = self._sources.get(name), self.link(name)
                if source is None or link is None or not link.is_open:
                    continue
                paths = [(each, pod_path(each.space, each.name, each.place)) for each in exporters_of(source.cluster)]
                found[name] = [by_proxy(link, each.space, each.name, path, each.node) for each, path in paths if path]
            return found

        await DirectCards(exporters, gpu_faults("pods"), self._clock).run(sink)

    async def _objects(self, fleet: Fleet, sink: Sink) -> None:
        """Read what objects are looked at, until cancelled."""
        from nimify_tui.sources.kubernetes.objects import ObjectReader, place_of

        def place(demand: ObjectDemand) -> Place | None:
            source = self._sources.get(demand.key.region)
            return place_of(source.cluster, demand) if source is not None else None

        await ObjectReader(fleet, place, self.link, self._where.__contains__, self._clock).run(sink)

    async def _starts(self, fleet: Fleet, sink: Sink) -> None:
        """Ask what starts, while it is looked at, what it is at, until cancelled."""
        from nimify_tui.sources.kubernetes.starting import StartReader

        def cluster(region: str) -> Cluster | None:
            source = self._sources.get(region)
            return source.cluster if source is not None else None

        def news(region: str) -> None:
            if (source := self._sources.get(region)) is not None:
                source.heard()

        await StartReader(fleet, cluster, self.link, news, self._clock).run(sink)

    async def _logs(self, fleet: Fleet, sink: Sink) -> None:
        """Follow what logs are looked at, until cancelled."""
        from nimify_tui.sources.kubernetes.logs import PodLogs, pods_of

        def pods(demand: LogDemand) -> Sequence[Pod]:
            source = self._sources.get(demand.key.region)
            return pods_of(source.cluster, demand) if source is not None else ()

        await PodLogs(fleet, pods, self.link, self._where.__contains__, self._clock).run(sink)


def place_of_context(context: str, file: str) -> ClusterPlace:
    """Where ``context`` is; inside a pod without any kubeconfig, the cluster around it. Raises ConfigurationError."""
    from nimify_tui.backends.kubernetes import kubeconfig

    known = kubeconfig.load(explicit=file)
    if not known.contexts and not context and not file and (inside := kubeconfig.in_cluster()) is not None:
        return inside
    return known.place(context)


def current_context(file: str = "") -> str:
    """The current context's name, "" without one: a quick look that the first frame can wait for.

    The files are read as a whole, and judged, when the region connects.
    """
    from nimify_tui.backends.kubernetes.kubeconfig import files_named

    for path in files_named(os.environ, file):
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
