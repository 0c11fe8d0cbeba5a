"""Replicas that are read seldom, by another clock: no gaps in the chart, no spikes, and language models' numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest

from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.measures import Histogram, Measure, MeasureState, ReplicaSample, TokenSample
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import RegionHealth, RegionState
from nimify_tui.domain.slos import Slo
from nimify_tui.domain.updates import RegionListed, RegionSeen, Sampled, SampleFailed, ServiceSeen, Tick
from nimify_tui.fleet.frames import Frame, ServiceRow
from nimify_tui.fleet.store import Fleet
from tests.fleet.town import START_AT, region_fact, replica_fact, service_fact

KEY = ServiceKey("us-east-1", "llm")
BOUNDS = (0.1, 0.2, 0.4)
EVERY_S = 4.0
Make = Callable[[float, float], ReplicaSample]


def pods(count: int) -> list[ReplicaKey]:
    return [ReplicaKey(KEY, f"llm-{number}") for number in range(count)]


def fleet_of(count: int, slos: tuple[Slo, ...] = ()) -> Fleet:
    fleet = Fleet(slos=slos)
    health = RegionHealth(state=RegionState.LIVE, since=START_AT, last_contact_at=START_AT)
    fact = service_fact(KEY, count, family="vllm", metrics_at="8000/metrics")
    replicas = tuple(replica_fact(each, admin_url="") for each in pods(count))
    fleet.apply_many(
        [RegionSeen(START_AT, region_fact(KEY.region), health), RegionListed(START_AT, KEY.region, (fact,), replicas)]
    )
    fleet.publish(START_AT)
    return fleet


def steady(at: float, rps: float) -> ReplicaSample:
    """Counters of a replica that is asked ``rps`` times a second since the beginning, each taking 150 ms."""
    count = rps * (at - START_AT) + 1000.0
    return ReplicaSample(
        at=at, source="test", started_at=START_AT - 900.0, requests={"200": count},
        duration=Histogram(BOUNDS, (0.0, count, count, count), 0.15 * count), every_s=EVERY_S,
    )  # fmt: skip


def run(
    fleet: Fleet, begin_s: float, end_s: float, make: Make = steady, every_s: float = EVERY_S, rps: float = 10.0
) -> Frame:
    """Read each pod at its own phase of the interval, and make a frame each second."""
    at_s = begin_s
    count = len(fleet.targets())
    while at_s < end_s:
        at_s += 1.0
        for number, key in enumerate(pods(count)):
            phase_s = number * every_s / count
            reads = math.floor((at_s - phase_s) / every_s), math.floor((at_s - 1.0 - phase_s) / every_s)
            if reads[0] > reads[1]:
                at = START_AT + reads[0] * every_s + phase_s
                sample = msgspec.structs.replace(make(at, rps), every_s=every_s)
                fleet.apply(Sampled(at, key, sample))
        fleet.apply(Tick(START_AT + at_s))
        fleet.publish(START_AT + at_s)
    return fleet.frame


def row(fleet: Fleet) -> ServiceRow:
    return fleet.frame.rows["llm"]


@pytest.mark.parametrize(("count", "every_s"), [(1, 4.0), (3, 4.0), (80, 8.0)])
def test_the_rate_is_that_of_all_replicas_and_the_chart_has_no_gap(count: int, every_s: float) -> None:
    """Sabotage seen failing: what a scrape brings put into one column; a window up to the newest column."""
    fleet = fleet_of(count)
    fleet.demand(DetailDemand("llm"))
    rates = []
    for end_s in range(60, 100):
        run(fleet, end_s - 1.0 if end_s > 60 else 0.0, end_s, every_s=every_s)
        rates.append(row(fleet).rps.value)
    assert all(rate == pytest.approx(10.0 * count, rel=0.02) for rate in rates)
    assert row(fleet).p95.value == pytest.approx(0.195)
    columns = fleet.frame.details["llm"].history.columns
    full = [each for each in columns if each.at > START_AT + 16.0]
    assert len(full) > 10
    assert all(each.rps == pytest.approx(10.0 * count, rel=0.05) for each in full)
    assert all(b.at - a.at == 4.0 for a, b in pairwise(columns))


def test_the_numbers_of_a_region_are_as_fresh_as_its_rows() -> None:
    """Seen failing where those were held to how often we scrape: stale most of the time beside a row that was not."""
    fleet = fleet_of(1)
    run(fleet, 0.0, 60.0, every_s=15.0)
    for second in range(60, 76):
        frame = run(fleet, second, second + 1.0, every_s=15.0)
        found = row(fleet).rps, frame.summary.rps, frame.regions[0].rps
        assert {each.state for each in found} == {MeasureState.FRESH}, second
    fleet.publish(START_AT + 75.0 + 46.0)
    found = row(fleet).rps, fleet.frame.summary.rps, fleet.frame.regions[0].rps
    assert {each.state for each in found} == {MeasureState.STALE}


def test_a_restart_and_a_gap_make_no_spike() -> None:
    """Sabotage seen failing: a young process counted from its start by its own clock."""
    fleet = fleet_of(1)
    run(fleet, 0.0, 60.0)
    young = [START_AT + 63.9]

    def restarted(at: float, rps: float) -> ReplicaSample:
        count = 500.0 + rps * (at - START_AT - 64.0)
        return msgspec.structs.replace(
            steady(at, rps), started_at=young[0], requests={"200": count},
            duration=Histogram(BOUNDS, (0.0, count, count, count), 0.15 * count),
        )  # fmt: skip

    highest = 0.0
    for second in range(60, 120):
        run(fleet, second, second + 1.0, restarted)
        highest = max(highest, row(fleet).rps.value or 0.0)
    assert highest == pytest.approx(10.0, rel=0.02)
    for second in range(120, 160):  # nobody reads for 40 s, then counters are far ahead
        fleet.apply(Tick(START_AT + second))
        fleet.publish(START_AT + second)
    assert row(fleet).rps.state is MeasureState.ABSENT
    assert "no scrape answered for" in row(fleet).rps.reason
    for second in range(160, 190):
        run(fleet, second, second + 1.0, restarted)
        assert (row(fleet).rps.value or 0.0) <= 10.3


def test_it_is_stale_by_its_own_pace() -> None:
    fleet = fleet_of(1)
    run(fleet, 0.0, 60.0)
    states = {}
    for second in range(61, 75):
        fleet.apply(Tick(START_AT + second))
        fleet.publish(START_AT + second)
        states[second] = row(fleet).rps.state
    assert states[70] is MeasureState.FRESH
    assert states[74] is MeasureState.STALE


def test_what_is_not_read_says_why_and_is_not_zero() -> None:
    fleet = fleet_of(2)
    assert row(fleet).rps.reason == "no scrape answered yet"
    for key in pods(2):
        fleet.apply(SampleFailed(START_AT + 1.0, key, "no right to pods/proxy in ns prod"))
    fleet.publish(START_AT + 2.0)
    assert (row(fleet).rps.value, row(fleet).p95.value) == (None, None)
    assert row(fleet).rps.reason == "metrics cannot be read: no right to pods/proxy in ns prod"


def test_who_does_not_tell_failures_has_no_error_ratio_and_burns_nothing() -> None:
    """Sabotage seen failing: requests of an unknown end counted as good ones."""
    fleet = fleet_of(1, slos=(Slo(service="llm", objective=0.99),))

    def unknown(at: float, rps: float) -> ReplicaSample:
        made = steady(at, rps)
        return msgspec.structs.replace(made, requests={"": (made.requests or {})["200"]})

    run(fleet, 0.0, 90.0, unknown)
    found = row(fleet)
    assert found.rps.value == pytest.approx(10.0, rel=0.02)
    assert found.error_ratio.value is None
    assert found.error_ratio.reason == "this runtime does not tell which requests failed"
    assert found.burn.state is MeasureState.ABSENT
    assert fleet.frame.summary.error_ratio.value is None
    assert found.p95.value is not None


def test_a_mean_is_no_percentile() -> None:
    fleet = fleet_of(1)
    fleet.demand(DetailDemand("llm"))
    words = "no histogram: start it with --metrics-config histogram_latencies=true"

    def counted(at: float, rps: float) -> ReplicaSample:
        made = steady(at, rps)
        count = (made.requests or {})["200"]
        return msgspec.structs.replace(made, duration=Histogram((), (count,), 0.15 * count), latency_note=words)

    run(fleet, 0.0, 60.0, counted)
    assert (row(fleet).p95.value, row(fleet).p95.reason) == (None, words)
    assert lines(fleet)["latency, mean"].value == pytest.approx(0.15)
    assert fleet.frame.details["llm"].replicas[0].p95.reason == words


# -- language models -------------------------------------------------------------------------


def lines(fleet: Fleet) -> dict[str, Measure]:
    return {each.name: each.measure for each in fleet.frame.details["llm"].metrics}


def speaking(at: float, rps: float, kv: float = 0.5, bounds: tuple[float, ...] = BOUNDS) -> ReplicaSample:
    """Each request has a prompt of 100 tokens, of which 25 are known, and an answer of 20."""
    count = rps * (at - START_AT) + 1000.0
    counts = (*(0.0 if bound < 0.2 else count for bound in bounds), count)
    return msgspec.structs.replace(
        steady(at, rps),
        in_flight=3.0, queued=2.0,
        tokens=TokenSample(
            ttft=Histogram(bounds, counts, 0.15 * count), itl=Histogram((0.02, 0.05), (0.0, count, count), 0.0),
            prompt_tokens=100.0 * count, generation_tokens=20.0 * count, prefix_queries=100.0 * count,
            prefix_hits=25.0 * count, preemptions=0.1 * count, kv_ratio=kv,
        ),
    )  # fmt: skip


def test_the_numbers_of_language_models_are_in_the_detail() -> None:
    fleet = fleet_of(2)
    fleet.demand(DetailDemand("llm"))
    run(fleet, 0.0, 60.0, speaking)
    found = lines(fleet)
    assert found["time to first token p95"].value == pytest.approx(0.195)
    assert found["between tokens p99"].value == pytest.approx(0.0497)
    assert found["tokens generated a second"].value == pytest.approx(400.0)
    assert found["prompt tokens a second"].value == pytest.approx(2000.0)
    assert found["prefix cache hits"].value == pytest.approx(0.25)
    assert found["preemptions a second"].value == pytest.approx(2.0)
    assert found["KV cache in use, mean"].value == pytest.approx(0.5)
    assert (found["in flight"].value, found["waiting"].value) == (6.0, 4.0)
    assert found["tokens generated a second"].source == "metrics of 2 replicas"


def test_a_restart_of_a_language_model_makes_no_spike_and_no_negative_rate() -> None:
    fleet = fleet_of(1)
    fleet.demand(DetailDemand("llm"))
    run(fleet, 0.0, 60.0, speaking)

    def restarted(at: float, rps: float) -> ReplicaSample:
        return msgspec.structs.replace(speaking(at - 60.0, rps), at=at, started_at=START_AT + 59.0)

    values = []
    for second in range(60, 100):
        run(fleet, second, second + 1.0, restarted)
        values.append(lines(fleet)["tokens generated a second"].value)
    assert all(each is None or each == pytest.approx(200.0) for each in values)
    assert values[-1] is not None


def test_what_a_language_model_does_not_tell_is_unknown_with_the_reason() -> None:
    fleet = fleet_of(1)
    fleet.demand(DetailDemand("llm"))
    run(fleet, 0.0, 5.0, speaking)
    assert lines(fleet)["time to first token p50"].reason == "two scrapes are needed, one answered so far"

    def silent(at: float, rps: float) -> ReplicaSample:
        made = speaking(at, rps)
        tokens = msgspec.structs.replace(made.tokens or TokenSample(), preemptions=None, itl=None, kv_ratio=None)
        return msgspec.structs.replace(made, tokens=tokens)

    run(fleet, 5.0, 60.0, silent)
    found = lines(fleet)
    for name in ("preemptions a second", "between tokens p50", "KV cache in use, mean"):
        assert (found[name].value, found[name].reason) == (None, "this runtime does not tell it")
    assert found["tokens generated a second"].value == pytest.approx(200.0)


def test_histograms_without_a_common_bound_are_not_merged() -> None:
    fleet = fleet_of(2)
    fleet.demand(DetailDemand("llm"))
    other = [BOUNDS, (0.3, 0.6)]

    def mixed(at: float, rps: float) -> ReplicaSample:
        return speaking(at, rps, bounds=other[int(at * 2 / EVERY_S) % 2])

    run(fleet, 0.0, 60.0, mixed)
    found = lines(fleet)["time to first token p95"]
    assert (found.value, found.reason) == (None, "replicas have histograms without a common bucket bound")


def test_a_language_model_that_is_not_read_has_the_reason_in_each_line() -> None:
    fleet = fleet_of(1)
    fleet.demand(DetailDemand("llm"))
    fleet.apply(SampleFailed(START_AT + 1.0, pods(1)[0], "no right to pods/proxy in ns prod"))
    fleet.publish(START_AT + 2.0)
    assert lines(fleet)["tokens generated a second"].reason.endswith("no right to pods/proxy in ns prod")


def test_another_service_has_no_lines_of_tokens() -> None:
    fleet = fleet_of(1)
    fleet.demand(DetailDemand("llm"))
    fleet.apply(ServiceSeen(START_AT + 1.0, service_fact(KEY, 1, metrics_at="8000/metrics")))
    run(fleet, 0.0, 20.0)
    assert "tokens generated a second" not in lines(fleet)
