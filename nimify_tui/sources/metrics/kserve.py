"""KServe's Python server: histograms of the steps of a prediction, and nothing of how a request ended.

kserve/kserve: python/kserve/kserve/metrics.py; qpext adds labels of Knative to the same names.
"""

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
    by_model,
    one,
    parts,
    there,
    total,
)

_PREDICT, _EXPLAIN = "request_predict_seconds", "request_explain_seconds"
_COUNT = f"{_PREDICT}_count"
_OF_MODEL = (f"{_PREDICT}_bucket", f"{_PREDICT}_sum", _COUNT)
#: The steps before and after it have histograms of their own, and distributions cannot be added up.
PREDICT_STEP = "the predict step alone"


class KserveAdapter:
    """Makes samples of pages of KServe's Python server."""

    name = "kserve"
    announced = frozenset[str]()
    wanted = frozenset({*parts(_PREDICT, _EXPLAIN), *PROCESS})

    def __init__(self) -> None:
        self._histograms = Histograms()

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return there(page, _PREDICT, f"{_PREDICT}_bucket", _COUNT)

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when the page is of another runtime."""
        if not self.knows(page):
            return None
        series = page.series
        duration = self._histograms.read(page, _PREDICT)
        return ReplicaSample(
            at=at, source=source, runtime=self.name,
            started_at=one(series.get(STARTED)),
            requests=_requests(page),
            duration=duration,
            latency_note=PREDICT_STEP if duration is not None else f"no histogram: it tells no {_PREDICT}",
            cpu_s=one(series.get(CPU)),
            rss_bytes=one(series.get(RSS)),
            open_fds=one(series.get(FDS)),
            models=by_model(page, _OF_MODEL, self._of_model, "model_name"),
        )  # fmt: skip

    def _of_model(self, page: Page) -> ModelSample:
        return ModelSample(requests=_requests(page), duration=self._histograms.read(page, _PREDICT))


def _requests(page: Page) -> dict[str, float] | None:
    """Predictions and explanations; how they ended ("") nobody says."""
    told = [total(page.series.get(name)) for name in (_COUNT, f"{_EXPLAIN}_count")]
    counts = [each for each in told if each is not None]
    if counts:
        return {"": sum(counts)}
    # A server whose page was cut to the buckets: the last one has them all.
    last = [each for each in page.series.get(f"{_PREDICT}_bucket", ()) if each.label("le") == "+Inf"]
    found = total(last)
    return {"": found} if found is not None else None
