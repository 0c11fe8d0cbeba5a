"""Who computes on a GPU: this host's services by their processes, and nobody of another host."""

from __future__ import annotations

import msgspec
import pytest

from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import RegionHealth, RegionKind, RegionState
from nimify_tui.domain.updates import GpusSeen, RegionSeen, ReplicaSeen
from nimify_tui.fleet.snapshot import snapshot
from tests.fleet.town import Town, region_fact, replica_fact
from tests.ui.pieces import gpu


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (RegionKind.EMBEDDED, ("chat ×2", "embed", "1 other process")),
        # Sabotage seen failing: taking the process numbers of every region for those of this host.
        (RegionKind.DOCKER, ("4 other processes",)),
    ],
)
def test_the_services_of_this_host_are_named(kind: RegionKind, words: tuple[str, ...]) -> None:
    town = Town({"here": {"chat": 2, "embed": 1}})
    health = RegionHealth(state=RegionState.LIVE, since=town.at, last_contact_at=town.at)
    town.fleet.apply(RegionSeen(town.at, msgspec.structs.replace(region_fact("here"), kind=kind), health))
    for name, number, pid in (("chat", 1, 11), ("chat", 2, 12), ("embed", 1, 13)):
        key = ReplicaKey(ServiceKey("here", name), f"{name}-{number}")
        town.fleet.apply(ReplicaSeen(town.at, replica_fact(key, pid=pid)))
    card = msgspec.structs.replace(gpu("host", 0, 90, 60, 70, 500), processes=(11, 12, 13, 99))
    town.fleet.apply(GpusSeen(town.at, "host", GpuPanel(at=town.at, gpus=(card,), reason="", source="NVML")))
    frame = town.fleet.publish(town.at)
    assert frame.gpus[0].gpus[0].holders == words
    assert snapshot(town.fleet, town.at)["gpus"][0]["gpus"][0]["held_by"] == list(words)
