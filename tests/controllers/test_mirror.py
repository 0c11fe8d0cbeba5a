"""The mirror: the same updates that feed the fleet make the world of the desk."""

from __future__ import annotations

import asyncio

from nimify_tui.controllers.mirror import Mirror
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.regions import RegionHealth, RegionKind, RegionState
from nimify_tui.domain.updates import (
    RegionGone,
    RegionListed,
    RegionSeen,
    ReplicaGone,
    ReplicaSeen,
    ServiceGone,
    ServiceSeen,
    Tick,
)
from nimify_tui.gate.policy import make_region
from tests.controllers.world import KEY, replica, service


def test_updates_come_and_go() -> None:
    mirror = Mirror()
    region = make_region("local", RegionKind.EMBEDDED, "x")
    one, two = replica(KEY, "a", 3), replica(KEY, "b", 3)
    mirror.apply([Tick(1.0), RegionSeen(1.0, region, RegionHealth(state=RegionState.LIVE, since=1.0))])
    mirror.apply([RegionListed(1.0, "local", (service(),), (one,)), ReplicaSeen(1.0, two)])
    assert mirror.service(KEY) == service()
    assert mirror.replicas(KEY) == [one, two]
    mirror.apply([ReplicaGone(1.0, ReplicaKey(KEY, "a")), ServiceSeen(1.0, service(replicas=9))])
    assert mirror.replicas(KEY) == [two]
    assert mirror.services()[0].desired_replicas == 9
    mirror.apply([ServiceGone(1.0, KEY)])
    assert mirror.service(KEY) is None
    assert mirror.replicas(KEY) == []


def test_a_new_list_and_a_gone_region_forget_what_is_not_in_them() -> None:
    mirror = Mirror()
    other = service(ServiceKey("elsewhere", "x"))
    mirror.apply([ServiceSeen(1.0, service()), ServiceSeen(1.0, other)])
    mirror.apply([RegionListed(2.0, "local", (), ())])
    assert mirror.services() == [other]
    mirror.apply([RegionGone(3.0, "elsewhere")])
    assert mirror.services() == []


def test_rows_from_the_disk_are_not_the_world() -> None:
    mirror = Mirror()
    mirror.apply([RegionListed(1.0, "local", (service(),), (), last_known=True)])
    assert mirror.service(KEY) is None


def test_waiting_ends_with_the_next_update_or_the_time() -> None:
    async def wait() -> None:
        mirror = Mirror()
        await mirror.changed(0.01)
        waiter = asyncio.create_task(mirror.changed(60.0))
        await asyncio.sleep(0)
        mirror.apply([ServiceSeen(1.0, service())])
        await asyncio.wait_for(waiter, 5.0)

    asyncio.run(wait())
