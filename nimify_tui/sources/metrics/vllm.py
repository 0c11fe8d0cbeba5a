"""vLLM's metrics, and NIM 2.x's, which are vLLM's own: names of all generations that are still met, newest first.

vllm-project/vllm: vllm/v1/metrics/loggers.py, docs/design/metrics.md (deprecation policy), docs/usage/metrics.md;
docs.nvidia.com/nim/large-language-models (logging and observability).
"""

from __future__ import annotations

from nimify_tui.sources.metrics.exposition import Page
from nimify_tui.sources.metrics.language import LanguageAdapter, Names
from nimify_tui.sources.metrics.reading import PROCESS, begins, counts_by, known, sound, total

_V = "vllm:"
_FINISHED, _HTTP = f"{_V}request_success_total", "http_requests_total"
#: Since 0.32: turned away before the engine where one of its queues was full, and answered with 503 (exceptions.py).
_TURNED_AWAY = f"{_V}admission_rejections_total"
#: Renamed: inter_token_latency since 0.11, kv_cache_usage since the V1 engine, prefix_cache since 0.9.
_NAMES = Names(
    duration=f"{_V}e2e_request_latency_seconds",
    ttft=f"{_V}time_to_first_token_seconds",
    itl=(f"{_V}inter_token_latency_seconds", f"{_V}time_per_output_token_seconds"),
    queue=f"{_V}request_queue_time_seconds",
    compute=f"{_V}request_inference_time_seconds",
    running=f"{_V}num_requests_running",
    waiting=f"{_V}num_requests_waiting",
    prompt=f"{_V}prompt_tokens_total",
    generated=f"{_V}generation_tokens_total",
    kv=(f"{_V}kv_cache_usage_perc", f"{_V}gpu_cache_usage_perc"),
    queries=(f"{_V}prefix_cache_queries_total", f"{_V}gpu_prefix_cache_queries_total"),
    hits=(f"{_V}prefix_cache_hits_total", f"{_V}gpu_prefix_cache_hits_total"),
    preemptions=f"{_V}num_preemptions_total",
)
#: How a request ended as the status that says the same; all other ends are good ones.
_ENDS = {"error": "500", "abort": "499"}


class VllmAdapter(LanguageAdapter):
    """Makes samples of pages of vLLM."""

    name = "vllm"
    names = _NAMES
    wanted = _NAMES.samples | PROCESS | {_FINISHED, _HTTP, _TURNED_AWAY}

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return begins(page, _V)

    def requests(self, page: Page) -> dict[str, float] | None:
        """Those that the engine has finished, that never got into it, and that its HTTP server refused or failed."""
        if not known(page, _FINISHED):
            return None
        found: dict[str, float] = {}
        for reason, count in (counts_by(page, _FINISHED, "finished_reason") or {}).items():
            code = _ENDS.get(reason, "200")
            found[code] = found.get(code, 0.0) + count
        # What never got as far as the engine; a failure is told by the server and, once, by the engine or its door, so
        # the larger number is all of them.
        served = {"4xx": 0.0, "5xx": 0.0}
        for each in page.series.get(_HTTP, ()):
            status = each.label("status")
            if status in served and each.label("handler").startswith("/v1/") and sound(each.value):
                served[status] += each.value
        if served["4xx"]:
            found["400"] = served["4xx"]
        turned_away = total(page.series.get(_TURNED_AWAY))
        if turned_away is not None:
            found["503"] = turned_away
        if failed := max(found.get("500", 0.0), served["5xx"] - (turned_away or 0.0)):
            found["500"] = failed
        return found
