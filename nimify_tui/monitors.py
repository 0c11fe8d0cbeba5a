"""The Prometheus-compatible servers of a session: who of the regions has one, and what reads there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nimify_tui.base.clock import Clock, SystemClock
from nimify_tui.base.errors import ConfigurationError
from nimify_tui.config import Config
from nimify_tui.config.monitoring import place_of
from nimify_tui.config.schema import Endpoint, RegionConfig
from nimify_tui.engine import FleetWork, Sink
from nimify_tui.fleet.store import Fleet

if TYPE_CHECKING:
    from nimify_tui.backends.kubernetes.connection import Connection
    from nimify_tui.backends.prometheus.server import PrometheusServer


class Monitors:
    """The regions whose numbers come from a server; they are not scraped by us as well.

    ``only`` (empty: all) narrows as ``--region`` does; ``link`` gives the open connection of a cluster. Nothing of it
    is imported before such a region is watched.
    """

    def __init__(
        self, config: Config, only: Sequence[str], link: Callable[[str], Connection | None], clock: Clock
    ) -> None:
        self._link, self._clock = link, clock
        told = {item.name: item for item in config.region if item.prometheus and (not only or item.name in only)}
        self._endpoints = {name: item.prometheus for name, item in told.items() if item.prometheus}
        self._clusters = frozenset(name for name, item in told.items() if item.kind == "kubernetes")
        #: The regions that have a server.
        self.regions = frozenset(told)

    def fleet_work(self, numbers: bool) -> tuple[FleetWork, ...]:
        """What runs beside the regions; nothing without ``numbers``, or where no region has a server."""
        return (self._read,) if numbers and self.regions else ()

    async def _read(self, fleet: Fleet, sink: Sink) -> None:
        """Read until cancelled."""
        from nimify_tui.sources.metrics.past import PrometheusPast
        from nimify_tui.sources.metrics.prometheus import PrometheusScrapes

        servers = {
            name: server_of(endpoint, lambda name=name: self._link(name), self._clock)  # type: ignore[misc]  # a default binds it
            for name, endpoint in self._endpoints.items()
        }
        pods = self._clusters.__contains__
        past = asyncio.create_task(PrometheusPast(fleet, servers, pods, self._clock).run(sink), name="the past")
        try:
            await PrometheusScrapes(fleet, servers, pods, self._clock).run(sink)
        finally:
            past.cancel()
            await asyncio.gather(past, return_exceptions=True)


def server_of(
    endpoint: Endpoint | str, link: Callable[[], Connection | None], clock: Clock
) -> PrometheusServer:
    """The server of a region; nothing is connected yet."""
    from nimify_tui.backends.prometheus.server import PrometheusServer
    from nimify_tui.backends.prometheus.ways import Direct, Through

    place = place_of(endpoint)
    return PrometheusServer(Through(place, link) if place.inside else Direct(place), clock)


async def looked_at(item: RegionConfig, kubeconfig: str = "") -> str:
    """What the server of a region has, in one line. Raises NimifyError for a server that is of no use."""
    from nimify_tui.backends.kubernetes.connection import Connection
    from nimify_tui.clusters import place_of_context
    from nimify_tui.sources.metrics.adapters import Reader
    from nimify_tui.sources.metrics.selectors import POD_LABELS

    assert item.prometheus is not None
    clock, link = SystemClock(), None
    if place_of(item.prometheus).inside:
        link = Connection(place_of_context(item.context or "", kubeconfig))
        await link.open()
    server = server_of(item.prometheus, lambda: link, clock)
    try:
        found = await server.discover(sorted(Reader().wanted), clock.now(), 300.0)
    finally:
        server.close()
        if link is not None:
            await link.close()
    if not Reader().wanted_with(found.names):
        text = f"{server.who} has none of the metrics that are understood here"
        raise ConfigurationError(text, "is it the right one, and the right tenant?")
    said = f"{server.who} has {len(found.names)} of the metrics that are understood here"
    if item.kind == "kubernetes" and not any(set(pair) <= found.labels for pair in POD_LABELS):
        raise ConfigurationError(f"{said}, and no label of pods", "relabel its targets: namespace, pod")
    return said + (f"; its clock is {server.ahead_s:+.0f} s from ours" if server.ahead_s else "")
