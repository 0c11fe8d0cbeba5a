"""The text format, with prometheus_client's own writer and parser as judges, and hostile pages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from nimify_tui.serving.metrics import BOUNDS_S, Metrics
from nimify_tui.sources.metrics.adapters import ADAPTERS, Reader
from nimify_tui.sources.metrics.exposition import MAX_LABELS, MAX_LINE_BYTES, ExpositionError, Parser

NAMES = ("requests_total", "queue", "a:b_c9")
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
number = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.integers(-(10**9), 10**9).map(float))


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def ours(data: bytes, names: tuple[str, ...] = NAMES) -> list[tuple[str, dict[str, str], float]]:
    page = Parser(names).parse(data)
    return [(name, dict(each.labels), each.value) for name, series in page.series.items() for each in series]


def theirs(data: bytes, names: tuple[str, ...] = NAMES) -> list[tuple[str, dict[str, str], float]]:
    found = []
    for family in text_string_to_metric_families(data.decode()):
        found += [(sample.name, sample.labels, sample.value) for sample in family.samples if sample.name in names]
    return found


def check(data: bytes) -> None:
    mine = sorted(ours(data), key=repr)
    judge = sorted(theirs(data), key=repr)
    assert len(mine) == len(judge)
    for (name, labels, value), (other, other_labels, other_value) in zip(mine, judge, strict=True):
        assert (name, labels) == (other, other_labels)
        assert same(value, other_value)


@given(st.dictionaries(st.tuples(any_text, any_text), number, max_size=8), number)
def test_what_the_library_writes_is_read_as_it_reads_it(labelled: dict[tuple[str, str], float], plain: float) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("queue", "Help with \\ and\nnewline.", ("first", "second"), registry=registry)
    for words, value in labelled.items():
        gauge.labels(*words).set(value)
    Gauge("a:b_c9", "Plain.", registry=registry).set(plain)
    Counter("requests", "Counted.", ("code",), registry=registry).labels("200").inc(3)
    check(generate_latest(registry))


blank = st.text(" \t", max_size=2)
value_text = st.sampled_from(("1", "+1", "-1.5e3", "1e+09", ".5", "5.", "NaN", "+Inf", "-Inf", "0"))


@st.composite
def lines(draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    """One line of the format, written in all the ways it may be written."""
    name = draw(st.sampled_from((*NAMES, "unwanted")))
    text = name
    if draw(st.booleans()):
        labels = draw(st.dictionaries(st.sampled_from(("a", "le", "_x9")), any_text, max_size=3))
        body = []
        for key, value in labels.items():
            escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
            body.append(f'{draw(blank)}{key}{draw(blank)}={draw(blank)}"{escaped}"{draw(blank)}')
        comma = "," if body and draw(st.booleans()) else ""
        text += f"{draw(blank)}{{{','.join(body)}{comma}}}{draw(blank)}"
    text += f" {draw(blank)}{draw(value_text)}"
    if draw(st.booleans()):
        text += f" {draw(st.integers(0, 2**41))}"
    return str(text)


@given(st.lists(lines(), max_size=8))
@settings(max_examples=200)
def test_every_way_to_write_a_line_is_read_as_the_library_reads_it(page: list[str]) -> None:
    # Carriage returns and the like inside label values split lines for str.splitlines only, not in the format.
    data = "".join(f"{line}\n" for line in page).encode()
    check(data)
    assert repr(ours(data.replace(b"\n", b"\r\n"))) == repr(ours(data))


def test_open_metrics_with_exemplars_and_its_end() -> None:
    registry = CollectorRegistry()
    counter = Counter("requests", "Counted.", ("code",), registry=registry)
    counter.labels("200").inc(2, {"trace": 'a"}#'})
    data: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]  # prometheus_client's own
    assert ours(data) == [("requests_total", {"code": "200"}, 2.0)]
    assert ours(data + b"requests_total 9\n") == [("requests_total", {"code": "200"}, 2.0)]
    assert ours(b'requests_total 4 # {trace="{x"} 1 1\n') == [("requests_total", {}, 4.0)]


BROKEN = (
    b"queue", b"queue{", b"queue{}", b'queue{a="1"', b'queue{a="1} 1', b"queue{a=1} 1", b'queue{a="1"b="2"} 1',
    b"queue 1 2 3", b'queue{a="1",a="2"} 1', b"queue one", b"queue 1_000", b"queue 0x10", b'queue{="1"} 1',
    b'queue{a="1",,b="2"} 1', b'queue{9a="1"} 1',
)  # fmt: skip


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_wanted_line_is_refused_and_an_unwanted_one_passed_over(line: bytes) -> None:
    with pytest.raises(ExpositionError):
        Parser(NAMES).parse(line + b"\n")
    assert Parser(("other",)).parse(line + b"\nother 1\n").series["other"][0].value == 1.0


def test_pages_out_of_bounds_are_refused_quickly() -> None:
    began = time.process_time()
    for data in (
        b"queue{a=\"" + b"x" * MAX_LINE_BYTES + b'"} 1\n',
        b"queue{" + b",".join(b'l%d="1"' % number for number in range(MAX_LABELS + 1)) + b"} 1\n",
        b"".join(b'queue{a="%d"} 1\n' % number for number in range(25_000)),
        b'queue{a="' + b"\\" * 12_001 + b"\n",
        b"queue{" + b'a="",' * 3000 + b"\n",
    ):
        with pytest.raises(ExpositionError):
            Parser(NAMES).parse(data)
    assert Parser(NAMES).parse(b"#" * 500_000 + b"\n" + b"\0" * 500_000).series == {}
    assert time.process_time() - began < 2.0


@given(st.binary(max_size=300))
def test_any_bytes_are_a_page_or_an_error_of_ours(data: bytes) -> None:
    for page in (data, b"queue{" + data, b'queue{a="' + data, b"# TYPE " + data):
        said = ""
        try:
            Parser(NAMES).parse(page)
        except ExpositionError as error:
            said = error.message
        assert len(said) < 300
        assert said.isprintable()


def test_a_page_of_our_runtime_becomes_a_sample() -> None:
    metrics = Metrics("3")
    model = metrics.model("embed", "1")
    for value in (0.003, 0.003, 0.04):
        model.answered(200)
        model.duration.observe(value)
        model.compute.observe(value / 2)
        model.queue.observe(0.0)
        model.batch.observe(2)
    model.answered(400)
    metrics.refused("malformed")
    metrics.secured("malformed", "refused")
    model.in_flight = 2
    sample = Reader().read(metrics.page(), 5.0, "here")
    assert sample is not None
    assert (sample.at, sample.source, sample.requests) == (5.0, "here", {"200": 3.0, "400": 1.0})
    assert sample.duration is not None
    assert sample.duration.bounds_s == BOUNDS_S
    assert sample.duration.counts[-1] == 3.0
    assert sample.duration.sum_s == pytest.approx(0.046)
    assert (sample.batch_sum, sample.batch_count, sample.in_flight, sample.queued) == (6.0, 3.0, 2.0, 0.0)
    assert sample.rejected == {"malformed": 1.0}
    assert sample.security == {("malformed", "refused"): 1.0}
    assert sample.cache is None
    assert sample.started_at is not None
    assert abs(time.time() - sample.started_at) < 3600
    assert sample.rss_bytes is not None
    again = Reader().read(metrics.page(), 6.0, "here")
    assert again is not None


def test_families_that_have_not_counted_yet_are_empty_and_not_absent() -> None:
    metrics = Metrics("3")
    metrics.model("embed", "1")
    sample = Reader().read(metrics.page(), 1.0, "")
    assert sample is not None
    assert (sample.requests, sample.rejected, sample.security) == ({}, {}, {})
    assert sample.duration is not None
    assert sample.duration.counts[-1] == 0.0


LIES = (
    'x_bucket{le="0.1"} 5\nx_bucket{le="+Inf"} 3',
    'x_bucket{le="0.1"} 5',
    'x_bucket{le="NaN"} 5\nx_bucket{le="+Inf"} 5',
    'x_bucket{le="ten"} 5\nx_bucket{le="+Inf"} 5',
    'x_bucket{le="0.1"} -1\nx_bucket{le="+Inf"} 3',
    'x_bucket{le="+Inf"} 3',
    'x_bucket{le="0.1"} NaN\nx_bucket{le="+Inf"} 3',
    "".join(f'x_bucket{{le="{n}"}} 1\n' for n in range(200)) + 'x_bucket{le="+Inf"} 1',
)


@pytest.mark.parametrize("lie", LIES)
def test_a_histogram_that_makes_no_sense_is_none(lie: str) -> None:
    page = lie.replace("x_bucket", "nimify_inference_request_duration_seconds_bucket")
    page += "\nnimify_inference_queue_requests -3\n"
    sample = Reader().read(page.encode(), 1.0, "")
    assert sample is not None
    assert sample.duration is None
    assert sample.queued is None


def test_labels_of_a_liar_are_bounded() -> None:
    page = "".join(f'nimify_requests_rejected_total{{reason="{"x" * 200}{n}"}} 1\n' for n in range(500))
    page += "nimify_inference_queue_requests 1\n"
    page += "".join(f'nimify_requests_rejected_total{{reason="r{n}"}} 1\n' for n in range(500))
    sample = Reader().read(page.encode(), 1.0, "")
    assert sample is not None
    assert sample.rejected is not None
    assert len(sample.rejected) == 64
    assert max(map(len, sample.rejected)) <= 64


def test_a_page_of_another_runtime_is_nobody_s() -> None:
    assert Reader().read(b"# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_deferred 3\n", 1.0, "") is None
    assert len(ADAPTERS) >= 1
