"""Pages that real servers wrote (samples/*.prom: each begins with who wrote it, and where), by their adapters.

The figures asserted are those of the page itself: what was sent to the server, and what it counted.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.domain.promql import family_of
from nimify_tui.sources.metrics.adapters import Reader
from nimify_tui.sources.metrics.triton import SUMMARIES

SAMPLES = Path(__file__).with_name("samples")
NAMES = sorted(each.name for each in SAMPLES.glob("*.prom"))


def sample(name: str, more: str = "") -> ReplicaSample:
    found = Reader().read((SAMPLES / name).read_bytes() + more.encode(), 1.0, "test")
    assert found is not None
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_says_who_wrote_it_in_which_version_and_where_it_is_from(name: str) -> None:
    head = " ".join(re.findall(r"^# (?!HELP|TYPE)(.*)$", (SAMPLES / name).read_text(encoding="utf-8"), re.MULTILINE))
    version = re.search(r"-([0-9.b]+)(?:-\w+)?\.prom", name)
    assert version is not None
    assert version[1] in head
    assert "taken by us" in head or re.search(r"\(\w+/[\w-]+, .*[0-9a-f]{8}\)", head)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_and_the_names_on_a_prometheus_are_of_the_same_runtime(name: str) -> None:
    text = (SAMPLES / name).read_text(encoding="utf-8")
    names = frozenset(re.findall(r"^([a-zA-Z_:][\w:]*)", text, re.MULTILINE))
    family = family_of(names)
    assert family is not None
    producer = name.partition("-")[0]
    http = producer in ("fastapi", "opentelemetry")
    assert family.runtime == sample(name).runtime == ("http" if http else producer)


def test_vllm_before_its_second_engine() -> None:
    found = sample("vllm-0.4.3.prom")
    assert (found.requests, found.in_flight, found.queued) == ({"200": 1.0}, 0.0, 0.0)
    assert found.duration is not None
    assert (found.duration.counts[-1], round(found.duration.sum_s, 4)) == (1.0, 0.5034)
    tokens = found.tokens
    assert tokens is not None
    assert tokens.ttft is not None
    assert tokens.itl is not None
    assert (tokens.ttft.counts[-1], tokens.itl.counts[-1]) == (1.0, 6.0), "seven tokens: a first one and six more"
    assert (tokens.prompt_tokens, tokens.generation_tokens, tokens.kv_ratio, tokens.preemptions) == (5.0, 7.0, 0.0, 0.0)
    assert tokens.prefix_queries is None, "without a prefix cache there is nothing to count"


def test_vllm_whose_caches_have_old_names_and_new_ones() -> None:
    """Read once, by either; a client that left is done with in 168 tokens, and no request that ended."""
    found = sample("vllm-0.10.1.prom")
    text = (SAMPLES / "vllm-0.10.1.prom").read_text(encoding="utf-8")
    old = Reader().read(re.sub(r"^vllm:(kv|prefix)_cache.*\n", "", text, flags=re.MULTILINE).encode(), 1.0, "test")
    assert old is not None
    assert found.requests == old.requests == {"200": 6.0, "499": 0.0, "400": 2.0}
    for tokens in (found.tokens, old.tokens):
        assert tokens is not None
        assert tokens.itl is not None
        assert (tokens.itl.counts[-1], tokens.generation_tokens, tokens.kv_ratio) == (161.0, 168.0, 0.00048828125)
        assert (tokens.prefix_queries, tokens.prefix_hits) == (1904.0, 1280.0)


def test_vllm_while_its_time_between_tokens_had_both_names() -> None:
    """The same gaps twice: seven in each of six requests of eight tokens, counted once."""
    found = sample("vllm-0.11.0.prom")
    assert found.requests == {"200": 6.0, "499": 0.0, "400": 2.0}
    tokens = found.tokens
    assert tokens is not None
    assert tokens.itl is not None
    assert (tokens.itl.counts[-1], tokens.generation_tokens) == (42.0, 48.0)
    assert (tokens.prefix_queries, tokens.prefix_hits, tokens.kv_ratio) == (1902.0, 1280.0, 0.0)


def test_vllm_of_its_second_engine_with_all_names_renewed() -> None:
    """A client that left is in no counter of the engine, and what was refused before it in the server's alone."""
    found = sample("vllm-0.32.0.prom")
    assert found.requests == {"200": 6.0, "499": 0.0, "500": 0.0, "400": 2.0}
    assert (found.in_flight, found.queued, found.open_fds) == (0.0, 0.0, 34.0)
    assert found.duration is not None
    assert found.queue is not None
    assert found.compute is not None
    assert (found.duration.counts[-1], found.queue.counts[-1], found.compute.counts[-1]) == (6.0, 6.0, 6.0)
    tokens = found.tokens
    assert tokens is not None
    assert tokens.ttft is not None
    assert tokens.itl is not None
    assert (tokens.ttft.counts[-1], tokens.itl.counts[-1]) == (7.0, 79.0), "86 tokens of seven requests"
    assert (tokens.generation_tokens, tokens.prompt_tokens) == (86.0, 1904.0)
    assert (tokens.prefix_queries, tokens.prefix_hits) == (1904.0, 1280.0), "two blocks of 128 in five of six"
    assert (tokens.kv_ratio, tokens.preemptions) == (0.0, 0.0)


