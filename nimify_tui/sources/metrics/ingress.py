"""What stands before services and tells of each of them: ingress-nginx, and a waypoint of Istio's ambient mesh.

kubernetes/ingress-nginx: docs/user-guide/monitoring.md (labels namespace and service are the backend's; a Prometheus
renames them beside those of its target); istio.io (standard metrics, reporter "waypoint"). Its requests are those of
the services behind it, so it has no numbers of its own: nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nimify_tui.domain.measures import Front, Histogram, ReplicaSample
from nimify_tui.sources.metrics.exposition import Page, Series
from nimify_tui.sources.metrics.reading import Histograms, parts, there

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
        found = by_service(page, _DURATION, self._histograms, ("namespace", "service"))
        return ReplicaSample(at=at, source=source, latency_note=ITSELF, front=Front(BY_NGINX, found))


def by_service(
    page: Page,
    name: str,
    histograms: Histograms,
    labels: Sequence[str],
    scale: float = 1.0,
    only: Callable[[Series], bool] | None = None,
) -> dict[tuple[str, str], Histogram]:
    """One histogram for each service, by two labels: its namespace and its name."""
    space, service = labels
    found: dict[tuple[str, str], dict[str, list[Series]]] = {}
    for part in parts(name):
        for each in page.series.get(part, ()):
            key = (_of(each, space), _of(each, service))
            if all(key) and (only is None or only(each)) and (key in found or len(found) < MAX_SERVICES):
                found.setdefault(key, {}).setdefault(part, []).append(each)
    read = {key: histograms.read(Page(series, page.families), name, scale) for key, series in found.items()}
    return {key: histogram for key, histogram in read.items() if histogram is not None}


def _of(each: Series, name: str) -> str:
    return each.label(f"exported_{name}") or each.label(name)
