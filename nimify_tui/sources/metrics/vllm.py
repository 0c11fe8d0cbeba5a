"""vLLM's metrics, and NIM 2.x's, which are vLLM's own: names of all generations that are still met, newest first.

vllm-project/vllm: vllm/v1/metrics/loggers.py, docs/design/metrics.md (deprecation policy), docs/usage/metrics.md;
docs.nvidia.com/nim/large-language-models (logging and observability).
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
    counts_by,
    first,
    known,
    mean,
    one,
    parts,
    sound,
    total,
)

_V = "vllm:"
_FINISHED, _HTTP = f"{_V}request_success_total", "http_requests_total"
#: Since 0.32: turned away before the engine where one of its queues was full, and answered with 503 (exceptions.py).
_TURNED_AWAY = f"{_V}admission_rejections_total"
_RUNNING, _WAITING = f"{_V}num_requests_running", f"{_V}num_requests_waiting"
_DURATION, _QUEUE, _INFERENCE, _TTFT = (
    f"{_V}{name}"
    for name in (
        "e2e_request_latency_seconds", "request_queue_time_seconds", "request_inference_time_seconds",
        "time_to_first_token_seconds",
    )
)  # fmt: skip
#: Renamed: inter_token_latency since 0.11, kv_cache_usage since the V1 engine, prefix_cache since 0.9.
_ITL = (f"{_V}inter_token_latency_seconds", f"{_V}time_per_output_token_seconds")
_KV = (f"{_V}kv_cache_usage_perc", f"{_V}gpu_cache_usage_perc")
_QUERIES = (f"{_V}prefix_cache_queries_total", f"{_V}gpu_prefix_cache_queries_total")
_HITS = (f"{_V}prefix_cache_hits_total", f"{_V}gpu_prefix_cache_hits_total")
_PROMPT, _GENERATED = f"{_V}prompt_tokens_total", f"{_V}generation_tokens_total"
_PREEMPTIONS = f"{_V}num_preemptions_total"
#: How a request ended as the status that says the same; all other ends are good ones.
_ENDS = {"error": "500", "abort": "499"}


class VllmAdapter:
    """Makes samples of pages of vLLM."""

    name = "vllm"
    announced = frozenset[str]()
    wanted = frozenset(
        {
            _FINISHED, _HTTP, _TURNED_AWAY, _RUNNING, _WAITING, _PROMPT, _GENERATED, _PREEMPTIONS, *_KV, *_QUERIES,
            *_HITS, *parts(_DURATION, _QUEUE, _INFERENCE, _TTFT, *_ITL), *PROCESS,
        }
    )  # fmt: skip

    def __init__(self) -> None:
        self._histograms = Histograms()

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return begins(page, _V)

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when the page is of another runtime.

        Requests are those that the engine has finished, those that never got into it, and those that its HTTP server
        refused or failed.
        """
        if not self.knows(page):
            return None
        series, read = page.series, self._histograms.read
        duration = read(page, _DURATION)
        return ReplicaSample(
            at=at, source=source, runtime=self.name,
            started_at=one(series.get(STARTED)),
            requests=_requests(page),
            duration=duration,
            latency_note="" if duration is not None else f"no histogram: it tells no {_DURATION}",
            queue=read(page, _QUEUE),
            compute=read(page, _INFERENCE),
            in_flight=total(series.get(_RUNNING)),
            queued=total(series.get(_WAITING)),
            cpu_s=one(series.get(CPU)),
            rss_bytes=one(series.get(RSS)),
            open_fds=one(series.get(FDS)),
            tokens=TokenSample(
                ttft=read(page, _TTFT),
                itl=first(read(page, name) for name in _ITL),
                prompt_tokens=total(series.get(_PROMPT)),
                generation_tokens=total(series.get(_GENERATED)),
                prefix_queries=first(total(series.get(name)) for name in _QUERIES),
                prefix_hits=first(total(series.get(name)) for name in _HITS),
                preemptions=total(series.get(_PREEMPTIONS)),
                kv_ratio=first(mean(series.get(name)) for name in _KV),
            ),
        )  # fmt: skip


def _requests(page: Page) -> dict[str, float] | None:
    if not known(page, _FINISHED):
        return None
    found: dict[str, float] = {}
    for reason, count in (counts_by(page, _FINISHED, "finished_reason") or {}).items():
        code = _ENDS.get(reason, "200")
        found[code] = found.get(code, 0.0) + count
    # What never got as far as the engine; a failure is told by the server and, once, by the engine or its door, so the
    # larger number is all of them.
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
