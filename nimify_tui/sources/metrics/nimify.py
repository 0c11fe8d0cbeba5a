"""The metrics of our own runtime (names as in serving/metrics.py) as a replica's sample."""

from __future__ import annotations

from nimify_tui.domain.measures import ModelSample, ReplicaSample
from nimify_tui.sources.metrics.exposition import Page
from nimify_tui.sources.metrics.reading import (
    CPU,
    FDS,
    PROCESS,
    RSS,
    STARTED,
    Histograms,
    begins,
    by_model,
    counts_by,
    counts_by_two,
    one,
    parts,
    total,
)

_INFERENCE = "nimify_inference_"
_REQUESTS = f"{_INFERENCE}requests_total"
_DURATION, _QUEUE, _COMPUTE, _BATCH = (
    f"{_INFERENCE}{name}"
    for name in ("request_duration_seconds", "queue_duration_seconds", "compute_duration_seconds", "batch_size")
)
_IN_FLIGHT, _QUEUED = f"{_INFERENCE}requests_in_flight", f"{_INFERENCE}queue_requests"
_BUILD = "nimify_build_info"
_REJECTED, _SECURITY = "nimify_requests_rejected_total", "nimify_security_events_total"
_CACHE, _CACHE_BYTES, _EVICTIONS = (
    "nimify_cache_requests_total", "nimify_cache_bytes", "nimify_cache_evictions_total",
)  # fmt: skip
#: Told for each model.
_OF_MODEL = (_REQUESTS, f"{_DURATION}_bucket", f"{_DURATION}_sum")


class NimifyAdapter:
    """Makes samples of pages of our runtime."""

    name = "nimify"
    announced = frozenset({_REQUESTS, _REJECTED, _SECURITY})
    wanted = frozenset(
        {
            _BUILD, _REQUESTS, _IN_FLIGHT, _QUEUED, _REJECTED, _SECURITY, _CACHE, _CACHE_BYTES, _EVICTIONS,
            f"{_BATCH}_sum", f"{_BATCH}_count", *parts(_DURATION, _QUEUE, _COMPUTE), *PROCESS,
        }
    )  # fmt: skip

    def __init__(self) -> None:
        self._histograms = Histograms()

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return begins(page, _INFERENCE)

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when the page is of another runtime.

        ``rejected["failed"]`` are the well-formed requests that the model could not run; other 422s of
        ``requests`` are not (see :mod:`nimify_tui.serving.infer`).
        """
        if not self.knows(page):
            return None
        series = page.series
        return ReplicaSample(
            at=at, source=source, runtime=self.name,
            started_at=one(series.get(STARTED)),
            requests=counts_by(page, _REQUESTS, "code"),
            duration=self._histograms.read(page, _DURATION),
            queue=self._histograms.read(page, _QUEUE),
            compute=self._histograms.read(page, _COMPUTE),
            batch_sum=total(series.get(f"{_BATCH}_sum")),
            batch_count=total(series.get(f"{_BATCH}_count")),
            in_flight=total(series.get(_IN_FLIGHT)),
            queued=total(series.get(_QUEUED)),
            rejected=counts_by(page, _REJECTED, "reason"),
            security=counts_by_two(page, _SECURITY, "category", "action"),
            cache=counts_by_two(page, _CACHE, "tier", "result"),
            cache_bytes=counts_by(page, _CACHE_BYTES, "tier"),
            cache_evictions=total(series.get(_EVICTIONS)),
            cpu_s=one(series.get(CPU)),
            rss_bytes=one(series.get(RSS)),
            open_fds=one(series.get(FDS)),
            models=by_model(page, _OF_MODEL, self._of_model),
            digests=_digests(page),
        )  # fmt: skip

    def _of_model(self, page: Page) -> ModelSample:
        return ModelSample(
            requests=counts_by(page, _REQUESTS, "code"), duration=self._histograms.read(page, _DURATION)
        )


def _digests(page: Page) -> tuple[str, ...] | None:
    """The digests of its models; one that has loaded none tells an empty one."""
    told = counts_by(page, _BUILD, "model_sha256")
    return None if told is None else tuple(sorted(filter(None, told)))
