"""A cluster as a region: complete before it is LIVE, never blank when it is lost, and only differences are told."""

from __future__ import annotations

import asyncio
import email.utils

import pytest

from nimify_tui.backends.kubernetes.errors import Forbidden, ServerTrouble, Unreachable
from nimify_tui.base.errors import ConfigurationError
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ServiceState
from nimify_tui.domain.updates import (
    Changed,
    RegionListed,
    RegionSeen,
    ReplicaGone,
    ReplicaSeen,
    ServiceGone,
    ServiceSeen,
)
from nimify_tui.sources.kubernetes.table import KINDS
from tests.sources_kubernetes.stand import Stand
from tests.sources_kubernetes.support import NOW, sample


def test_it_is_live_with_everything_at_once() -> None:
    async def run() -> None:
        stand = Stand()
        async with stand.running():
            await stand.until_state(RegionState.LIVE)
        (listed,) = stand.of(RegionListed)
        assert {each.key.name for each in listed.services} >= {"llama", "triton", "redis", "dcgm"}
        assert len(listed.replicas) == 15
        early = stand.updates.index(listed)
        assert {type(each) for each in stand.updates[:early]} <= {RegionSeen, ServiceSeen}, "no replica before all"
        rows = stand.fleet.publish(stand.clock.now()).rows
        assert {name: row.state for name, row in rows.items()}["ml/triton"] is ServiceState.OK
        assert rows["ml/vllm-oom"].reason.endswith("restarts) (…vgllb)")
        assert "out of memory, killed at its limit of 2Gi" in rows["ml/vllm-oom"].reason
        assert stand.wire.closed == 1

    asyncio.run(run())


def test_names_are_rows_while_pods_are_still_read() -> None:
    """They say that they are not known yet. Sabotage seen failing: waiting for the pods."""

    async def run() -> None:
        stand = Stand()
        stand.wire.held = {"/api/v1/pods"}
        async with stand.running():
            await stand.until(lambda: stand.of(ServiceSeen))
            rows = stand.fleet.publish(stand.clock.now()).rows
            assert {row.state for row in rows.values()} == {ServiceState.UNKNOWN}
            assert rows["ml/triton"].desired == 3
            assert rows["ml/triton"].ready is None
            assert not any(each.service.failure or each.service.progress for each in stand.of(ServiceSeen))
            assert stand.health is not None
            assert stand.health.state is RegionState.CONNECTING
        assert stand.of(RegionListed) == []

    asyncio.run(run())


def test_only_differences_are_told() -> None:
    """Sabotage seen failing: telling every replica of a service whose one pod changed."""

    async def run() -> None:
        stand = Stand()
        async with stand.running():
            await stand.until_state(RegionState.LIVE)
            await stand.until(
                lambda: len([each for each in stand.wire.asked if each.endswith("watch")]) == len(KINDS)
            )
            pod = sample("pods", "triton")
            pod["metadata"]["resourceVersion"] = "99999999"
            stand.wire.say("pods", "MODIFIED", pod)
            stand.wire.say("pods", "DELETED", pod)
            await stand.until(lambda: stand.of(ReplicaGone))
        assert [each.key.replica for each in stand.of(ReplicaGone)] == [pod["metadata"]["name"]]
        assert stand.of(ReplicaSeen) == []
        listed = stand.updates.index(stand.of(RegionListed)[0])
        assert [each for each in stand.updates[listed:] if isinstance(each, ServiceSeen)] == []

    asyncio.run(run())


def test_a_pod_of_the_same_name_is_another_replica() -> None:
    async def run() -> None:
        stand = Stand()
        async with stand.running():
            await stand.until_state(RegionState.LIVE)
            await stand.until(
                lambda: len([each for each in stand.wire.asked if each.endswith("watch")]) == len(KINDS)
            )
            pod = sample("pods", "redis-0")
            stand.wire.say("pods", "DELETED", pod)
            pod["metadata"]["uid"] = "next"
            stand.wire.say("pods", "ADDED", pod)
            await stand.until(lambda: stand.of(ReplicaSeen))
        told = [type(each) for each in stand.updates if isinstance(each, ReplicaGone | ReplicaSeen)]
        assert told == [ReplicaGone, ReplicaSeen]

    asyncio.run(run())


def test_a_deleted_workload_leaves_and_is_told() -> None:
    async def run() -> None:
        stand = Stand()
        async with stand.running():
            await stand.until_state(RegionState.LIVE)
            await stand.until(
                lambda: len([each for each in stand.wire.asked if each.endswith("watch")]) == len(KINDS)
            )
            stand.wire.say("deployments", "DELETED", sample("deployments", "llama"))
            await stand.until(lambda: stand.of(ServiceGone))
        assert [each.key.name for each in stand.of(ServiceGone)] == ["llama"]
        changes = [each.change for each in stand.of(Changed) if each.change.kind is ChangeKind.DELETE]
        assert [each.text for each in changes] == ["Deployment deleted"]

    asyncio.run(run())


