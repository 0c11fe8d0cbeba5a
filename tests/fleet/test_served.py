"""What the fleet makes of the models that servers announce, and of their numbers."""

from __future__ import annotations

import pytest

from nimify_tui.domain.measures import MeasureState, ModelSample
from nimify_tui.domain.regions import RegionHealth, RegionState
from nimify_tui.domain.served import ModelKind, ModelState, ServedModel
from nimify_tui.domain.services import ServiceState
from nimify_tui.domain.updates import ModelsSeen, RegionSeen, ReplicaGone, Sampled
from nimify_tui.fleet.frames import Frame, ModelRow
from nimify_tui.fleet.snapshot import project
from tests.fleet.town import Counts, Server, Town, region_fact

EAST, WEST = "us-east-1", "us-west-2"
READY, LOADING, FAILED = ModelState.READY, ModelState.LOADING, ModelState.FAILED


def told(name: str, state: ModelState = READY, version: str = "1", reason: str = "") -> ServedModel:
    return ServedModel(name=name, state=state, version=version, reason=reason, source="v2/repository/index")


def tell(town: Town, server: Server, *models: ServedModel) -> None:
    town.fleet.apply(ModelsSeen(town.at, server.key, models))


def shown(town: Town, row_id: str) -> dict[str, ModelRow]:
    return {each.name: each for each in town.fleet.publish(town.at).models.get(row_id, ())}


@pytest.mark.parametrize(
    ("first", "second", "state", "words"),
    [
        ([told("b")], [told("b")], ServiceState.OK, ""),
        ([told("b", FAILED, reason="no shape")], [told("b", FAILED)], ServiceState.DOWN, "no shape"),
        ([told("b", FAILED, reason="no shape")], [told("b")], ServiceState.DEGRADED, "no shape (in 1 of 2 replicas)"),
        ([told("b"), told("b", FAILED, "2", "bad")], [told("b"), told("b", FAILED, "2", "bad")], ServiceState.DEGRADED,
         "version 2: bad"),
        ([told("b", LOADING)], [told("b")], ServiceState.STARTING, "is loading (in 1 of 2 replicas)"),
        ([], [told("b")], ServiceState.DEGRADED, "1 of 2 replicas do not have it"),
        ([told("b", ModelState.UNLOADED, reason="unloaded")], [], ServiceState.STOPPED,
         "unloaded (in 1 of 2 replicas)"),
        ([told("b", ModelState.UNKNOWN)], [told("b")], ServiceState.UNKNOWN,
         "its server does not say how it is (in 1 of 2 replicas)"),
    ],
)  # fmt: skip
def test_a_model_is_as_well_as_its_worst_replica_and_version(
    first: list[ServedModel], second: list[ServedModel], state: ServiceState, words: str
) -> None:
    town = Town({EAST: {"many": 2}})
    for server, models in zip(town.of("many", EAST), (first, second), strict=True):
        tell(town, server, told("a"), *models)
    row = shown(town, "many")["b"]
    assert (row.state, row.reason) == (state, words)


def test_one_model_is_no_list_and_rows_follow_the_regions() -> None:
    town = Town({EAST: {"many": 1}, WEST: {"many": 1, "one": 1}})
    east, west = town.of("many", EAST)[0], town.of("many", WEST)[0]
    tell(town, town.of("one", WEST)[0], told("one"), told("one", version="2"))
    tell(town, east, told("a"), told("b"))
    frame = town.fleet.publish(town.at)
    assert set(frame.models) == {"many@us-east-1"}, "two versions of one model are one model"
    assert (frame.rows["many"].models, frame.rows["many@us-west-2"].models) == (("a", "b"), ())
    tell(town, west, told("c"), told("d"))
    assert set(town.fleet.publish(town.at).models) == {"many@us-east-1", "many@us-west-2"}
    town.fleet.apply(ReplicaGone(town.at, west.key))
    assert set(town.fleet.publish(town.at).models) == {"many@us-east-1"}, "who told them is gone"


