"""Percentiles of services that have none, by what stands before them: of its own address alone, and once."""

from __future__ import annotations

import msgspec
import pytest

from nimify_tui.domain.measures import Front, Histogram, ReplicaSample
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import RegionHealth, RegionState
from nimify_tui.domain.updates import RegionListed, RegionSeen, Sampled, SampleFailed, ServiceSeen
from nimify_tui.domain.workloads import Address, Surroundings
from nimify_tui.fleet.frames import ServiceRow
from nimify_tui.fleet.store import Fleet
from nimify_tui.sources.metrics.adapters import Reader
from nimify_tui.sources.metrics.gateways import BY_CONTOUR, BY_ENVOY_GATEWAY, ROUTES_ALONE
from nimify_tui.sources.metrics.ingress import BY_NGINX
from nimify_tui.sources.metrics.mesh import BY_WAYPOINT
from nimify_tui.sources.metrics.triton import NO_HISTOGRAM
from tests.fleet.town import region_fact, replica_fact, service_fact
from tests.metrics.foreign import CONTOUR, ENVOY_GATEWAY, ISTIO, NGINX

AT = 1_000_000.0
MODEL, INGRESS = ServiceKey("r", "triton", "default"), ServiceKey("r", "controller", "ingress")
SHARES = Histogram((0.02, 0.04, 1.0), (0.0, 0.9, 1.0, 1.0))
MODEL_R, INGRESS_R = ReplicaKey(MODEL, "t-0"), ReplicaKey(INGRESS, "c-0")


def town(*names: str) -> Fleet:
    """A model behind a Service of each name in ``names``, and an ingress."""
    fleet = Fleet(scrape_s=2.0)
    fleet.apply(RegionSeen(AT, region_fact("r"), RegionHealth(state=RegionState.LIVE, since=AT, last_contact_at=AT)))
    around = Surroundings(addresses=tuple(Address(name=name, host=f"{name}.default", ports=()) for name in names))
    facts = [msgspec.structs.replace(service_fact(MODEL, 1), around=around), service_fact(INGRESS, 1)]
    replicas = [replica_fact(MODEL_R), replica_fact(INGRESS_R)]
    fleet.apply(RegionListed(AT, "r", tuple(facts), tuple(replicas)))
    return fleet


def run(fleet: Fleet, seconds: int = 60) -> ServiceRow:
    """Ten requests a second, nine of ten of 20 ms to 40 ms: as the model counts them, and as its ingress tells them."""
    row = None
    for second in range(0, seconds, 2):
        at, count = AT + second, 10.0 * second
        own = ReplicaSample(at=at, source="t", requests={"200": count}, duration=Histogram((), (count,), count * 0.03),
                            latency_note=NO_HISTOGRAM)  # fmt: skip
        fleet.apply(Sampled(at, MODEL_R, own))
        told = Histogram(SHARES.bounds_s, tuple(share * count for share in SHARES.counts))
        front = Front(BY_NGINX, {("default", "ticketing"): told})
        fleet.apply(Sampled(at, INGRESS_R, ReplicaSample(at=at, source="t", front=front)))
        row = fleet.publish(at).rows[MODEL.row_id]
    assert row is not None
    return row


def test_a_service_without_percentiles_has_those_of_its_ingress_and_its_own_requests() -> None:
    """Seen failing with what the ingress tells counted as requests: twice as many."""
    row = run(town("ticketing"))
    assert row.p50.value == pytest.approx(0.02 + 0.02 * 0.5 / 0.9, rel=0.01)
    assert row.p99.value == pytest.approx(0.04 + 0.96 * 0.9, rel=0.01)
    assert BY_NGINX in row.p99.source
    assert row.rps.value == pytest.approx(10.0)


def test_what_is_told_of_another_address_or_of_several_services_is_told_of_none() -> None:
    assert run(town("other")).p99.reason == NO_HISTOGRAM
    fleet = town("ticketing")
    twin = ServiceKey("r", "canary", "default")
    around = Surroundings(addresses=(Address(name="ticketing", host="h", ports=()),))
    fact = msgspec.structs.replace(service_fact(twin, 1), around=around)
    model = msgspec.structs.replace(service_fact(MODEL, 1), around=around)
    told = (replica_fact(MODEL_R), replica_fact(INGRESS_R), replica_fact(ReplicaKey(twin, "c-1")))
    fleet.apply(RegionListed(AT, "r", (model, fact, service_fact(INGRESS, 1)), told))
    assert run(fleet).p99.reason == NO_HISTOGRAM


def test_an_ingress_that_went_silent_leaves_no_percentile_behind() -> None:
    fleet = town("ticketing")
    assert run(fleet).p99.value is not None
    for second in range(60, 120, 2):
        count = 10.0 * second
        own = ReplicaSample(at=AT + second, source="t", requests={"200": count},
                            duration=Histogram((), (count,), 1.0), latency_note=NO_HISTOGRAM)  # fmt: skip
        fleet.apply(Sampled(AT + second, MODEL_R, own))
    row = fleet.publish(AT + 118).rows[MODEL.row_id]
    assert (row.p99.value, row.p99.reason) == (None, NO_HISTOGRAM)
    assert row.rps.value == pytest.approx(10.0)