def test_a_kind_that_may_not_be_read_is_no_failure_of_the_region() -> None:
    """Sabotage seen failing: waiting for every kind before the region is LIVE."""

    async def run() -> None:
        stand = Stand()
        stand.wire.refuse = {"/api/v1/nodes": Forbidden("no"), "/api/v1/events": ServerTrouble("status 500")}
        async with stand.running():
            health = await stand.until_state(RegionState.STALE)
            assert health.cause == "events may be old: status 500"
            assert stand.of(RegionListed) != []
            stand.wire.refuse.pop("/api/v1/events")
            health = await stand.until_state(RegionState.LIVE)
        assert health.cause == "not seen: nodes (forbidden)"

    asyncio.run(run())


def test_where_nothing_may_be_read_it_is_a_matter_of_rights() -> None:
    async def run() -> None:
        stand = Stand()
        stand.wire.refuse = {kind.path(): Forbidden("no") for kind in KINDS}
        async with stand.running():
            health = await stand.until_state(RegionState.AUTH)
        assert "pods (forbidden)" in health.cause

    asyncio.run(run())


def test_lost_it_keeps_its_rows_and_is_asked_for_nothing_but_a_sign_of_life() -> None:
    """Sabotage seen failing: reflectors that go on while the region is DOWN; a list after it is back."""

    async def run() -> None:
        stand = Stand()
        async with stand.running():
            await stand.until_state(RegionState.LIVE)
            await stand.until(
                lambda: len([each for each in stand.wire.asked if each.endswith("watch")]) == len(KINDS)
            )
            stand.wire.refuse = {"*": Unreachable("connection refused")}
            health = await stand.until_state(RegionState.DOWN)
            assert health.cause == "no contact from this host (connection refused)"
            assert health.next_try_at is not None
            stand.wire.asked.clear()
            asked = stand.wire.asked
            await stand.until(lambda: len(asked) > 5 or None)
            assert set(asked) == {"/livez"}
            frame = stand.fleet.publish(stand.clock.now())
            assert frame.rows["ml/triton"].state is ServiceState.UNKNOWN, "never that it is down"
            stand.wire.refuse = {}
            await stand.until_state(RegionState.LIVE)
            await stand.until(lambda: len([each for each in asked if each.endswith("watch")]) == len(KINDS))
        assert [each for each in asked if not each.endswith("watch") and each not in ("/livez", "/apis")] == []
        assert len(stand.of(RegionListed)) == 1

    asyncio.run(run())


def test_a_bad_kubeconfig_is_a_state_and_is_read_again() -> None:
    async def run() -> None:
        stand = Stand()
        stand.connect_errors = [ConfigurationError("the kubeconfig has no context 'k'", "there are: a")]
        async with stand.running():
            health = await stand.until_state(RegionState.DOWN)
            assert "no context 'k'" in health.cause
            assert health.remedy == "there are: a"
            await stand.until_state(RegionState.LIVE)

    asyncio.run(run())


def test_it_is_down_at_the_third_heartbeat_and_within_twenty_seconds() -> None:
    """Sabotage seen failing: a fourth heartbeat that is waited for."""

    async def run() -> None:
        stand = Stand()
        async with stand.running():
            await stand.until_state(RegionState.LIVE)
            await stand.until(lambda: len([each for each in stand.wire.asked if each.endswith("watch")]) == len(KINDS))
            lost_at = stand.clock.now()
            stand.wire.asked.clear()
            stand.wire.refuse = {"/livez": Unreachable("no answer")}
            health = await stand.until_state(RegionState.DOWN)
            assert stand.wire.asked.count("/livez") == 3
            assert health.since - lost_at <= 20.0
            told = [each.health.state for each in stand.of(RegionSeen)]
            assert RegionState.STALE in told, "one or two that are missed are said, too"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("date", "said"),
    [
        (NOW + 300.0, "its clock is 5 min ahead of this host's, ages are wrong by that"),
        (NOW - 60.0, "its clock is 60 s behind this host's, ages are wrong by that"),
        (NOW + 5.0, ""),
    ],
)
def test_a_clock_that_differs_is_said(date: float, said: str) -> None:
    async def run() -> None:
        stand = Stand()
        stand.wire.headers = {"Date": email.utils.formatdate(date, usegmt=True)}
        async with stand.running():
            health = await stand.until_state(RegionState.LIVE)
        assert health.cause == said
        assert health.remedy == ("set both clocks by NTP" if said else "")

    asyncio.run(run())


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Nov 2026 11:46:00 GMT", "\x1b[2J"])
def test_a_time_that_is_none_says_nothing(date: str) -> None:
    async def run() -> None:
        stand = Stand()
        stand.wire.headers = {"Date": date}
        async with stand.running():
            assert (await stand.until_state(RegionState.LIVE)).cause == ""

    asyncio.run(run())
