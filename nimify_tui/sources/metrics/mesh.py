"""What a mesh's proxy beside a pod tells of the requests that came in to it: Istio's standard metrics, Envoy's own.

It is heard where the runtime itself has no histogram (Triton), and of pods that tell nothing themselves. One proxy sees
each request of a mesh twice, at who asks and at who answers; heard is the one at the pod that answers, and it alone.
istio.io/latest/docs/reference/config/metrics (with reporter "waypoint" from before services, not from beside a pod);
envoyproxy.io (configuration, upstreams, cluster manager, statistics): both in milliseconds. With Istio's merging of
metrics they stand on the same page as the runtime's own.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from nimify_tui.domain.measures import Front, Histogram, ReplicaSample
from nimify_tui.sources.metrics.exposition import Page, Series
from nimify_tui.sources.metrics.gateways import cluster_of, gateway
from nimify_tui.sources.metrics.ingress import ITSELF, by_labels, by_service
from nimify_tui.sources.metrics.reading import Histograms, by_status, parts

_ISTIO, _ISTIO_MS = "istio_requests_total", "istio_request_duration_milliseconds"
_ENVOY, _ENVOY_MS = "envoy_cluster_upstream_rq_xx", "envoy_cluster_upstream_rq_time"
#: The cluster of an Envoy by which it reaches the process beside it, as Istio, Consul and Kuma name it. A name that
#: does not say so may be a way out, and is not heard.
_INBOUND = re.compile(r"inbound\||local_app\Z|local_agent\Z|localhost[:_]\d+\Z")
#: A waypoint stands before services, and tells which.
_SERVICE, BY_WAYPOINT = (
    by_labels("destination_service_namespace", "destination_service_name"), "by its mesh (Istio's waypoint)",
)  # fmt: skip
FROM_ISTIO, FROM_ENVOY = "by its mesh (Istio, at the pod)", "by the Envoy at the pod"
HEARD = frozenset({FROM_ISTIO, FROM_ENVOY})


class Heard(NamedTuple):
    """What a proxy told: requests by status, their durations, and who it is in words."""

    requests: dict[str, float] | None
    duration: Histogram | None
    who: str


class Mesh:
    """Completes samples by what the proxy at the pod tells. For one thread."""

    wanted = frozenset({_ISTIO, _ENVOY, *parts(_ISTIO_MS, _ENVOY_MS)})
    #: Those by which it is found out how often a proxy is scraped.
    anchors = frozenset({_ISTIO, _ENVOY})

    def __init__(self) -> None:
        self._histograms = Histograms()

    def heard(self, page: Page) -> Heard | None:
        """What a proxy of the page tells of requests that came in; Istio's words before those of the Envoy it runs."""
        for counter, histogram, labels, ours, who in (
            (_ISTIO, _ISTIO_MS, ("response_code",), _at_destination, FROM_ISTIO),
            (_ENVOY, _ENVOY_MS, ("envoy_response_code_class",), _inbound, FROM_ENVOY),
        ):
            requests = by_status(page.series.get(counter, ()), labels, ours)
            duration = self._histograms.read(page, histogram, 1e-3, ours)
            if requests or duration is not None:
                return Heard(requests or None, duration, who)
        return None

    def complete(self, sample: ReplicaSample, page: Page) -> ReplicaSample:
        """The sample with percentiles by the mesh where it has none of its own; never both."""
        if sample.duration is not None and sample.duration.bounds_s:
            return sample
        found = self.heard(page)
        if found is None or found.duration is None:
            return sample
        told = sample.requests
        if (told is None or "" in told) and found.requests is not None:
            told = found.requests
        return msgspec.structs.replace(sample, requests=told, duration=found.duration, latency_note=found.who)

    def alone(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """A sample of a pod that tells nothing itself; None where no proxy tells of it either.

        It may stand before services itself: as a waypoint, or as a gateway.
        """
        found = self.heard(page)
        if found is None:
            behind = by_service(page, _ISTIO_MS, self._histograms, _behind_waypoint, 1e-3)
            front, why = (Front(BY_WAYPOINT, behind), "") if behind else gateway(page, _ENVOY_MS, self._histograms)
            if front is None and not why:
                return None
            return ReplicaSample(at=at, source=source, latency_note=why or ITSELF, front=front)
        return ReplicaSample(
            at=at, source=source, requests=found.requests, duration=found.duration, latency_note=found.who
        )


def _at_destination(each: Series) -> bool:
    return each.label("reporter") == "destination"


def _behind_waypoint(each: Series) -> tuple[str, str] | None:
    return _SERVICE(each) if each.label("reporter") == "waypoint" else None


def _inbound(each: Series) -> bool:
    return _INBOUND.match(cluster_of(each)) is not None
