"""Pages of other makers' servers, as published, by one adapter each; and what no page may do to a number."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.sources.metrics.adapters import Reader
from nimify_tui.sources.metrics.exposition import Page
from nimify_tui.sources.metrics.kserve import PREDICT_STEP
from nimify_tui.sources.metrics.mesh import FROM_ENVOY, FROM_ISTIO, Mesh
from nimify_tui.sources.metrics.triton import FIRST_RESPONSE
from nimify_tui.sources.metrics.trtllm import NO_HISTOGRAM
from tests.metrics import foreign, pages


def sample(page: str) -> ReplicaSample:
    found = Reader().read(page.encode(), 1.0, "test")
    assert found is not None
    return found


def test_sglang_as_it_was_counts_no_answers_and_tells_a_ratio_of_its_own() -> None:
    found = sample(foreign.SGLANG_04)
    assert found.requests == {"": 11228.0}, "how they ended nobody says"
    assert (found.in_flight, found.queued) == (162.0, 2826.0)
    assert found.duration is not None
    assert found.duration.counts == (6.0, 7.0, 1513.0, 11228.0)
    tokens = found.tokens
    assert tokens is not None
    assert tokens.kv_ratio == 0.28
    assert tokens.prefix_ratio == pytest.approx(0.0075, rel=1e-2)
    assert (tokens.prefix_hits, tokens.prefix_queries, tokens.preemptions) == (None, None, None)
    assert tokens.itl is not None, "by its older name"
    assert tokens.ttft is not None
    assert tokens.generation_tokens == 7.557572e6


def test_sglang_of_today_counts_each_request_once_whatever_its_ranks() -> None:
    """Sabotage seen failing: gauges summed over all ranks."""
    found = sample(foreign.SGLANG_05)
    assert found.requests == {"200": 40.0, "400": 5.0, "503": 2.0}, "who asks for health is no client"
    assert (found.in_flight, found.queued) == (7.0, 1.0)
    assert found.duration is not None
    assert found.duration.counts == (29.0, 40.0)
    assert found.queue is not None
    tokens = found.tokens
    assert tokens is not None
    assert tokens.kv_ratio == pytest.approx(0.5), "a mean over its engines, never a sum"
    assert (tokens.prefix_queries, tokens.prefix_hits) == (1000.0, 400.0)
    assert tokens.preemptions == 2.0


def test_trtllm_by_its_own_server_and_inside_triton() -> None:
    found = sample(foreign.TRTLLM)
    assert found.requests == {"200": 155.0, "400": 4.0, "500": 3.0}
    assert (found.in_flight, found.queued) == (6.0, 2.0)
    tokens = found.tokens
    assert tokens is not None
    assert (tokens.kv_ratio, tokens.prefix_hits, tokens.prefix_queries) == (0.62, 38.0, 100.0)
    without = "\n".join(line for line in foreign.TRTLLM.splitlines() if "e2e" not in line and "error" not in line)
    bare = sample(without)
    assert (bare.requests, bare.latency_note) == ({"": 155.0}, NO_HISTOGRAM)

    inside = sample(foreign.TRITON_TRTLLM)
    assert inside.in_flight == 0.0
    assert inside.tokens is not None
    assert inside.tokens.kv_ratio == pytest.approx(1 / 6239), "of the blocks, where no fraction is told"
    more = 'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="m",version="1"} 0.5\n'
    told = sample(foreign.TRITON_TRTLLM + more).tokens
    assert told is not None
    assert told.kv_ratio == 0.5
    assert sample(pages.TRITON).tokens is None, "a Triton without language models has nothing to miss"


def test_kserve_tells_its_predict_step_and_not_how_it_ended() -> None:
    found = sample(foreign.KSERVE_010)
    assert (found.requests, found.started_at) == ({"": 3.0}, 1.67106640931e9)
    assert found.duration is not None
    assert found.duration.counts[-1] == 3.0
    assert found.duration.sum_s == pytest.approx(6.0067, rel=1e-3)
    assert found.latency_note == PREDICT_STEP
    other = foreign.KSERVE_010.replace("custom-server-test", "other")
    both = sample(foreign.KSERVE_010 + other)
    assert both.models is not None
    assert both.models["other"].requests == {"": 3.0}


def test_histograms_of_opentelemetry_in_their_two_units() -> None:
    found = sample(foreign.OTEL)
    assert found.requests == {"200": 9.0, "503": 1.0}
    assert found.duration is not None
    assert found.duration.counts == (8.0, 10.0)
    old = sample(foreign.OTEL_OLD)
    assert old.duration is not None
    assert old.duration.bounds_s == (0.25,), "milliseconds as seconds"
    assert old.duration.sum_s == pytest.approx(1.8)
    assert old.requests == {"200": 9.0}


@pytest.mark.parametrize(
    ("page", "name"),
    [(pages.VLLM_NEW, "vllm"), (foreign.SGLANG_05, "sglang"), (pages.NIM_1, "nim"), (foreign.TRTLLM, "trtllm")],
)
def test_a_nim_is_read_by_what_it_tells_whatever_its_image_says(page: str, name: str) -> None:
    """NIM 2.x is a proxy before vLLM or SGLang, and its /v1/metrics is theirs; GPU gauges of NIM are beside them."""
    with_gpus = page + "# TYPE gpu_utilization gauge\ngpu_utilization 0.4\n"
    asked = [each for each in Reader()._adapters if each.sample(_page(with_gpus), 1.0, "") is not None]
    assert asked[0].name == name
    assert sample(with_gpus).tokens is not None


def _page(text: str) -> Page:
    return Reader()._parser.parse(text.encode())


def test_a_triton_has_its_percentiles_from_the_mesh_at_its_pod_each_request_once() -> None:
    """Sabotage seen failing: both reporters read, and Envoy's clusters of both ways."""
    found = sample(pages.TRITON + foreign.ISTIO + foreign.ENVOY)
    assert found.requests == {"200": 150.0, "503": 3.0, "499": 2.0, "500": 2.0}, "its own counters, which say more"
    assert found.duration is not None
    assert found.duration.bounds_s == (0.005, 10.0), "milliseconds as seconds"
    assert (found.duration.counts, found.latency_note) == ((2.0, 7.0, 7.0), FROM_ISTIO)
    assert found.queue is not None
    assert found.queue.sum_s == pytest.approx(0.3), "what it tells itself stays"

    by_envoy = sample(pages.TRITON + foreign.ENVOY)
    assert by_envoy.duration is not None
    assert (by_envoy.duration.counts, by_envoy.latency_note) == ((0.0, 8.0, 10.0), FROM_ENVOY)

    own = sample(pages.TRITON + pages.TRITON_HISTOGRAM + foreign.ISTIO)
    assert own.latency_note == FIRST_RESPONSE, "its own histogram comes first"


def test_how_requests_ended_is_heard_from_the_mesh_where_nobody_else_says_and_of_strangers_all() -> None:
    step = foreign.KSERVE_010.replace("_bucket", "_gone")
    found = sample(step + foreign.ISTIO)
    assert found.requests == {"200": 6.0, "503": 1.0}
    stranger = sample("# TYPE own_metric gauge\nown_metric 1\n" + foreign.ISTIO)
    assert (stranger.requests, stranger.latency_note) == ({"200": 6.0, "503": 1.0}, FROM_ISTIO)
    outgoing = "\n".join(line for line in foreign.ISTIO.splitlines() if 'reporter="destination"' not in line)
    assert Reader().read(outgoing.encode(), 1.0, "") is None, "what a pod asks of others is no request to it"


def test_all_names_together_fit_into_a_request_line() -> None:
    """What a Prometheus has is asked with GET; proxies before it take 8 kB of a line (nginx's default)."""
    names = Reader().wanted | Mesh.anchors
    assert len(quote("|".join(sorted(names)))) < 7000
