"""The metrics of our own runtime (names as in serving/metrics.py) as a replica's sample."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from nimify_tui.domain.measures import Histogram, ModelSample, ReplicaSample
from nimify_tui.sources.metrics.exposition import Page, Series

_INFERENCE = "nimify_inference_"
_REQUESTS = f"{_INFERENCE}requests_total"
_DURATION, _QUEUE, _COMPUTE, _BATCH = (
    f"{_INFERENCE}{name}"
    for name in ("request_duration_seconds", "queue_duration_seconds", "compute_duration_seconds", "batch_size")
)
_IN_FLIGHT, _QUEUED = f"{_INFERENCE}requests_in_flight", f"{_INFERENCE}queue_requests"
_REJECTED, _SECURITY = "nimify_requests_rejected_total", "nimify_security_events_total"
_CACHE, _CACHE_BYTES, _EVICTIONS = (
    "nimify_cache_requests_total", "nimify_cache_bytes", "nimify_cache_evictions_total",
)  # fmt: skip
_STARTED, _CPU, _RSS, _FDS = (
    "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
)  # fmt: skip
#: Told for each model.
_OF_MODEL = (_REQUESTS, f"{_DURATION}_bucket", f"{_DURATION}_sum")
#: Label values are bounded by the runtime; a lying one is bounded here.
MAX_KEYS = 64
MAX_KEY_CHARS = 64
MAX_BUCKETS = 128
_MAX_BOUNDS = 64


class NimifyAdapter:
    """Makes samples of pages of our runtime."""

    name = "nimify"
    wanted = frozenset(
        {
            _REQUESTS, _IN_FLIGHT, _QUEUED, _REJECTED, _SECURITY, _CACHE, _CACHE_BYTES, _EVICTIONS, _STARTED, _CPU,
            _RSS, _FDS, f"{_BATCH}_sum", f"{_BATCH}_count",
            *(f"{name}_{part}" for name in (_DURATION, _QUEUE, _COMPUTE) for part in ("bucket", "sum", "count")),
        }
    )  # fmt: skip

    def __init__(self) -> None:
        self._bounds: dict[tuple[float, ...], tuple[float, ...]] = {}

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when the page is of another runtime.

        ``rejected["failed"]`` are the well-formed requests that the model could not run; other 422s of
        ``requests`` are not (see :mod:`nimify_tui.serving.infer`).
        """
        if not any(name.startswith(_INFERENCE) for name in page.families | page.series.keys()):
            return None
        series = page.series
        return ReplicaSample(
            at=at, source=source,
            started_at=_one(series.get(_STARTED)),
            requests=_by(page, _REQUESTS, "code"),
            duration=self._histogram(page, _DURATION),
            queue=self._histogram(page, _QUEUE),
            compute=self._histogram(page, _COMPUTE),
            batch_sum=_total(series.get(f"{_BATCH}_sum")),
            batch_count=_total(series.get(f"{_BATCH}_count")),
            in_flight=_total(series.get(_IN_FLIGHT)),
            queued=_total(series.get(_QUEUED)),
            rejected=_by(page, _REJECTED, "reason"),
            security=_by_two(page, _SECURITY, "category", "action"),
            cache=_by_two(page, _CACHE, "tier", "result"),
            cache_bytes=_total(series.get(_CACHE_BYTES)),
            cache_evictions=_total(series.get(_EVICTIONS)),
            cpu_s=_one(series.get(_CPU)),
            rss_bytes=_one(series.get(_RSS)),
            open_fds=_one(series.get(_FDS)),
            models=self._by_model(page),
        )  # fmt: skip

    def _by_model(self, page: Page) -> dict[str, ModelSample] | None:
        """The numbers of each of several models; None where there is one."""
        parts: dict[str, dict[str, list[Series]]] = {}
        for name in _OF_MODEL:
            for each in page.series.get(name, ()):
                model = each.label("model")[:MAX_KEY_CHARS]
                if model in parts or len(parts) < MAX_KEYS:
                    parts.setdefault(model, {}).setdefault(name, []).append(each)
        if len(parts) < 2:
            return None
        pages = {model: Page(series, page.families) for model, series in parts.items()}
        return {
            model: ModelSample(requests=_by(each, _REQUESTS, "code"), duration=self._histogram(each, _DURATION))
            for model, each in pages.items()
        }

    def _histogram(self, page: Page, name: str) -> Histogram | None:
        """All label sets of one histogram together; None when it is not there or makes no sense."""
        counts: dict[float, float] = {}
        for each in page.series.get(f"{name}_bucket", ()):
            try:
                bound = float(each.label("le"))
            except ValueError:
                return None
            if math.isnan(bound) or not _sound(each.value):
                return None
            counts[bound] = counts.get(bound, 0.0) + each.value
        if math.inf not in counts or not 1 < len(counts) <= MAX_BUCKETS:
            return None
        bounds = sorted(counts)
        cumulative = tuple(counts[bound] for bound in bounds)
        if any(later < earlier for earlier, later in pairwise(cumulative)):
            return None
        return Histogram(self._shared(tuple(bounds[:-1])), cumulative, _total(page.series.get(f"{name}_sum")) or 0.0)

    def _shared(self, bounds: tuple[float, ...]) -> tuple[float, ...]:
        """The same tuple for the same bounds, so that samples share it."""
        if len(self._bounds) > _MAX_BOUNDS:
            self._bounds.clear()
        return self._bounds.setdefault(bounds, bounds)


def _sound(value: float) -> bool:
    return math.isfinite(value) and value >= 0.0


def _one(series: list[Series] | None) -> float | None:
    return series[0].value if series and _sound(series[0].value) else None


def _total(series: Iterable[Series] | None) -> float | None:
    values = [each.value for each in series or () if _sound(each.value)]
    return sum(values) if values else None


def _known(page: Page, name: str) -> bool:
    """Whether the family is there, even if nothing was counted yet (a counter with labels has no line then)."""
    return name in page.series or name in page.families or name.removesuffix("_total") in page.families


def _by(page: Page, name: str, label: str) -> dict[str, float] | None:
    if not _known(page, name):
        return None
    found: dict[str, float] = {}
    for each in page.series.get(name, ()):
        key = each.label(label)[:MAX_KEY_CHARS]
        if _sound(each.value) and (key in found or len(found) < MAX_KEYS):
            found[key] = found.get(key, 0.0) + each.value
    return found


def _by_two(page: Page, name: str, first: str, second: str) -> dict[tuple[str, str], float] | None:
    if not _known(page, name):
        return None
    found: dict[tuple[str, str], float] = {}
    for each in page.series.get(name, ()):
        key = (each.label(first)[:MAX_KEY_CHARS], each.label(second)[:MAX_KEY_CHARS])
        if _sound(each.value) and (key in found or len(found) < MAX_KEYS):
            found[key] = found.get(key, 0.0) + each.value
    return found
