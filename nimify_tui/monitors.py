"""The Prometheus-compatible servers of a session: who of the regions has one, and what reads there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nimify_tui.base.clock import Clock, SystemClock
from nimify_tui.base.errors import ConfigurationError
from nimify_tui.config import Config
from nimify_tui.config.monitoring import place_of
from nimify_tui.config.schema import Endpoint, RegionConfig
from nimify_tui.domain.live import Forward
from nimify_tui.engine import FleetWork, Sink
from nimify_tui.fleet.store import Fleet

if TYPE_CHECKING:
    from nimify_tui.backends.kubernetes.connection import Connection
    from nimify_tui.backends.prometheus.server import PrometheusServer
    from nimify_tui.sources.gpu_faults import GpuFaults


Forwards = Callable[[], Sequence[Forward]]


class Monitors:
    """The regions whose numbers come from a server; they are not scraped by us as well.

    ``only`` (empty: all) narrows as ``--region`` does; ``link`` gives the open connection of a cluster, ``forwards``
    the session's port-forwards. Nothing of it is imported before such a region is watched.
    """

    def __init__(
        self,
        config: Config,
        only: Sequence[str],
        link: Callable[[str], Connection | None],
        clock: Clock,
        forwards: Forwards = tuple,
    ) -> None:
        self._link, self._clock, self._forwards = link, clock, forwards
        told = {item.name: item for item in config.region if item.prometheus and (not only or item.name in only)}
        self._endpoints = {name: item.prometheus for name, item in told.items() if item.prometheus}
        self._clusters = frozenset(name for name, item in told.items() if item.kind == "kubernetes")
        #: The regions that have a server.
        self.regions = frozenset(told)

    def fleet_work(self, numbers: bool) -> tuple[FleetWork, ...]:
        """What runs beside the regions; nothing without ``numbers``, or where no region has a server."""
        return (self._read,) if numbers and self.regions else ()

    def server(self, name: str) -> PrometheusServer:
        """The server of a region that has one; nothing is connected yet."""
        endpoint = self._endpoints[name]
        return server_of(endpoint, partial(self._link, name), self._clock, name, self._forwards)

    async def _read(self, fleet: Fleet, sink: Sink) -> None:
        """Read until cancelled: the numbers of the replicas, their past while one looks at it, and the GPUs."""
        from nimify_tui.sources.metrics.dcgm_prometheus import PrometheusCards
        from nimify_tui.sources.metrics.past import PrometheusPast
        from nimify_tui.sources.metrics.prometheus import PrometheusScrapes

        servers = {name: self.server(name) for name in self._endpoints}
        pods = self._clusters.__contains__
        scrapes = PrometheusScrapes(fleet, servers, pods, self._clock)
        past = PrometheusPast(fleet, servers, pods, self._clock)
        gpus = PrometheusCards(servers, gpu_faults("prometheus"), self._clock)
        async with asyncio.TaskGroup() as group:
            group.create_task(scrapes.run(sink), name="Prometheus")
            group.create_task(past.run(sink), name="Prometheus: the past")
            group.create_task(gpus.run(sink), name="Prometheus: GPUs")


def gpu_faults(teller: str) -> GpuFaults:
    """Where the XIDs that one teller of clusters' GPUs told are kept: each file has one writer."""
    from nimify_tui.base.files import state_home
    from nimify_tui.sources.gpu_faults import GpuFaults

    return GpuFaults(state_home() / f"gpu-faults-{teller}.json")


def server_of(
    endpoint: Endpoint | str,
    link: Callable[[], Connection | None],
    clock: Clock,
    region: str,
    forwards: Forwards = tuple,
) -> PrometheusServer:
    """The server of a region; nothing is connected yet."""
    from nimify_tui.backends.prometheus.server import PrometheusServer
    from nimify_tui.backends.prometheus.through import Through
    from nimify_tui.backends.prometheus.ways import Direct, Forwarded, Way

    place = place_of(endpoint)
    way: Way = Through(place, link, clock=clock) if place.inside else Direct(place, clock=clock)
    if place.behind is not None:
        way = Forwarded(place, region, forwards, clock)
    return PrometheusServer(way, clock)


async def looked_at(item: RegionConfig, kubeconfig: str = "") -> str:
    """What the server of a region has, in one line. Raises NimifyError for a server that is of no use."""
    from nimify_tui.backends.kubernetes.connection import Connection
    from nimify_tui.clusters import place_of_context
    from nimify_tui.sources.metrics.adapters import Reader
    from nimify_tui.sources.metrics.mesh import Mesh
    from nimify_tui.sources.metrics.selectors import POD_LABELS

    assert item.prometheus is not None
    clock, link = SystemClock(), None
    if place_of(item.prometheus).inside:
        link = Connection(place_of_context(item.context or "", kubeconfig))
        await link.open()
    server = server_of(item.prometheus, lambda: link, clock, item.name)
    try:
        found = await server.discover(sorted(Reader().wanted | Mesh.anchors), clock.now(), 300.0)
    finally:
        server.close()
        if link is not None:
            await link.close()
    if not Reader().wanted_with(found.names) and Mesh.anchors.isdisjoint(found.names):
        text = f"{server.part} has none of the metrics that are understood here"
        raise ConfigurationError(text, "is it the right one, and the right tenant?")
    said = f"{server.part} has {len(found.names)} of the metrics that are understood here"
    if item.kind == "kubernetes" and not any(set(pair) <= found.labels for pair in POD_LABELS):
        raise ConfigurationError(f"{said}, and no label of pods", "relabel its targets: namespace, pod")
    return said + (f"; its clock is {server.ahead_s:+.0f} s from ours" if server.ahead_s else "")
