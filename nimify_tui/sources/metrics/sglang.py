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

from nimify_tui.sources.metrics.exposition import Page, Series
from nimify_tui.sources.metrics.language import LanguageAdapter, Names
from nimify_tui.sources.metrics.reading import PROCESS, begins, by_status, first, known, sound, total

_S = "sglang:"
_FINISHED, _HTTP, _ABORTED, _CACHED = (
    f"{_S}{name}"
    for name in ("num_requests_total", "http_responses_total", "num_aborted_requests_total", "cached_tokens_total")
)
_NAMES = Names(
    duration=f"{_S}e2e_request_latency_seconds",
    ttft=f"{_S}time_to_first_token_seconds",
    itl=(f"{_S}inter_token_latency_seconds", f"{_S}time_per_output_token_seconds"),
    queue=f"{_S}queue_time_seconds",
    running=f"{_S}num_running_reqs",
    waiting=f"{_S}num_queue_reqs",
    prompt=f"{_S}prompt_tokens_total",
    generated=f"{_S}generation_tokens_total",
    kv=(f"{_S}token_usage",),
    preemptions=f"{_S}num_retracted_requests_total",
    hit_rate=f"{_S}cache_hit_rate",
)
#: Where models are asked; the other paths are for who watches and steers the server.
_ASKED = ("/v1/", "/generate", "/encode", "/classify")


class SglangAdapter(LanguageAdapter):
    """Makes samples of pages of SGLang."""

    name = "sglang"
    names = _NAMES
    announced = frozenset({_CACHED})
    wanted = _NAMES.samples | PROCESS | {_FINISHED, _HTTP, _ABORTED, _CACHED}

    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""
        return begins(page, _S)

    def held(self, series: Iterable[Series] | None) -> float | None:
        """A number of requests: the largest of each tensor-parallel group, summed over those of data parallelism."""
        groups: dict[str, float] = {}
        for each in series or ():
            if sound(each.value):
                rank = each.label("dp_rank")
                groups[rank] = max(groups.get(rank, 0.0), each.value)
        return sum(groups.values()) if groups else None

    def looked_up(self, page: Page) -> tuple[float | None, float | None]:
        """All tokens of prompts are looked up; while nothing was found yet its counter has no line."""
        prompt, found = total(page.series.get(_NAMES.prompt)), page.series.get(_CACHED)
        cached = total(found) if found is not None else 0.0 if known(page, _CACHED) else None
        return (prompt, cached) if prompt is not None and cached is not None else (None, None)

    def requests(self, page: Page) -> dict[str, float] | None:
        """What was finished, and what its HTTP server refused or failed; "" where that server counts no answers."""
        finished = first(total(page.series.get(name)) for name in (_FINISHED, f"{_NAMES.duration}_count"))
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
