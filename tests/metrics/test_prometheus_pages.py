"""What a Prometheus tells of a replica: whose it is, of which target, and whether it is whole. Rows are made here."""

from __future__ import annotations

import msgspec

from nimify_tui.backends.prometheus.answers import Row
from nimify_tui.backends.prometheus.columns import Columns
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica, ReplicaState
from nimify_tui.sources.metrics.adapters import Reader
from nimify_tui.sources.metrics.pages import Part, Read, Target, interval_of, parts_of, told_by
from nimify_tui.sources.metrics.selectors import (
    INSTANCE,
    POD_LABELS,
    Spot,
    batches,
    expression,
    instances,
    owner,
)

KEY = ServiceKey("eu", "llm", "ai")
SPOT = Spot(ReplicaKey(KEY, "llm-0"), "ai", ("llm-0",))
TARGET = {"job": "models", "instance": "10.0.0.7:8000", "namespace": "ai", "pod": "llm-0"}
REQUESTS, FLIGHT = "nimify_inference_requests_total", "nimify_inference_requests_in_flight"


def row(name: str, *values: tuple[float, float], **labels: str) -> Row:
    return Row({"__name__": name, **TARGET, **labels}, list(values))


def told(rows: list[Row]) -> tuple[list[Part], list[msgspec.Raw], Read]:
    parts = parts_of([each.metric for each in rows], range(len(rows)))
    values = [msgspec.json.encode([(at, str(value)) for at, value in each.values]) for each in rows]
    return parts, [msgspec.Raw(each) for each in values], Columns


def targets(rows: list[Row], at: float, settle_s: float) -> list[Target]:
    return told_by(*told(rows), at, settle_s)


def every_s(rows: list[Row]) -> float | None:
    return interval_of(*told(rows))


def test_a_pair_of_servers_is_never_added_up() -> None:
    """Seen failing with all rows of a replica as one target."""
    rows = [
        each
        for which, at in (("a", 100.0), ("b", 103.0))
        for each in (
            row(REQUESTS, (at, 15.0), code="200", model="m", prometheus_replica=which),
            row(FLIGHT, (at, 1.0), model="m", prometheus_replica=which),
        )
    ]
    found = targets(rows, 110.0, 15.0)
    assert [target.times for target in found] == [[103.0], [100.0]]
    sample = Reader().understand(found[0].page(103.0), 103.0, "p")
    assert sample is not None
    assert (sample.requests, sample.in_flight) == ({"200": 15.0}, 1.0)


def test_what_was_not_counted_yet_is_zero_for_ours_and_a_label_of_the_target_is_not_the_runtimes() -> None:
    rows = [row(FLIGHT, (100.0, 0.0), model="the pod's label", exported_model="m", version="1")]
    page = targets(rows, 101.0, 15.0)[0].page(100.0)
    assert page[FLIGHT][0].label("model") == "m"
    sample = Reader().understand(page, 100.0, "p")
    assert sample is not None
    assert sample.requests == {}, "our pages announce it always: none yet"
    assert sample.cache is None, "not always announced: not known"


def test_a_scrape_that_is_still_coming_in_is_waited_for() -> None:
    rows = [
        row(REQUESTS, (100.0, 5.0), (115.0, 9.0), code="200"),
        row(REQUESTS, (100.0, 1.0), code="500"),
        row(FLIGHT, (100.0, 1.0), (115.0, 1.0)),
    ]
    assert targets(rows, 116.0, 15.0)[0].times == [100.0], "one series of the newest is not here yet"
    target = targets(rows, 131.0, 15.0)[0]
    assert target.times == [115.0, 100.0], "it does not come any more: that code is gone"
    assert set(target.page(115.0)) == {REQUESTS, FLIGHT}
    assert len(target.page(115.0)[REQUESTS]) == 1


def test_how_often_it_is_scraped_and_which_scrapes_are_told() -> None:
    rows = [row(FLIGHT, *((100.0 + 15 * n, 1.0) for n in range(6)))]
    assert every_s(rows) == 15.0
    assert every_s([row(FLIGHT, (100.0, 1.0))]) is None
    target = targets(rows, 176.0, 15.0)[0]
    assert target.since(0.0, 7.5) == [100.0, 115.0, 130.0, 145.0, 160.0, 175.0]
    assert target.since(145.0, 20.0) == [175.0]
    assert target.since(175.0, 7.5) == []


def test_series_are_matched_by_the_labels_that_name_a_pod() -> None:
    by = {labels: owner([SPOT], labels) for labels in POD_LABELS}
    assert by["namespace", "pod"]({"namespace": "ai", "pod": "llm-0"}) == SPOT.key
    assert by["namespace", "pod"]({"namespace": "other", "pod": "llm-0"}) is None
    of_exporter = {"namespace": "ai", "pod": "llm-0", "exported_namespace": "ai", "exported_pod": "else"}
    assert by["namespace", "pod"](of_exporter) is None, "it tells of another pod"
    triton = {"namespace": "ai", "pod": "llm-0", "exported_namespace": "of a model"}
    assert by["namespace", "pod"](triton) == SPOT.key
    assert by["kubernetes_namespace", "kubernetes_pod_name"](
        {"kubernetes_namespace": "ai", "kubernetes_pod_name": "llm-0"}
    ) == SPOT.key  # fmt: skip


def test_a_question_names_replicas_literally_and_nothing_else_gets_into_it() -> None:
    hostile = Spot(ReplicaKey(KEY, 'x"}or up{'), "ai", ('x"}or up{', "b.c"))
    found = expression({"up", "vllm:num_requests_running"}, [SPOT, hostile], ("namespace", "pod"), 31)
    assert found == (
        '{__name__=~"up|vllm:num_requests_running",pod=~"b[.]c|llm-0",namespace=~"ai"}[31s]'
    )
    address = Spot(SPOT.key, "", ("[::1]:80",))
    assert expression({"up"}, [address], INSTANCE, 5) == '{__name__=~"up",instance=~"\\\\[::1\\\\]:80"}[5s]'
    assert [len(each) for each in batches([[SPOT] * 3, [SPOT] * 2], 2)] == [2, 2, 1]


def test_the_loopback_of_a_server_elsewhere_is_not_ours() -> None:
    one = Replica(
        key=ReplicaKey(ServiceKey("local", "m"), "r"), state=ReplicaState.READY, since=1.0, revision=1,
        admin_url="http://127.0.0.1:8001",
    )  # fmt: skip
    (here,), (there,) = instances([one], near=True)[0], instances([one], near=False)[0]
    assert {"127.0.0.1:8001", "localhost:8001"} <= set(here.names)
    assert len(there.names) == 1
    assert "127.0.0.1" not in there.names[0]
