"""Triton's metrics: counters always, histograms and summaries only where they are switched on.

triton-inference-server/server: docs/user_guide/metrics.md; core: src/metrics.cc, src/infer_stats.cc (durations are
summed for requests that succeeded, so they are divided by those alone).
"""

from __future__ import annotations

from nimify_tui.domain.measures import ModelSample, ReplicaSample, TokenSample
from nimify_tui.sources.metrics.exposition import Page, Rows
from nimify_tui.sources.metrics.reading import (
    Histograms,
    by_model,
    counts_by,
    first,
    mean,
    means,
    parts,
    there,
    total,
)

_N = "nv_inference_"
_SUCCESS, _FAILURE, _COUNT, _EXECUTIONS, _PENDING = (
    f"{_N}{name}"
    for name in ("request_success", "request_failure", "count", "exec_count", "pending_request_count")
)
_REQUEST_US, _QUEUE_US = f"{_N}request_duration_us", f"{_N}queue_duration_us"
_COMPUTE_US = tuple(f"{_N}compute_{part}_duration_us" for part in ("input", "infer", "output"))
_FIRST, _SUMMARY = f"{_N}first_response_histogram_ms", f"{_N}request_summary_us"
#: By model, and of the whole server where it does not tell by model (2.38).
_HITS, _ALL_HITS = "nv_cache_num_hits_per_model", "nv_cache_num_hits"
_MISSES, _ALL_MISSES = "nv_cache_num_misses_per_model", "nv_cache_num_misses"
#: TensorRT-LLM inside Triton (triton-inference-server/tensorrtllm_backend: README, Triton Metrics): gauges by a label.
_LLM, _BLOCKS = "nv_trt_llm_request_metrics", "nv_trt_llm_kv_cache_block_metrics"
_OF_MODEL = (_SUCCESS, _FAILURE, f"{_FIRST}_bucket", f"{_FIRST}_sum")
#: Histograms are of releases after 2.51 (24.10), the newest that was recorded.
DOCUMENTED = frozenset(parts(_FIRST))
#: Why a request failed as the status that says the same; all other reasons are the server's own.
_FAILURES = {"REJECTED": "503", "CANCELED": "499"}
NO_HISTOGRAM = "no histogram: start it with --metrics-config histogram_latencies=true"
#: Summaries are percentiles of one process: those of several cannot be merged, and are never averaged.
SUMMARIES = "summaries of single replicas cannot be merged: start it with --metrics-config histogram_latencies=true"
FIRST_RESPONSE = "time to the first response"


class TritonAdapter:
    """Makes samples of pages of Triton."""

    name = "triton"
    announced = frozenset[str]()
    wanted = frozenset(
        {
            _SUCCESS, _FAILURE, _COUNT, _EXECUTIONS, _PENDING, _REQUEST_US, _QUEUE_US, *_COMPUTE_US, _HITS, _MISSES,
            _ALL_HITS, _ALL_MISSES, _SUMMARY, _LLM, _BLOCKS, *parts(_FIRST),
        }
    )  # fmt: skip

    def __init__(self) -> None:
        self._histograms = Histograms()

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return there(page, _SUCCESS, _FAILURE, _COUNT)

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when the page is of another runtime."""
        if not self.knows(page):
            return None
        series = page.series
        answered = total(series.get(_SUCCESS))
        duration = self._histograms.read(page, _FIRST, 1e-3)
        note = FIRST_RESPONSE if duration is not None else SUMMARIES if there(page, _SUMMARY) else NO_HISTOGRAM
        hits = first((total(series.get(_HITS)), total(series.get(_ALL_HITS))))
        misses = first((total(series.get(_MISSES)), total(series.get(_ALL_MISSES))))
        return ReplicaSample(
            at=at, source=source, runtime=self.name,
            requests=_requests(page),
            duration=duration or means(answered, _seconds(page, _REQUEST_US)),
            latency_note=note,
            queue=means(answered, _seconds(page, _QUEUE_US)),
            compute=means(answered, _seconds(page, *_COMPUTE_US)),
            batch_sum=total(series.get(_COUNT)),
            batch_count=total(series.get(_EXECUTIONS)),
            in_flight=_of_kind(series.get(_LLM), "request_type", "active"),
            queued=first((_of_kind(series.get(_LLM), "request_type", "waiting"), total(series.get(_PENDING)))),
            cache={("l1", "hit"): hits or 0.0, ("l1", "miss"): misses or 0.0}
            if hits is not None or misses is not None
            else None,
            models=by_model(page, _OF_MODEL, self._of_model),
            tokens=_tokens(page),
        )  # fmt: skip

    def _of_model(self, page: Page) -> ModelSample:
        return ModelSample(requests=_requests(page), duration=self._histograms.read(page, _FIRST, 1e-3))


def _requests(page: Page) -> dict[str, float] | None:
    answered, failures = total(page.series.get(_SUCCESS)), counts_by(page, _FAILURE, "reason")
    if answered is None and not failures:
        return None
    found = {"200": answered or 0.0}
    for reason, count in (failures or {}).items():
        code = _FAILURES.get(reason, "500")
        found[code] = found.get(code, 0.0) + count
    return found


def _of_kind(series: Rows | None, label: str, kind: str) -> float | None:
    """The sum of the gauges of one kind."""
    return total(each for each in series or () if each.label(label) == kind)


def _tokens(page: Page) -> TokenSample | None:
    """How full the KV cache is, where a model is TensorRT-LLM's; it tells nothing of tokens."""
    series = page.series.get(_BLOCKS)
    told = mean(each for each in series or () if each.label("kv_cache_block_type") == "fraction")
    used, most = (_of_kind(series, "kv_cache_block_type", kind) for kind in ("used", "max"))
    if told is None and used is not None and most:
        told = min(1.0, used / most)
    return TokenSample(kv_ratio=told) if series is not None else None


def _seconds(page: Page, *names: str) -> float | None:
    """Microseconds of several counters as seconds, None where one is not there."""
    values = [total(page.series.get(name)) for name in names]
    told = [each for each in values if each is not None]
    return sum(told) / 1e6 if len(told) == len(names) else None
