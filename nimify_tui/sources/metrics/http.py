"""Servers that are known by nothing but histograms of HTTP requests, under names that are widespread.

prometheus-fastapi-instrumentator (README, default metrics); OpenTelemetry's semantic conventions for HTTP servers
(http.server.request.duration in seconds, and http.server.duration in milliseconds before 1.23) as its Prometheus
exporters write them, Knative's queue-proxy since 1.19 among them.
"""

from __future__ import annotations

from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.sources.metrics.exposition import Page, Series
from nimify_tui.sources.metrics.reading import (
    CPU,
    FDS,
    PROCESS,
    RSS,
    STARTED,
    Histograms,
    by_status,
    one,
    parts,
    there,
    total,
)

_REQUESTS, _ACTIVE = "http_requests_total", "http_server_active_requests"
#: Name and what makes seconds of it; one of them is taken, so that nothing counts twice.
_DURATIONS = (
    ("http_request_duration_seconds", 1.0), ("http_server_request_duration_seconds", 1.0),
    ("http_server_duration_milliseconds", 1e-3),
)  # fmt: skip
_PATHS = ("handler", "path", "http_route", "http_target", "endpoint")
_STATUS = ("status", "code", "status_code", "http_response_status_code", "http_status_code")
#: Who asks there is no client of the model.
_OWN = ("/metrics", "/health", "/live", "/ready", "/docs", "/openapi")


class HttpAdapter:
    """Makes samples of pages that no other adapter knows."""

    name = "http"
    announced = frozenset[str]()
    wanted = frozenset({_REQUESTS, _ACTIVE, *parts(*(name for name, _ in _DURATIONS)), *PROCESS})

    def __init__(self) -> None:
        self._histograms = Histograms()

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return bool(_duration(page)[0]) or there(page, _REQUESTS, "http_requests")

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when there is nothing of that kind either."""
        if not self.knows(page):
            return None
        name, scale = _duration(page)
        series = page.series
        duration = self._histograms.read(page, name, scale, _of_clients) if name else None
        counted = series.get(_REQUESTS) or series.get(f"{name}_count")
        requests = by_status(counted, _STATUS, _of_clients) if counted is not None else None
        if requests is None and duration is not None:
            requests = {"": duration.counts[-1]}
        return ReplicaSample(
            at=at, source=source, runtime=self.name,
            started_at=one(series.get(STARTED)),
            requests=requests,
            duration=duration,
            in_flight=total(series.get(_ACTIVE)),
            latency_note="" if duration is not None else f"no histogram: it tells no {_DURATIONS[0][0]}",
            cpu_s=one(series.get(CPU)),
            rss_bytes=one(series.get(RSS)),
            open_fds=one(series.get(FDS)),
        )  # fmt: skip


def _duration(page: Page) -> tuple[str, float]:
    """The first of its histograms that is there, and what makes seconds of it."""
    return next(
        (pair for pair in _DURATIONS if there(page, pair[0], f"{pair[0]}_bucket", f"{pair[0]}_count")), ("", 1.0)
    )


def _of_clients(each: Series) -> bool:
    return not next(filter(None, map(each.label, _PATHS)), "").startswith(_OWN)
