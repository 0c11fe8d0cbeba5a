"""One adapter for each runtime family, on pages of documented names; what is not told stays unknown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.serving.metrics import Metrics
from nimify_tui.sources.metrics.adapters import ADAPTERS, Reader
from nimify_tui.sources.metrics.exposition import ExpositionError
from nimify_tui.sources.metrics.triton import FIRST_RESPONSE, NO_HISTOGRAM, SUMMARIES
from tests.metrics import foreign, pages
from tests.metrics.pages import renamed


def sample(page: str | bytes) -> ReplicaSample:
    found = Reader().read(page if isinstance(page, bytes) else page.encode(), 1.0, "test")
    assert found is not None
    return found


@pytest.mark.parametrize("names", [{}, pages.VLLM_OLD_NAMES], ids=["new", "old"])
def test_vllm_by_its_names_of_today_and_of_before(names: dict[str, str]) -> None:
    """Sabotage seen failing: adapters without the older names."""
    found = sample(renamed(pages.VLLM_NEW, names))
    assert found.requests == {"200": 95.0, "499": 2.0, "400": 6.0, "500": 3.0}
    assert (found.in_flight, found.queued) == (5.0, 7.0)
    assert found.duration is not None
    assert (found.duration.bounds_s, found.duration.counts) == ((0.3, 2.5), (10.0, 90.0, 97.0))
    assert found.duration.sum_s == 150.0
    tokens = found.tokens
    assert tokens is not None
    assert tokens.kv_ratio == pytest.approx(0.7), "a mean over its engines, never a sum"
    assert (tokens.prefix_queries, tokens.prefix_hits, tokens.preemptions) == (1000.0, 250.0, 4.0)
    assert (tokens.prompt_tokens, tokens.generation_tokens) == (5000.0, 800.0)
    assert tokens.itl is not None
    assert tokens.itl.counts == (700.0, 703.0)
    assert tokens.ttft is not None
    assert (found.started_at, found.rss_bytes) == (1.8e9, 4e9)
    assert (found.queue, found.batch_count, found.cache) == (None, None, None), "not told is not zero"


def test_a_name_and_the_one_that_replaces_it_are_not_added_up() -> None:
    """A server that shows hidden metrics tells both."""
    both = pages.VLLM_NEW + 'vllm:gpu_cache_usage_perc{engine="0",model_name="m"} 0.1\n'
    tokens = sample(both).tokens
    assert tokens is not None
    assert tokens.kv_ratio == pytest.approx(0.7)


def test_vllm_without_its_histogram_says_so() -> None:
    page = "\n".join(line for line in pages.VLLM_NEW.splitlines() if "e2e_request" not in line)
    found = sample(page)
    assert found.duration is None
    assert found.latency_note == "no histogram: it tells no vllm:e2e_request_latency_seconds"


def test_nim_1_has_names_without_a_prefix_and_nim_2_those_of_vllm() -> None:
    found = sample(pages.NIM_1)
    assert found.requests == {"200": 40.0, "500": 2.0}
    assert (found.in_flight, found.queued) == (4.0, 1.0)
    tokens = found.tokens
    assert tokens is not None
    assert tokens.kv_ratio == 0.25
    assert tokens.itl is not None
    assert (tokens.prefix_hits, tokens.preemptions) == (None, None), "NIM 1.x does not tell them"
    assert found.duration is not None
    second = sample(pages.VLLM_NEW).tokens
    assert second is not None
    assert second.preemptions == 4.0


def test_triton_as_it_is_without_flags() -> None:
    found = sample(pages.TRITON)
    assert found.requests == {"200": 150.0, "503": 3.0, "499": 2.0, "500": 2.0}
    assert found.latency_note == NO_HISTOGRAM
    assert found.duration is not None
    assert (found.duration.bounds_s, found.duration.counts, found.duration.sum_s) == ((), (150.0,), 3.0), "a mean"
    assert found.queue is not None
    assert found.queue.sum_s == pytest.approx(0.3)
    assert found.compute is not None
    assert found.compute.sum_s == pytest.approx(1.5)
    assert (found.batch_sum, found.batch_count, found.queued) == (450.0, 150.0, 6.0)
    assert found.cache == {("l1", "hit"): 30.0, ("l1", "miss"): 70.0}
    assert found.models is not None
    assert found.models["b"].requests == {"200": 50.0}
    assert found.started_at is None
    assert found.tokens is None


def test_triton_with_histograms_and_with_summaries() -> None:
    found = sample(pages.TRITON + pages.TRITON_HISTOGRAM)
    assert found.duration is not None
    assert found.duration.bounds_s == (0.1, 0.5, 2.0, 5.0)
    assert found.duration.counts[-1] == 100.0
    assert found.duration.sum_s == pytest.approx(9.0)
    assert found.latency_note == FIRST_RESPONSE
    summaries = sample(pages.TRITON + pages.TRITON_SUMMARY)
    assert summaries.latency_note == SUMMARIES
    assert summaries.duration is not None
    assert summaries.duration.bounds_s == (), "a percentile of one process is never made one of several"


def test_servers_that_tell_of_http_alone() -> None:
    found = sample(pages.FASTAPI)
    assert found.requests == {"200": 20.0, "500": 2.0}, "who asks for health is no client"
    assert found.duration is not None
    assert found.duration.counts == (15.0, 22.0)
    kserve = sample(pages.KSERVE)
    assert kserve.requests == {"": 8.0}, "counted, and nobody says how they ended"
    assert kserve.duration is not None


def test_our_own_pages_are_read_as_ours() -> None:
    metrics = Metrics("1")
    metrics.model("m", "1").answered(200)
    found = sample(metrics.page())
    assert found.requests == {"200": 1.0}
    assert (found.tokens, found.latency_note) == (None, "")


def test_one_row_of_the_table_for_each_family() -> None:
    names = [make().name for make in ADAPTERS]
    assert names == ["nimify", "vllm", "sglang", "trtllm", "nim", "triton", "kserve", "ingress", "http"]
    assert all(make().wanted for make in ADAPTERS)


PAGES = (
    pages.VLLM_NEW, pages.NIM_1, pages.TRITON + pages.TRITON_HISTOGRAM, pages.FASTAPI, pages.KSERVE, foreign.SGLANG_05,
    foreign.TRTLLM, foreign.TRITON_TRTLLM, foreign.OTEL, foreign.ISTIO, foreign.ENVOY,
    foreign.NGINX, foreign.CONTOUR, foreign.ENVOY_GATEWAY,
)  # fmt: skip
odd = st.sampled_from(["NaN", "+Inf", "-Inf", "-1", "1e308", "0", "", "x", "9" * 400])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_value_of_a_line_makes_a_number_that_is_none(data: st.DataObject) -> None:
    """Lines with odd values, lines that are missing: a typed error, or numbers that can be counted with."""
    lines = data.draw(st.sampled_from(PAGES)).strip().splitlines()
    for at in data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=6)):
        if not lines[at].startswith("#"):
            lines[at] = f"{lines[at].rpartition(' ')[0]} {data.draw(odd)}" if data.draw(st.booleans()) else ""
    try:
        found = Reader().read("\n".join(lines).encode(), 1.0, "")
    except ExpositionError:
        return
    if found is None:
        return
    told = [*(found.requests or {}).values(), found.in_flight, found.queued, found.batch_sum, found.rss_bytes]
    if found.tokens is not None:
        told += [found.tokens.prefix_ratio, found.tokens.kv_ratio]
        told += [found.tokens.generation_tokens, found.tokens.prefix_hits]
        assert found.tokens.kv_ratio is None or found.tokens.kv_ratio <= 1.0
    for each in (found.duration, found.queue, found.compute, found.tokens.itl if found.tokens else None):
        if each is not None:
            assert len(each.counts) == len(each.bounds_s) + 1
            told += [*each.counts, each.sum_s]
    assert all(each is None or (not math.isnan(each) and each >= 0.0) for each in told)
