"""A service of several replicas behind one address, on a real engine with a real model, under load."""

from __future__ import annotations

from typing import Any

import pytest

from nimify_tui.backends.docker.haproxy import FrontSettings
from nimify_tui.base.errors import ClusterError
from nimify_tui.controllers.docker.replicas import Replicas
from tests.docker.behind import Service
from tests.docker.conftest import Runtime
from tests.docker.engine import Engine
from tests.support import wait_for

#: More than the front keeps for another try (64 KiB): such a request is lost with its replica, unless that is drained.
LARGE, SMALL = 6000, 4


def test_two_replicas_have_one_address_and_are_scaled(
    service: Service, engine: Engine, runtime: Runtime
) -> None:
    service.create(runtime.images[0], 2)
    service.answers(runtime.models[0])
    assert service.names() == ["digits-r1-1", "digits-r1-2"]
    assert engine.inspect("digits-r1-1")["HostConfig"]["PortBindings"] in ({}, None)
    service.do(lambda it: it.scale(3))
    assert service.names() == ["digits-r1-1", "digits-r1-2", "digits-r1-3"]
    # The third one alone serves, too: it is really behind the address.
    engine.docker("stop", "-t", "0", "digits-r1-1", "digits-r1-2")
    wait_for(lambda: service.served(), 60, why="the third replica's answers")
    service.answers(runtime.models[0])
    # A front that is started again knows it.
    engine.docker("restart", "-t", "0", "digits-front")
    wait_for(
        lambda: service.served(),
        60,
        why="the front to be back",
        detail=lambda: engine.docker("logs", "digits-front"),
    )
    # They come back with each other's addresses: the front is told.
    engine.docker("start", "digits-r1-2")
    engine.docker("start", "digits-r1-1")
    service.do(lambda it: it.refresh())
    told: list[str] = []

    async def look(it: Replicas) -> None:
        told.extend(each.address for each in await it._front.stats())

    service.do(look)
    addresses = [
        engine.inspect(name)["NetworkSettings"]["Networks"]["nimify-digits"] for name in service.names()
    ]
    assert sorted(told) == sorted(f"{each['IPAddress']}:8000" for each in addresses)
    service.do(lambda it: it.delete())
    assert engine.containers("name=digits") == []
    assert "nimify-digits" not in engine.docker("network", "ls")


def test_a_new_image_is_rolled_out_under_load_without_a_failed_request(
    service: Service, runtime: Runtime
) -> None:
    service.create(runtime.images[0], 2)
    failed = service.under_load(lambda: service.do(lambda it: it.replace(runtime.images[1], 2)), LARGE)
    assert failed == []
    assert service.names() == ["digits-r2-1", "digits-r2-2"]
    service.answers(runtime.models[1])


def test_an_image_that_does_not_get_healthy_goes_back_to_the_old_one(
    service: Service, engine: Engine, runtime: Runtime
) -> None:
    bad = f'FROM {runtime.images[0]}\nENTRYPOINT ["/bin/sh", "-c", "echo no such model; exit 3"]\n'
    engine.docker("build", "--tag", "nimify-test/bad:1", "-", data=bad.encode())
    service.create(runtime.images[0], 2)
    before = {name: engine.inspect(name)["Id"] for name in service.names()}

    def replace() -> None:
        with pytest.raises(
            ClusterError, match=r"digits-r2-1 end.*no such model; all replicas run nimify-test/digits:1"
        ):
            service.do(lambda it: it.replace("nimify-test/bad:1", 2))

    assert service.under_load(replace, SMALL) == []
    assert {name: engine.inspect(name)["Id"] for name in service.names()} == before
    service.answers(runtime.models[0])


def test_one_that_fails_half_way_brings_the_replaced_ones_back(
    service: Service, engine: Engine, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second new replica does not get healthy: the first old one, stopped by then, serves again."""
    service.create(runtime.images[0], 2)
    before = {name: engine.inspect(name)["Id"] for name in service.names()}
    healthy = Replicas._healthy

    async def second_fails(self: Replicas, container: str) -> Any:
        found = await healthy(self, container)
        if found.name == "digits-r2-2":
            raise ClusterError("digits-r2-2 does not pass its health check")
        return found

    monkeypatch.setattr(Replicas, "_healthy", second_fails)

    def replace() -> None:
        with pytest.raises(ClusterError, match="all replicas run nimify-test/digits:1 again"):
            service.do(lambda it: it.replace(runtime.images[1], 2))

    assert service.under_load(replace, LARGE) == []
    assert {name: engine.inspect(name)["Id"] for name in service.names()} == before
    assert all(engine.inspect(name)["State"]["Running"] for name in before)
    service.answers(runtime.models[0])


def test_a_replica_is_taken_away_under_load_without_a_failed_request(
    service: Service, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed at once (stop_s 0) after its drain. Sabotage: without the drain requests fail."""
    service.create(runtime.images[0], 3)
    assert service.under_load(lambda: service.do(lambda it: it.scale(2), stop_s=0), LARGE) == []
    assert service.names() == ["digits-r1-1", "digits-r1-2"]

    async def no_drain(self: Replicas, name: str) -> None:
        self._connection  # noqa: B018  # takes its time as the other does, and drains nothing

    monkeypatch.setattr(Replicas, "_drained", no_drain)
    monkeypatch.setattr(Replicas, "_forget", no_drain)
    failed = service.under_load(lambda: service.do(lambda it: it.scale(1), stop_s=0), LARGE)
    assert failed, "without draining nothing failed: this test would not see a lost request"


def test_a_replica_that_dies_under_load_costs_no_request(
    service: Service, engine: Engine, runtime: Runtime
) -> None:
    """What the front keeps is asked of another replica."""
    service.create(runtime.images[0], 2)

    def kill() -> None:
        for _ in range(2):
            engine.docker("kill", "--signal", "KILL", "digits-r1-2")
            engine.docker("start", "digits-r1-2")
            wait_for(
                lambda: engine.inspect("digits-r1-2")["State"]["Health"]["Status"] == "healthy",
                60,
                why="it to be back",
            )

    assert service.under_load(kill, SMALL) == []


def test_sabotage_a_front_that_tries_nothing_again_loses_requests(
    service: Service, engine: Engine, runtime: Runtime
) -> None:
    service.create(runtime.images[0], 2, FrontSettings(retries=0))

    def kill() -> None:
        engine.docker("kill", "--signal", "KILL", "digits-r1-2")

    assert service.under_load(kill, SMALL)
