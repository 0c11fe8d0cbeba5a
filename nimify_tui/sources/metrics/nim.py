"""The metrics of NIM for LLMs 1.x: names without a prefix. NIM 2.x tells its backend's own (vllm.py, sglang.py).

docs.nvidia.com/nim/large-language-models/1.*/observability.html
"""

from __future__ import annotations

from nimify_tui.sources.metrics.exposition import Page
from nimify_tui.sources.metrics.language import LanguageAdapter, Names
from nimify_tui.sources.metrics.reading import PROCESS, there, total

_SUCCESS, _FAILURE = "request_success_total", "request_failure_total"
_NAMES = Names(
    duration="e2e_request_latency_seconds",
    ttft="time_to_first_token_seconds",
    itl=("time_per_output_token_seconds",),
    running="num_requests_running",
    waiting="num_requests_waiting",
    prompt="prompt_tokens_total",
    generated="generation_tokens_total",
    kv=("gpu_cache_usage_perc",),
)


class NimAdapter(LanguageAdapter):
    """Makes samples of pages of NIM 1.x."""

    name = "nim"
    names = _NAMES
    wanted = _NAMES.samples | PROCESS | {_SUCCESS, _FAILURE}

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return there(page, _NAMES.ttft, f"{_NAMES.ttft}_bucket", *_NAMES.kv, _NAMES.running)

    def requests(self, page: Page) -> dict[str, float] | None:
        """Those that succeeded, and those that failed."""
        succeeded, failed = total(page.series.get(_SUCCESS)), total(page.series.get(_FAILURE))
        counted = succeeded is not None or failed is not None
        return {"200": succeeded or 0.0, "500": failed or 0.0} if counted else None
