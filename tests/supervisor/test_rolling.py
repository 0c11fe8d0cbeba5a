"""Restart, roll-out and scale under load: no request is lost, and without the drain one is."""

from __future__ import annotations

import pytest

from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.embedded import Restart, Rollback
from nimify_tui.domain.services import ReplicaState
from tests.supervisor.support import Load, Region, Wire
from tests.support import Home


def loaded_restart(region: Region, wire: Wire) -> None:
    """The check: a restart of two replicas under load fails no request."""
    service = wire.settled(wire.apply(spec=region.spec(), replicas=2))
    before = set(wire.replicas)
    with Load(service.endpoint) as load:
        wire.settled(wire.change(Restart))
        counts = load.stop()
    assert not before & set(wire.replicas)
    assert len(wire.replicas) == 2
    assert counts["kept"] > 50
    assert counts["fresh"] > 50
    assert counts["failures"] == []


def test_restart_under_load_fails_no_request(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:
        loaded_restart(region, wire)
        drained = [name for name, state in wire.states if state is ReplicaState.DRAINING]
        assert set(drained) == {"demo-1", "demo-2"}


def test_sabotage_without_the_drain_the_same_restart_loses_requests(home: Home) -> None:
    with (
        Region(home, env={"NIMIFY_TEST_NO_DRAIN": "1"}) as region,
        region.wire() as wire,
        pytest.raises(AssertionError, match=r"kept: |fresh: "),
    ):
        loaded_restart(region, wire)


def test_a_new_one_is_ready_before_an_old_one_drains(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=2))
        del wire.states[:]
        wire.settled(wire.change(Restart))
        key = [(name, state) for name, state in wire.states if state in (ReplicaState.READY, ReplicaState.DRAINING)]
        order = [entry for number, entry in enumerate(key) if entry not in key[:number]]
        assert [state for _, state in order] == [
            ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.READY, ReplicaState.DRAINING,
        ]  # fmt: skip


def test_new_revision_scale_and_roll_back(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:
        first = wire.settled(wire.apply(spec=region.spec(2.0), replicas=1))
        second = wire.settled(wire.apply(spec=region.spec(3.0)))
        assert second.revision == 2
        assert second.endpoint == first.endpoint
        assert second.model_sha256 != first.model_sha256
        told = wire.change_of(ChangeKind.ROLLOUT, words="revision 1 -> 2 by ops@test: model sha256")
        assert told.revision == 2
        third = wire.settled(wire.change(Rollback, revision=1))
        assert third.revision == 3
        assert third.model_sha256 == first.model_sha256
        assert [revision.number for revision in third.revisions] == [1, 2, 3]
        assert {replica.revision for replica in wire.replicas.values()} == {3}
        wire.settled(wire.apply(replicas=3))
        assert len(wire.replicas) == 3
        wire.settled(wire.apply(replicas=1))
        assert len(wire.replicas) == 1
        assert wire.change_of(ChangeKind.SCALE, words="replicas 3 -> 1 by ops@test").by == "ops@test"
        refused = wire.change(Rollback, revision=9)
        assert not refused.ok
        assert "no revision 9" in refused.error


def test_a_revision_that_never_becomes_ready_stops_there(home: Home) -> None:
    with Region(home, "--backoff-first-s", "0.1") as region, region.wire() as wire:
        first = wire.settled(wire.apply(spec=region.spec(), replicas=2))
        with Load(first.endpoint, kept=2, fresh=2) as load:
            reply = wire.apply(spec=region.broken_spec())
            assert reply.ok
            failed = wire.until(lambda: wire.services["demo"].failure, why="a failure")
            assert load.stop()["failures"] == []
        assert "revision 2 does not become ready: exited with code 1" in failed
        assert "revision 1 goes on serving" in failed
        service = wire.services["demo"]
        assert service.observed_generation < service.generation == reply.generation
        ready = [each for each in wire.replicas.values() if each.state is ReplicaState.READY]
        assert [each.revision for each in ready] == [1, 1]
        assert wire.change_of(ChangeKind.ROLLOUT, words="stopped at 0 of 2 replaced").revision == 2
        # A newer operation supersedes it.
        back = wire.settled(wire.change(Rollback, revision=1))
        assert (back.revision, back.failure) == (3, "")
        assert {each.revision for each in wire.replicas.values()} == {3}


def test_a_change_planned_for_another_state_is_refused(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=1))
        stale = wire.services["demo"]
        wire.settled(wire.apply(replicas=2))
        wire.services["demo"] = stale
        refused = wire.change(Restart)
        assert (refused.ok, refused.category) == (False, "validation")
        assert "changed by ops@test since the plan was made" in refused.error
        again = wire.apply("demo", spec=region.spec(), replicas=1)
        assert not again.ok
