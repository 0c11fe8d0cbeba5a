"""TensorRT-LLM's own server (trtllm-serve, at /prometheus/metrics) and Dynamo's worker: names with ``trtllm_``.

NVIDIA/TensorRT-LLM: tensorrt_llm/metrics/collector.py; releases before 1.2 have the same names without a prefix, as
NIM 1.x has them (nim.py). Inside Triton it has other names (triton.py).
"""

from __future__ import annotations

from nimify_tui.domain.measures import ReplicaSample, TokenSample
from nimify_tui.sources.metrics.exposition import Page
from nimify_tui.sources.metrics.reading import (
    CPU,
    FDS,
    PROCESS,
    RSS,
    STARTED,
    Histograms,
    begins,
    by_status,
    counts_by,
    known,
    mean,
    one,
    parts,
    total,
)

_T = "trtllm_"
_FINISHED, _ERRORS = f"{_T}request_success_total", f"{_T}request_error_total"
_RUNNING, _WAITING, _KV, _HIT_RATE = (
    f"{_T}{name}"
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_utilization", "kv_cache_hit_rate")
)
_PROMPT, _GENERATED, _REUSED, _MISSED = (
    f"{_T}{name}"
    for name in (
        "prompt_tokens_total", "generation_tokens_total", "kv_cache_reused_blocks_total",
        "kv_cache_missed_blocks_total",
    )
)  # fmt: skip
_DURATION, _TTFT, _ITL, _QUEUE, _INFERENCE, _BATCH = (
    f"{_T}{name}"
    for name in (
        "e2e_request_latency_seconds", "time_to_first_token_seconds", "time_per_output_token_seconds",
        "request_queue_time_seconds", "request_inference_time_seconds", "scheduled_batch_size",
    )
)  # fmt: skip
#: All of them: the page that its documentation shows is an example, and none that a server wrote is published.
DOCUMENTED = frozenset(
    {
        _FINISHED, _ERRORS, _RUNNING, _WAITING, _KV, _HIT_RATE, _PROMPT, _GENERATED, _REUSED, _MISSED,
        f"{_BATCH}_sum", f"{_BATCH}_count", *parts(_DURATION, _TTFT, _ITL, _QUEUE, _INFERENCE),
    }
)  # fmt: skip
#: Who left is no failure of the server.
_ENDS = {"cancelled": "499"}
NO_HISTOGRAM = "no histogram: serve it with return_perf_metrics: true"


class TrtllmAdapter:
    """Makes samples of pages of trtllm-serve."""

    name = "trtllm"
    announced = frozenset[str]()
    wanted = DOCUMENTED | PROCESS

    def __init__(self) -> None:
        self._histograms = Histograms()

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return begins(page, _T)

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when the page is of another runtime."""
        if not self.knows(page):
            return None
        series, read = page.series, self._histograms.read
        duration = read(page, _DURATION)
        reused, missed = total(series.get(_REUSED)), total(series.get(_MISSED))
        blocks = reused + missed if reused is not None and missed is not None else None
        return ReplicaSample(
            at=at, source=source, runtime=self.name,
            started_at=one(series.get(STARTED)),
            requests=_requests(page),
            duration=duration,
            latency_note="" if duration is not None else NO_HISTOGRAM,
            queue=read(page, _QUEUE),
            compute=read(page, _INFERENCE),
            batch_sum=total(series.get(f"{_BATCH}_sum")),
            batch_count=total(series.get(f"{_BATCH}_count")),
            in_flight=total(series.get(_RUNNING)),
            queued=total(series.get(_WAITING)),
            cpu_s=one(series.get(CPU)),
            rss_bytes=one(series.get(RSS)),
            open_fds=one(series.get(FDS)),
            tokens=TokenSample(
                ttft=read(page, _TTFT),
                itl=read(page, _ITL),
                prompt_tokens=total(series.get(_PROMPT)),
                generation_tokens=total(series.get(_GENERATED)),
                prefix_queries=blocks,
                prefix_hits=reused if blocks is not None else None,
                kv_ratio=mean(series.get(_KV)),
                prefix_ratio=mean(series.get(_HIT_RATE)),
            ),
        )  # fmt: skip


def _requests(page: Page) -> dict[str, float] | None:
    """By how they ended; without the counter of errors nobody says which failed ("")."""
    if not known(page, _FINISHED):
        return None
    told, found = known(page, _ERRORS), dict[str, float]()
    for reason, count in (counts_by(page, _FINISHED, "finished_reason") or {}).items():
        code = _ENDS.get(reason, "200" if told else "")
        found[code] = found.get(code, 0.0) + count
    for code, count in by_status(page.series.get(_ERRORS, ()), ("http_code",)).items():
        found[code] = found.get(code, 0.0) + count
    return found
