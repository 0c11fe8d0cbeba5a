"""Servers that are known by nothing but histograms of HTTP requests or predictions, under names that are widespread.

prometheus-fastapi-instrumentator (README, default metrics) and KServe's Python server
(kserve/kserve: python/kserve/kserve/metrics.py).
"""

from __future__ import annotations

from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.sources.metrics.exposition import Page, Series
from nimify_tui.sources.metrics.reading import (
    CPU,
    FDS,
    MAX_KEY_CHARS,
    MAX_KEYS,
    PROCESS,
    RSS,
    STARTED,
    Histograms,
    one,
    parts,
    sound,
    there,
)

_REQUESTS, _DURATION, _PREDICT = "http_requests_total", "http_request_duration_seconds", "request_predict_seconds"
#: Who asks there is no client of the model.
_OWN = ("/metrics", "/health", "/live", "/ready", "/docs", "/openapi")
#: "2xx" as the status that is counted like all of them.
_GROUPS = {"1xx": "100", "2xx": "200", "3xx": "300", "4xx": "400", "5xx": "500"}


class HttpAdapter:
    """Makes samples of pages that no other adapter knows."""

    name = "http"
    announced = frozenset[str]()
    wanted = frozenset({_REQUESTS, *parts(_DURATION, _PREDICT), *PROCESS})

    def __init__(self) -> None:
        self._histograms = Histograms()

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when there is nothing of that kind either."""
        buckets = (f"{_DURATION}_bucket", f"{_PREDICT}_bucket")
        if not there(page, _REQUESTS, "http_requests", _DURATION, _PREDICT, *buckets):
            return None
        series = page.series
        duration = self._histograms.read(page, _DURATION, only=_of_clients) or self._histograms.read(page, _PREDICT)
        requests = _by_status(page)
        if requests is None and duration is not None:
            requests = {"": duration.counts[-1]}
        return ReplicaSample(
            at=at, source=source, runtime=self.name,
            started_at=one(series.get(STARTED)),
            requests=requests,
            duration=duration,
            latency_note="" if duration is not None else f"no histogram: it tells no {_DURATION}",
            cpu_s=one(series.get(CPU)),
            rss_bytes=one(series.get(RSS)),
            open_fds=one(series.get(FDS)),
        )  # fmt: skip


def _of_clients(each: Series) -> bool:
    return not (each.label("handler") or each.label("path")).startswith(_OWN)


def _by_status(page: Page) -> dict[str, float] | None:
    """The requests by status; None where they are not counted. Of an unknown status: by the code ""."""
    if _REQUESTS not in page.series:
        return None
    found: dict[str, float] = {}
    for each in page.series[_REQUESTS]:
        if not _of_clients(each) or not sound(each.value):
            continue
        status = (each.label("status") or each.label("code") or each.label("status_code"))[:MAX_KEY_CHARS]
        status = _GROUPS.get(status, status)
        if status in found or len(found) < MAX_KEYS:
            found[status] = found.get(status, 0.0) + each.value
    return found
