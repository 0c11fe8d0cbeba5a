"""Which series of a region's Prometheus told of each replica, so that its numbers can be asked again elsewhere."""

from __future__ import annotations

from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.domain.asked import Found
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.promql import sign_of
from nimify_tui.sources.metrics.pages import Target
from nimify_tui.sources.metrics.selectors import Spot


class Whereabouts:
    """Those of one region; one object for a replica as long as it is told in the same way."""

    def __init__(self, region: str, server: PrometheusServer) -> None:
        self._region, self._server = region, server
        self._kept: dict[ReplicaKey, Found] = {}

    def of(self, spot: Spot, labels: tuple[str, str], target: Target, every_s: float, *, mixed: bool) -> Found:
        """Of a replica that ``target`` tells, found by these labels. ``mixed``: numbers of others are among its own."""
        sign = "" if mixed else sign_of(target.names)
        space = spot.space if labels[0] else ""
        server = self._server
        found = Found(self._region, server.who, sign, labels, space, spot.names, server.match, every_s)
        known = self._kept.get(spot.key)
        if known == found:
            return known
        self._kept[spot.key] = found
        return found

    def forget(self, there: set[ReplicaKey]) -> None:
        """These replicas are left."""
        self._kept = {key: found for key, found in self._kept.items() if key in there}
