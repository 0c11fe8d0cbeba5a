"""SGLang's metrics (--enable-metrics), and those of NIM 2.x with this backend.

docs.sglang.io (production metrics); sgl-project/sglang: python/sglang/srt/observability/metrics_collector.py.
Ranks of one tensor-parallel group tell the same requests each for itself; those of data parallelism different ones.

Who left (or was cancelled) while its answer was made is among the finished requests, and counted once more when the
engine is told so (managers/tokenizer_manager.py: abort_request, collect_metrics). Who left while it waited is in that
second counter alone, and an order to abort all counts as one (pull request 34132): no more than were finished are taken
for such. Without a stream the answer, which nobody takes, is one of the 400s as well.
"""

from __future__ import annotations

from collections.abc import Iterable

from nimify_tui.domain.measures import ReplicaSample, TokenSample
from nimify_tui.sources.metrics.exposition import Page, Series
from nimify_tui.sources.metrics.reading import (
    CPU,
    FDS,
    PROCESS,
    RSS,
    STARTED,
    Histograms,
    begins,
    by_status,
    first,
    known,
    mean,
    one,
    parts,
    sound,
    total,
)

_S = "sglang:"
_FINISHED, _HTTP, _ABORTED = (
    f"{_S}{name}" for name in ("num_requests_total", "http_responses_total", "num_aborted_requests_total")
)
_RUNNING, _WAITING, _KV, _HIT_RATE = (
    f"{_S}{name}" for name in ("num_running_reqs", "num_queue_reqs", "token_usage", "cache_hit_rate")
)
_PROMPT, _GENERATED, _CACHED, _RETRACTED = (
    f"{_S}{name}"
    for name in (
        "prompt_tokens_total", "generation_tokens_total", "cached_tokens_total", "num_retracted_requests_total",
    )
)  # fmt: skip
_DURATION, _TTFT, _QUEUE = (
    f"{_S}{name}" for name in ("e2e_request_latency_seconds", "time_to_first_token_seconds", "queue_time_seconds")
)
#: The newer name first.
_ITL = (f"{_S}inter_token_latency_seconds", f"{_S}time_per_output_token_seconds")
#: Where models are asked; the other paths are for who watches and steers the server.
_ASKED = ("/v1/", "/generate", "/encode", "/classify")


class SglangAdapter:
    """Makes samples of pages of SGLang."""

    name = "sglang"
    announced = frozenset({_CACHED})
    wanted = frozenset(
        {
            _FINISHED, _HTTP, _ABORTED, _RUNNING, _WAITING, _KV, _HIT_RATE, _PROMPT, _GENERATED, _CACHED, _RETRACTED,
            *parts(_DURATION, _TTFT, _QUEUE, *_ITL), *PROCESS,
        }
    )  # fmt: skip

    def __init__(self) -> None:
        self._histograms = Histograms()

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return begins(page, _S)

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when the page is of another runtime."""
        if not self.knows(page):
            return None
        series, read = page.series, self._histograms.read
        duration = read(page, _DURATION)
        prompt = total(series.get(_PROMPT))
        # Nothing found in the cache yet: the counter has no line.
        cached = total(series.get(_CACHED)) if _CACHED in series else 0.0 if known(page, _CACHED) else None
        return ReplicaSample(
            at=at, source=source, runtime=self.name,
            started_at=one(series.get(STARTED)),
            requests=_requests(page),
            duration=duration,
            latency_note="" if duration is not None else f"no histogram: it tells no {_DURATION}",
            queue=read(page, _QUEUE),
            in_flight=_over_ranks(series.get(_RUNNING)),
            queued=_over_ranks(series.get(_WAITING)),
            cpu_s=one(series.get(CPU)),
            rss_bytes=one(series.get(RSS)),
            open_fds=one(series.get(FDS)),
            tokens=TokenSample(
                ttft=read(page, _TTFT),
                itl=first(read(page, name) for name in _ITL),
                prompt_tokens=prompt,
                generation_tokens=total(series.get(_GENERATED)),
                prefix_queries=prompt if cached is not None else None,
                prefix_hits=cached if prompt is not None else None,
                preemptions=total(series.get(_RETRACTED)),
                kv_ratio=mean(series.get(_KV)),
                prefix_ratio=mean(series.get(_HIT_RATE)),
            ),
        )  # fmt: skip


def _over_ranks(series: Iterable[Series] | None) -> float | None:
    """A number of requests: the largest of each tensor-parallel group, summed over those of data parallelism."""
    groups: dict[str, float] = {}
    for each in series or ():
        if sound(each.value):
            rank = each.label("dp_rank")
            groups[rank] = max(groups.get(rank, 0.0), each.value)
    return sum(groups.values()) if groups else None


def _requests(page: Page) -> dict[str, float] | None:
    """What was finished, and what its HTTP server refused or failed; how it ended ("") where it counts no answers."""
    finished = first(total(page.series.get(name)) for name in (_FINISHED, f"{_DURATION}_count"))
    if finished is None:
        return None
    aborted = total(page.series.get(_ABORTED))
    left = {"499": min(aborted, finished)} if aborted is not None else {}
    finished -= left.get("499", 0.0)
    if not known(page, _HTTP):
        return {"": finished, **left}
    answers = page.series.get(_HTTP, ())
    served = by_status(answers, ("status_code",), lambda each: each.label("endpoint").startswith(_ASKED))
    bad = {code: count for code, count in served.items() if code[:1] in ("4", "5")}
    return {"200": finished, **bad, **left}
