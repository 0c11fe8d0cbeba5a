"""Which series of a region's Prometheus told of each replica, so that its numbers can be asked again elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from nimify_tui.backends.prometheus.server import PrometheusServer
from nimify_tui.domain.asked import Found
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.promql import sign_of
from nimify_tui.sources.metrics.pages import Target
from nimify_tui.sources.metrics.selectors import Spot

#: Labels of (namespace, replica), both their values, how often it is read, and whether others are among its own.
_Way = tuple[tuple[str, str], str, tuple[str, ...], float, bool]


class Whereabouts:
    """Those of one region; one object for a replica as long as it is told in the same way."""

    def __init__(self, region: str, server: PrometheusServer) -> None:
        self._region, self._server = region, server
        #: With what they were made of: it hardly ever changes from one page to the next.
        self._kept: dict[ReplicaKey, tuple[_Way, Mapping[str, object], Found]] = {}

    def of(self, spot: Spot, labels: tuple[str, str], target: Target, every_s: float, *, mixed: bool) -> Found:
        """Of a replica that ``target`` tells, found by these labels. ``mixed``: numbers of others are among its own."""
        way, known = (labels, spot.space, spot.names, every_s, mixed), self._kept.get(spot.key)
        if known is not None and known[1] is target.names and known[0] == way:
            return known[2]
        sign = "" if mixed else sign_of(target.names)
        space = spot.space if labels[0] else ""
        server = self._server
        found = Found(self._region, server.who, sign, labels, space, spot.names, server.match, every_s)
        if known is not None and known[2] == found:
            found = known[2]
        self._kept[spot.key] = (way, target.names, found)
        return found

    def forget(self, there: set[ReplicaKey]) -> None:
        """These replicas are left."""
        if not self._kept.keys() <= there:
            self._kept = {key: found for key, found in self._kept.items() if key in there}