def test_a_region_that_is_not_seen_says_nothing_of_models() -> None:
    town = Town({EAST: {"many": 1}})
    tell(town, town.of("many", EAST)[0], told("a"), told("b"))
    lost = RegionHealth(state=RegionState.DOWN, since=town.at, cause="cut", last_contact_at=town.at)
    town.fleet.apply(RegionSeen(town.at, region_fact(EAST), lost))
    assert {(each.state, each.reason) for each in shown(town, "many").values()} == {
        (ServiceState.UNKNOWN, "its region is not seen now")
    }


def test_a_name_of_a_clusters_object_has_no_state_of_its_own() -> None:
    """Its server is well and was not asked: that is no state of the model."""
    town = Town({EAST: {"many": 1}})
    key = next(iter(town.services))
    adapter = ServedModel(name="lora", kind=ModelKind.ADAPTER, source="--lora-modules")
    base = ServedModel(name="llama", state=READY, source="NIMService llama")
    town.see_service(key, models=(base, adapter))
    rows = shown(town, "many")
    assert [*rows] == ["llama", "lora"]
    assert (rows["llama"].state, rows["lora"].state) == (ServiceState.OK, ServiceState.UNKNOWN)
    assert rows["lora"].reason == "from --lora-modules, its server is not asked how it is"
    assert rows["lora"].rps.state is MeasureState.ABSENT


def sampled(town: Town, server: Server, **models: tuple[float, float, Counts]) -> Frame:
    """One scrape with numbers by model: (answers, failures, durations)."""
    total = server.sample(town.at)
    of = {
        name: ModelSample(requests={"200": good, "500": bad}, duration=counts.told())
        for name, (good, bad, counts) in models.items()
    }
    sample = type(total)(at=town.at, source="test", started_at=server.started_at, requests=total.requests,
                         duration=total.duration, models=of)  # fmt: skip
    town.fleet.apply(Sampled(town.at, server.key, sample))
    return town.fleet.publish(town.at)


def test_numbers_by_model_are_of_that_model() -> None:
    town = Town({EAST: {"many": 1}})
    server = town.of("many", EAST)[0]
    tell(town, server, told("fast"), told("slow"), told("silent"))
    fast, slow = Counts(), Counts()
    good = [0.0, 0.0]
    for _ in range(20):
        town.at += 2.0
        for _ in range(20):
            fast.observe(0.003)
        for _ in range(4):
            slow.observe(0.4)
        good[0] += 20
        good[1] += 4
        sampled(town, server, fast=(good[0], 0.0, fast), slow=(good[1] * 0.75, good[1] * 0.25, slow))
    rows = {each.name: each for each in town.fleet.publish(town.at).models["many"]}
    assert rows["fast"].rps.value == pytest.approx(10.0)
    assert rows["slow"].rps.value == pytest.approx(2.0)
    assert rows["slow"].error_ratio.value == pytest.approx(0.25)
    assert "5xx alone" in rows["slow"].error_ratio.source
    assert rows["fast"].error_ratio.value == 0.0
    assert (rows["fast"].p95.value or 0) < 0.0041 < 0.35 < (rows["slow"].p95.value or 0)
    assert (rows["silent"].rps.value, rows["silent"].rps.reason) == (None, "the metrics have no numbers of this model")
    town.at += 10.0
    assert {each.rps.state for each in town.fleet.publish(town.at).models["many"][:2]} <= {
        MeasureState.STALE, MeasureState.ABSENT,
    }  # fmt: skip


def test_the_snapshot_names_them() -> None:
    town = Town({EAST: {"many": 1}})
    tell(town, town.of("many", EAST)[0], told("a"), told("b", FAILED, reason="no shape"))
    frame = town.fleet.publish(town.at)
    service = project(frame, [])["services"][0]
    assert service["model_names"] == ["b", "a"]
    assert [
        {key: each[key] for key in ("name", "kind", "state", "reason", "ready_replicas", "versions", "source")}
        for each in service["regions"][0]["models"]
    ] == [
        {"name": "b", "kind": "base", "state": "DOWN", "reason": "no shape", "ready_replicas": 0, "versions": ["1"],
         "source": "v2/repository/index"},
        {"name": "a", "kind": "base", "state": "OK", "reason": "", "ready_replicas": 1, "versions": ["1"],
         "source": "v2/repository/index"},
    ]  # fmt: skip
    assert service["regions"][0]["models"][0]["rps"]["value"] is None
