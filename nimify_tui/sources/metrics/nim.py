"""The metrics of NIM for LLMs 1.x: names without a prefix. NIM 2.x tells its backend's own (vllm.py, sglang.py).

docs.nvidia.com/nim/large-language-models/1.*/observability.html
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
    mean,
    one,
    parts,
    there,
    total,
)

_SUCCESS, _FAILURE = "request_success_total", "request_failure_total"
_RUNNING, _WAITING, _KV = "num_requests_running", "num_requests_waiting", "gpu_cache_usage_perc"
_PROMPT, _GENERATED = "prompt_tokens_total", "generation_tokens_total"
_DURATION, _TTFT, _ITL = (
    "e2e_request_latency_seconds", "time_to_first_token_seconds", "time_per_output_token_seconds",
)  # fmt: skip


class NimAdapter:
    """Makes samples of pages of NIM 1.x."""

    name = "nim"
    announced = frozenset[str]()
    wanted = frozenset(
        {
            _SUCCESS, _FAILURE, _RUNNING, _WAITING, _KV, _PROMPT, _GENERATED, *parts(_DURATION, _TTFT, _ITL),
            *PROCESS,
        }
    )  # fmt: skip

    def __init__(self) -> None:
        self._histograms = Histograms()

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return there(page, _TTFT, f"{_TTFT}_bucket", _KV, _RUNNING)

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when the page is of another runtime."""
        if not self.knows(page):
            return None
        series, read = page.series, self._histograms.read
        succeeded, failed = total(series.get(_SUCCESS)), total(series.get(_FAILURE))
        duration = read(page, _DURATION)
        counted = succeeded is not None or failed is not None
        return ReplicaSample(
            at=at, source=source, runtime=self.name,
            started_at=one(series.get(STARTED)),
            requests={"200": succeeded or 0.0, "500": failed or 0.0} if counted else None,
            duration=duration,
            latency_note="" if duration is not None else f"no histogram: it tells no {_DURATION}",
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
                kv_ratio=mean(series.get(_KV)),
            ),
        )  # fmt: skip