def test_vllm_tells_who_was_turned_away_at_its_door_and_its_server_tells_it_again() -> None:
    """Each was answered with 503: told by both, counted once. Sabotage seen failing: the two added up.

    Names of 0.32.0 (vllm/v1/metrics/loggers.py, v1/engine/async_llm.py: check_admission), figures of ours on its page.
    """
    door = 'vllm:admission_rejections_total{model_name="tiny",reason="max_num_queued_reqs"} 4.0\n'
    door += 'vllm:admission_rejections_total{model_name="tiny",reason="max_num_queued_tokens"} 1.0\n'
    server = 'http_requests_total{handler="/v1/completions",method="POST",status="5xx"} '
    ends = {"200": 6.0, "499": 0.0, "400": 2.0}
    assert sample("vllm-0.32.0.prom", f"{door}{server}5.0\n").requests == {**ends, "503": 5.0, "500": 0.0}
    assert sample("vllm-0.32.0.prom", f"{door}{server}7.0\n").requests == {**ends, "503": 5.0, "500": 2.0}
    assert sample("vllm-0.32.0.prom", door).requests == {**ends, "503": 5.0, "500": 0.0}, "streams that had begun"


def test_sglang_of_today_streaming_or_not() -> None:
    """Each of its counters has a line for streams and one for the rest; its server's answers tell who was refused."""
    found = sample("sglang-0.5.23.prom")
    assert found.requests == {"200": 16.0, "400": 1.0}, "who left is among those it finished"
    assert (found.in_flight, found.queued) == (0.0, 0.0)
    assert found.duration is not None
    assert found.duration.counts[-1] == 16.0
    assert found.queue is not None
    tokens = found.tokens
    assert tokens is not None
    assert tokens.ttft is not None
    assert tokens.itl is not None
    assert (tokens.ttft.counts[-1], tokens.itl.counts[-1]) == (16.0, 2059.0), "2511 in 16, told in pieces"
    assert (tokens.prefix_queries, tokens.prefix_hits, tokens.generation_tokens) == (1937.0, 1602.0, 2511.0)
    assert (tokens.preemptions, tokens.kv_ratio) == (1.0, 0.0)


def test_sglang_counts_who_left_among_its_finished_requests_and_once_more() -> None:
    """Names of 0.5.23 (python/sglang/srt/observability/metrics_collector.py), figures of ours on its page.

    Sabotage seen failing: the second counter added to the first.
    """
    line = 'sglang:num_aborted_requests_total{engine_type="unified",model_name="tiny"} '
    assert sample("sglang-0.5.23.prom", f"{line}3.0\n").requests == {"200": 13.0, "400": 1.0, "499": 3.0}
    assert sample("sglang-0.5.23.prom", f"{line}40.0\n").requests == {"200": 0.0, "400": 1.0, "499": 16.0}
    text = (SAMPLES / "sglang-0.5.23.prom").read_text(encoding="utf-8")
    silent = re.sub(r"^.*http_responses_total.*\n", "", text, flags=re.MULTILINE)
    bare = Reader().read(f"{silent}{line}3.0\n".encode(), 1.0, "test")
    assert bare is not None
    assert bare.requests == {"": 13.0, "499": 3.0}, "how the others ended nobody says"


