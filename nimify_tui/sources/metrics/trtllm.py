"""TensorRT-LLM's own server (trtllm-serve, at /prometheus/metrics) and Dynamo's worker: names with ``trtllm_``.

NVIDIA/TensorRT-LLM: tensorrt_llm/metrics/collector.py; releases before 1.2 have the same names without a prefix, as
NIM 1.x has them (nim.py). Inside Triton it has other names (triton.py).
"""

from __future__ import annotations

from nimify_tui.sources.metrics.exposition import Page
from nimify_tui.sources.metrics.language import LanguageAdapter, Names
from nimify_tui.sources.metrics.reading import PROCESS, begins, by_status, counts_by, known, total

_T = "trtllm_"
_FINISHED, _ERRORS, _REUSED, _MISSED = (
    f"{_T}{name}"
    for name in (
        "request_success_total", "request_error_total", "kv_cache_reused_blocks_total", "kv_cache_missed_blocks_total",
    )
)  # fmt: skip
_NAMES = Names(
    duration=f"{_T}e2e_request_latency_seconds",
    ttft=f"{_T}time_to_first_token_seconds",
    itl=(f"{_T}time_per_output_token_seconds",),
    queue=f"{_T}request_queue_time_seconds",
    compute=f"{_T}request_inference_time_seconds",
    batch=f"{_T}scheduled_batch_size",
    running=f"{_T}num_requests_running",
    waiting=f"{_T}num_requests_waiting",
    prompt=f"{_T}prompt_tokens_total",
    generated=f"{_T}generation_tokens_total",
    kv=(f"{_T}kv_cache_utilization",),
    hit_rate=f"{_T}kv_cache_hit_rate",
)
#: All of them: the page that its documentation shows is an example, and none that a server wrote is published.
DOCUMENTED = _NAMES.samples | {_FINISHED, _ERRORS, _REUSED, _MISSED}
#: Who left is no failure of the server.
_ENDS = {"cancelled": "499"}
NO_HISTOGRAM = "no histogram: serve it with return_perf_metrics: true"


class TrtllmAdapter(LanguageAdapter):
    """Makes samples of pages of trtllm-serve."""

    name = "trtllm"
    names = _NAMES
    wanted = DOCUMENTED | PROCESS
    no_histogram = NO_HISTOGRAM

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return begins(page, _T)

    def looked_up(self, page: Page) -> tuple[float | None, float | None]:
        """Blocks: what was reused, of that and what was missed."""
        reused, missed = total(page.series.get(_REUSED)), total(page.series.get(_MISSED))
        return (reused + missed, reused) if reused is not None and missed is not None else (None, None)

    def requests(self, page: Page) -> dict[str, float] | None:
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
