"""GPUs of clusters joined with who holds them, and how long they did nothing by our own readings."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.gpus import Gpu, GpuMap, GpuPanel, GpuRoom
from nimify_tui.domain.measures import Measure, MeasureState
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.updates import GpuMapSeen, GpusSeen, RegionGone, ReplicaSeen
from tests.fleet.town import Town, replica_fact
from tests.ui.pieces import gpu

US, EU = "us-east-1", "eu-west-1"


def card(at: float, busy: float, node: str = "n1", index: int = 0, **more: Any) -> Gpu:
    made = msgspec.structs.replace(gpu(node, index, busy, 60, 70, 500), region=US, every_s=30.0, **more)
    return msgspec.structs.replace(made, utilisation=Measure(busy, "percent", at, "DCGM"))


def told(town: Town, *cards: Gpu) -> tuple[GpuPanel, ...]:
    town.fleet.apply(GpusSeen(town.at, US, GpuPanel(at=town.at, gpus=cards, reason="", source="DCGM", region=US)))
    return town.fleet.publish(town.at).gpus


def room(node: str = "n1", capacity: int = 1, **more: Any) -> GpuRoom:
    made = GpuRoom(node=node, resource="nvidia.com/gpu", capacity=capacity, allocatable=capacity)
    return msgspec.structs.replace(made, **more)


def test_a_card_is_idle_for_as_long_as_our_readings_say_and_a_break_begins_anew() -> None:
    """Seen failing where a break of the readings was counted as time without work."""
    town = Town({US: {"chat": 1}})
    found: list[tuple[float | None, float | None]] = []
    for after, busy in ((0, 90.0), (30, 2.0), (30, 1.0), (30, 4.9), (300, 0.0), (30, 0.0), (30, 5.0), (30, None)):
        town.at += after
        made = card(town.at, busy if busy is not None else 0.0)
        if busy is None:
            made = msgspec.structs.replace(made, utilisation=Measure(None, "percent"))
        one = told(town, made)[0].gpus[0]
        found.append((one.idle_s, one.watched_s))
    assert found == [(0, 0), (30, 30), (60, 60), (90, 90), (0, 0), (30, 30), (0, 60), (None, None)]


def test_the_map_gives_nodes_pods_and_shares_and_goes_with_its_region() -> None:
    town = Town({US: {"chat": 1}})
    key = ReplicaKey(ServiceKey(US, "chat", "ml"), "chat-1")
    town.fleet.apply(ReplicaSeen(town.at, replica_fact(key)))
    places = GpuMap(
        rooms=(room(held=(("ml/chat-1", 1),)),
               room("n2", 4, cards=1, held=(("ml/a", 1), ("ml/b", 1), ("ml/c", 1))),
               room("n3", 8, allocatable=7, held=(("ml/x", 1),))),
        exporters=(("dcgm-exporter-x", "n1"),),
    )  # fmt: skip
    town.fleet.apply(GpuMapSeen(town.at, US, places))
    # Nothing tells numbers yet: the map alone is there, with the reason.
    (alone,) = town.fleet.publish(town.at).gpus
    assert (alone.gpus, alone.reason, alone.places) == ((), "not read yet", places)
    (panel,) = told(town, card(town.at, 50, "dcgm-exporter-x"), card(town.at, 50, "n2"), card(town.at, 50, "n3", 5))
    first, sliced, lost = panel.gpus
    assert (first.node, first.pods, first.holders, first.shared) == ("n1", ("ml/chat-1",), ("chat",), 0)
    assert (sliced.pods, sliced.shared) == (("ml/a", "ml/b", "ml/c"), 3)
    # One card of eight is told. Seen failing with "shared": what is lost is no share.
    assert (lost.pods, lost.shared) == ((), 0)
    town.fleet.apply(RegionGone(town.at, US))
    assert town.fleet.publish(town.at).gpus == ()


@pytest.mark.parametrize("has_map", [True, False])
def test_a_region_without_gpus_says_nothing(has_map: bool) -> None:
    town = Town({US: {"chat": 1}})
    panel = GpuPanel(at=None, reason="Prometheus p has no series of dcgm-exporter", source="", region=US)
    town.fleet.apply(GpusSeen(town.at, US, panel))
    assert town.fleet.publish(town.at).gpus == ()
    if has_map:
        town.fleet.apply(GpuMapSeen(town.at, US, GpuMap(rooms=(room(),))))
        assert town.fleet.publish(town.at).gpus[0].reason == panel.reason


def test_a_card_that_this_host_tells_itself_is_there_once() -> None:
    town = Town({US: {"chat": 1}})
    here = msgspec.structs.replace(gpu("host", 0, 90, 60, 70, 500), uuid="GPU-1")
    town.fleet.apply(GpusSeen(town.at, "host", GpuPanel(at=town.at, gpus=(here,), reason="", source="NVML")))
    assert [len(each.gpus) for each in told(town, card(town.at, 90, uuid="GPU-1"))] == [1]
    assert [len(each.gpus) for each in told(town, card(town.at, 90, uuid="GPU-2"))] == [1, 1]


def test_what_is_free_leaves_out_what_nothing_new_can_have() -> None:
    assert (room(capacity=8, allocatable=7, held=(("a/b", 2),)).free, room(capacity=8, allocatable=7).missing) == (5, 1)
    assert room(capacity=8, barred="cordoned").free == 0
    assert room(capacity=1, held=(("a/b", 2),)).free == 0


def test_what_a_server_tells_of_other_clusters_is_left_out_and_said() -> None:
    """Seen failing with everything kept: the same server told each region all GPUs."""
    town = Town({US: {"chat": 1}})
    cards = card(town.at, 50, "n1.ec2.internal"), card(town.at, 50, "n2"), card(town.at, 50, "other-1")
    assert len(told(town, *cards)[0].gpus) == 3
    town.fleet.apply(GpuMapSeen(town.at, US, GpuMap(rooms=(room("n1"), room("n2.ec2.internal")))))
    (panel,) = town.fleet.publish(town.at).gpus
    assert [each.node for each in panel.gpus] == ["n1", "n2.ec2.internal"]
    assert panel.partial == "1 GPU on none of its nodes left out: another cluster's?"
    # Where hosts are called otherwise altogether, nothing is hidden.
    (panel,) = told(town, card(town.at, 50, "10.0.0.7:9400"))
    assert ([each.node for each in panel.gpus], panel.partial) == (["10.0.0.7:9400"], "")


def test_numbers_that_nobody_tells_anew_grow_old() -> None:
    """Seen failing with old numbers shown as those of now, as of a region that is not reached any more."""
    town = Town({US: {"chat": 1}})
    assert told(town, card(town.at, 50))[0].gpus[0].utilisation.state is MeasureState.FRESH
    assert town.fleet.publish(town.at + 80).gpus[0].gpus[0].utilisation.state is MeasureState.FRESH
    old = town.fleet.publish(town.at + 120).gpus[0].gpus[0].utilisation
    assert (old.state, old.value, old.reason) == (MeasureState.STALE, 50, "told 120 s ago")


def test_gpus_that_one_server_tells_two_regions_are_judged_once() -> None:
    """Seen failing with what was told judged as it came: each card had an alert in both regions."""
    town = Town({US: {"chat": 1}, EU: {"chat": 1}})
    for region, node in ((US, "n1"), (EU, "n2")):
        cards = tuple(
            msgspec.structs.replace(card(town.at, 50, each), region=region, uuid=each) for each in ("n1", "n2")
        )
        panel = GpuPanel(at=town.at, gpus=cards, reason="", source="DCGM", region=region)
        town.fleet.apply(GpusSeen(town.at, region, panel))
        town.fleet.apply(GpuMapSeen(town.at, region, GpuMap(rooms=(room(node),))))
    town.run(2)
    rules = {each.rule: each for each in town.fleet.frame.alerts.rules}
    assert rules["UtilisationHigh"].judged == 2