def test_pages_of_fronts_tell_of_each_service_behind_them_and_nothing_of_themselves() -> None:
    found = Reader().read(NGINX.encode(), 1.0, "t")
    assert found is not None
    assert found.front is not None
    assert (found.requests, found.duration, found.front.who) == (None, None, BY_NGINX)
    assert list(found.front.services) == [("default", "ticketing")], "what no backend took is nobody's"
    assert found.front.services["default", "ticketing"].counts == (3.0, 10.0)

    ambient = ISTIO.replace('reporter="destination"', 'reporter="waypoint"').replace(
        'destination_workload="ratings-v1"', 'destination_service_namespace="ai",destination_service_name="triton"'
    )
    by_mesh = Reader().read(ambient.encode(), 1.0, "t")
    assert by_mesh is not None
    assert by_mesh.front is not None
    assert by_mesh.front.who == BY_WAYPOINT
    assert by_mesh.front.services["ai", "triton"].bounds_s == (0.005, 10.0)
    assert by_mesh.requests is None


def told(page: str, at: float = 1.0) -> ReplicaSample:
    found = Reader().read(page.encode(), at, "t")
    assert found is not None
    return found


def test_envoy_gateway_tells_of_a_service_where_its_routes_share_one_cluster_of_it_and_else_of_none() -> None:
    """Sabotage seen failing: a route taken for the Service of its name."""
    merged = told(ENVOY_GATEWAY)
    assert merged.front is not None
    assert (merged.requests, merged.duration, merged.front.who) == (None, None, BY_ENVOY_GATEWAY)
    found = merged.front.services
    assert list(found) == [("default", "service-selected")], "neither a route nor its own statistics"
    assert found["default", "service-selected"].counts == (1.0, 2.0, 21.0, 27.0, 27.0)
    assert found["default", "service-selected"].bounds_s == (0.025, 0.05, 0.1, 0.25)

    for other in ("httproute/default/service-selected/rule/0", "backend/default/service-selected/8080/http",
                  "serviceimport/default/service-selected/8080/http"):  # fmt: skip
        alone = told(ENVOY_GATEWAY.replace("service/default/service-selected/8080/http", other))
        assert (alone.front, alone.latency_note) == (None, ROUTES_ALONE)


def test_contour_names_its_services_and_a_name_alike_on_the_page_of_another_envoy_is_nobodys() -> None:
    """Sabotage seen failing: names like Contour's read on any page."""
    found = told(CONTOUR).front
    assert found is not None
    assert found.who == BY_CONTOUR
    space = "recommendations-for-returning-customers-in-western-europe-prod"
    long = "ranking-of-candidates-by-a-model-of-two-towers-second-generatio"
    assert set(found.services) == {("shop", "recommender"), (space, long)}, "whole, however long"
    assert found.services["shop", "recommender"].counts[-1] == 44.0
    assert Reader().read(CONTOUR.replace("envoy-admin", "other").encode(), 1.0, "t") is None
    short = "recommendations-for-re-1a2b3c/ranking-of-candidates--1a2b3c/80/da39a3ee5e"
    cut = told(CONTOUR.replace(f"{space}_{long}_80", short)).front
    assert cut is not None
    assert set(cut.services) == {("shop", "recommender")}, "a name of a configuration may be cut"


def test_a_service_behind_a_gateway_has_percentiles_of_what_grew_there() -> None:
    fleet = town("service-selected")
    grown = ENVOY_GATEWAY.replace('http",le="100"} 21', 'http",le="100"} 121').replace("} 27", "} 127")
    for at, page, count in ((AT, ENVOY_GATEWAY, 0.0), (AT + 2.0, grown, 100.0)):
        own = ReplicaSample(at=at, source="t", requests={"200": count}, duration=Histogram((), (count,), count),
                            latency_note=NO_HISTOGRAM)  # fmt: skip
        fleet.apply(Sampled(at, MODEL_R, own))
        fleet.apply(Sampled(at, INGRESS_R, told(page, at)))
    row = fleet.publish(AT + 2.0).rows[MODEL.row_id]
    assert row.p50.value == pytest.approx(0.075, rel=0.01), "in the middle of 50 to 100 ms"
    assert BY_ENVOY_GATEWAY in row.p50.source


def test_a_runtime_that_tells_no_metrics_is_told_with_what_switches_them_on() -> None:
    fleet = town("ticketing")
    fleet.apply(ServiceSeen(AT, msgspec.structs.replace(service_fact(MODEL, 1), family="sglang")))
    fleet.apply(SampleFailed(AT + 1, MODEL_R, "30000/metrics answers 404"))
    reason = fleet.publish(AT + 2).rows[MODEL.row_id].p99.reason
    assert reason == "metrics cannot be read: 30000/metrics answers 404; are they on? start it with --enable-metrics"
    fleet.apply(SampleFailed(AT + 3, MODEL_R, "no right to pods/proxy in ns default"))
    assert "are they on" not in fleet.publish(AT + 4).rows[MODEL.row_id].p99.reason