def test_nim_of_the_first_generation() -> None:
    found = sample("nim-1.0.0.prom")
    assert (found.requests, found.in_flight, found.queued) == ({"200": 5.0, "500": 0.0}, 1.0, 0.0)
    assert found.started_at == 1730312854.9
    tokens = found.tokens
    assert tokens is not None
    assert tokens.ttft is not None
    assert tokens.itl is not None
    assert (tokens.ttft.counts[-1], tokens.itl.counts[-1]) == (5.0, 169.0), "174 tokens of five requests"
    assert tokens.generation_tokens == 174.0
    assert tokens.kv_ratio == pytest.approx(0.00028, rel=0.02)


def test_triton_with_summaries_and_no_histogram() -> None:
    found = sample("triton-2.38.0.prom")
    assert (found.requests, found.queued, found.latency_note) == ({"200": 3.0, "500": 0.0}, 0.0, SUMMARIES)
    assert found.duration is not None
    assert (found.duration.bounds_s, found.duration.counts, round(found.duration.sum_s, 6)) == ((), (3.0,), 1.327965)
    assert found.models is not None
    assert found.models["densenet_onnx"].requests == {"200": 3.0, "500": 0.0}
    text = (SAMPLES / "triton-2.38.0.prom").read_text(encoding="utf-8")
    used = text.replace("\nnv_cache_num_hits 0", "\nnv_cache_num_hits 5")
    used = used.replace("\nnv_cache_num_misses 0", "\nnv_cache_num_misses 3")
    asked = Reader().read(used.encode(), 1.0, "test")
    assert asked is not None
    assert asked.cache == {("l1", "hit"): 5.0, ("l1", "miss"): 3.0}, "of the whole server: not told by model"
    by_model = 'nv_cache_num_hits_per_model{model="a",version="1"} 2\n'
    assert sample("triton-2.38.0.prom", by_model).cache == {("l1", "hit"): 2.0, ("l1", "miss"): 0.0}


def test_triton_tells_its_cache_by_model_and_of_the_whole_server() -> None:
    """The same lookups twice: counted once. Five of eight requests to one model were answered out of it."""
    found = sample("triton-2.51.0.prom")
    assert found.requests == {"200": 12.0, "500": 2.0, "503": 0.0, "499": 0.0}
    assert found.cache == {("l1", "hit"): 5.0, ("l1", "miss"): 3.0}
    assert (found.batch_sum, found.batch_count, found.queued) == (7.0, 9.0, 0.0)
    assert found.models is not None
    assert found.models["failing"].requests == {"200": 0.0, "500": 2.0, "503": 0.0, "499": 0.0}
    assert found.duration is not None
    assert (found.duration.counts, round(found.duration.sum_s, 6)) == ((12.0,), 0.068205)


def test_fastapi_by_prometheus_instrumentator() -> None:
    """It has two histograms of the same requests: one is read."""
    found = sample("fastapi-instrumentator-8.1.0.prom")
    assert found.requests == {"200": 20.0, "500": 2.0, "400": 1.0}
    assert found.duration is not None
    assert found.duration.counts == (23.0, 23.0, 23.0, 23.0)


@pytest.mark.parametrize("generation", ["old", "new"])
def test_fastapi_by_opentelemetry_in_both_its_conventions(generation: str) -> None:
    name = f"opentelemetry-fastapi-0.66b2-{generation}.prom"
    found = sample(name)
    assert found.requests == {"200": 20.0, "503": 2.0, "404": 1.0}
    assert found.in_flight == 0.0
    assert found.duration is not None
    assert found.duration.counts[-1] == 23.0
    assert 0.04 < found.duration.sum_s < 0.05
    probe = (SAMPLES / name).read_text(encoding="utf-8").replace('"/predict"', '"/health/ready"')
    asked = Reader().read(probe.encode(), 1.0, "test")
    assert asked is not None
    assert asked.requests == {"503": 2.0, "404": 1.0}, "who asks for health is no client"
