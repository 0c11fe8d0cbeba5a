"""What stands before services and tells of each of them: ingress-nginx, and alike a mesh's waypoint and gateways.

kubernetes/ingress-nginx: docs/user-guide/monitoring.md (labels namespace and service are the backend's; a Prometheus
renames them beside those of its target). Waypoints are in mesh.py, gateways that are an Envoy in gateways.py. Its
requests are those of the services behind it, so it has no numbers of its own: nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable

from nimify_tui.domain.measures import Front, Histogram, ReplicaSample
from nimify_tui.sources.metrics.exposition import Page, Series
from nimify_tui.sources.metrics.reading import Histograms, parts, there

#: The namespace and the name of the Service that a series tells of; None where that is nobody's.
Whose = Callable[[Series], tuple[str, str] | None]
_DURATION = "nginx_ingress_controller_request_duration_seconds"
#: Services behind one front that are told of.
MAX_SERVICES = 256
BY_NGINX = "by its ingress (nginx)"
ITSELF = "what stands before services has their numbers, and none of its own"


class IngressAdapter:
    """Makes samples of pages of ingress-nginx."""

    name = "ingress"
    announced = frozenset[str]()
    wanted = parts(_DURATION)

    def __init__(self) -> None:
        self._histograms = Histograms()

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return there(page, _DURATION, f"{_DURATION}_bucket")

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when the page is of something else."""
        if not self.knows(page):
            return None
        found = by_service(page, _DURATION, self._histograms, by_labels("namespace", "service"))
        return ReplicaSample(at=at, source=source, latency_note=ITSELF, front=Front(BY_NGINX, found))


def by_service(
    page: Page, name: str, histograms: Histograms, whose: Whose, scale: float = 1.0
) -> dict[tuple[str, str], Histogram]:
    """One histogram for each service, by its namespace and its name."""
    found: dict[tuple[str, str], dict[str, list[Series]]] = {}
    for part in parts(name):
        for each in page.series.get(part, ()):
            key = whose(each)
            if key is not None and (key in found or len(found) < MAX_SERVICES):
                found.setdefault(key, {}).setdefault(part, []).append(each)
    read = {key: histograms.read(Page(series, page.families), name, scale) for key, series in found.items()}
    return {key: histogram for key, histogram in read.items() if histogram is not None}


def by_labels(space: str, service: str) -> Whose:
    """By two labels, which a Prometheus renames beside those of its target."""

    def whose(each: Series) -> tuple[str, str] | None:
        key = (_of(each, space), _of(each, service))
        return key if all(key) else None

    return whose


def _of(each: Series, name: str) -> str:
    return each.label(f"exported_{name}") or each.label(name)
