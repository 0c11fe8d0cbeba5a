"""The supervisor dies, its replicas do not; the next one adopts them and never guesses what it did not see."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from nimify_tui.base.process import boot_id
from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.embedded import Restart
from nimify_tui.domain.services import ReplicaState
from tests.supervisor.support import Load, Region, Wire, stopped
from tests.support import PYTHON, REPO, Home, alive, run_command, wait_until_dead


def pids_of(wire: Wire) -> dict[str, int]:
    """Names and pids of the replicas."""
    return {name: replica.pid for name, replica in wire.replicas.items() if replica.pid is not None}


def test_replicas_outlive_a_killed_supervisor_and_are_adopted_with_their_socket(home: Home) -> None:
    with Region(home) as region:
        with region.wire() as wire:
            service = wire.settled(wire.apply(spec=region.spec(), replicas=2))
            before = pids_of(wire)
        with Load(service.endpoint) as load:
            region.kill()
            assert all(alive(pid) for pid in before.values())
            region.start()
            with region.wire() as wire:
                assert pids_of(wire) == before
                assert {each.state for each in wire.replicas.values()} == {ReplicaState.READY}
                assert wire.changes[0].kind is ChangeKind.CREATE, "what changed before is still known"
                # It holds the socket again: without it no new replica could take the old ones' place.
                wire.settled(wire.change(Restart))
                assert not set(pids_of(wire)) & set(before)
                assert wire.services["demo"].endpoint == service.endpoint
            assert load.stop()["failures"] == []
        for pid in before.values():
            wait_until_dead(pid)


def test_the_end_of_an_adopted_replica_has_no_guessed_exit_code(home: Home) -> None:
    with Region(home) as region:
        with region.wire() as wire:
            wire.settled(wire.apply(spec=region.spec(), replicas=1))
            pid = wire.replica(ReplicaState.READY).pid
        assert pid is not None
        region.kill()
        region.start()
        with region.wire() as wire:
            os.kill(pid, signal.SIGKILL)
            down = wire.replica(ReplicaState.BACKOFF)
            assert (down.exit_seen, down.exit_code, down.exit_signal) == (False, None, None)
            assert down.reason == "ended; exit code unknown (an earlier supervisor had started it)"
            assert wire.replica(ReplicaState.READY).run == 2


def test_an_end_that_nobody_watched_is_told_as_that(home: Home) -> None:
    with Region(home) as region:
        with region.wire() as wire:
            wire.settled(wire.apply(spec=region.spec(), replicas=1))
            pid = wire.replica(ReplicaState.READY).pid
        assert pid is not None
        region.kill()
        os.kill(pid, signal.SIGKILL)
        wait_until_dead(pid)
        region.start()
        with region.wire() as wire:
            crash = wire.change_of(ChangeKind.CRASH)
            assert crash.text == "demo-1 ended while nobody watched; exit code unknown"
            again = wire.replica(ReplicaState.READY)
            assert (again.exit_seen, again.exit_code, again.exit_signal) == (False, None, None)
            assert (again.run, again.restarts) == (2, 1)


def test_an_end_that_was_watched_is_told_exactly(home: Home) -> None:
    """The counterpart: the same end under a supervisor's eyes has its signal."""
    with Region(home) as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=1))
        pid = wire.replica(ReplicaState.READY).pid
        assert pid is not None
        os.kill(pid, signal.SIGSEGV)
        down = wire.replica(ReplicaState.BACKOFF)
        assert (down.exit_seen, down.exit_signal) == (True, "SIGSEGV")


@pytest.mark.parametrize("spoilt", ["pid", "start_ticks", "boot_id"])
def test_a_process_that_only_has_the_same_pid_is_never_adopted_or_ended(home: Home, spoilt: str) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        with Region(home) as region:
            with region.wire() as wire:
                wire.settled(wire.apply(spec=region.spec(), replicas=1))
                pid = wire.replica(ReplicaState.READY).pid
            assert pid is not None
            region.kill()
            os.kill(pid, signal.SIGKILL)
            wait_until_dead(pid)
            note = region.state_dir / "demo" / "instances" / "demo-1.json"
            record = json.loads(note.read_bytes())
            record["pid"] = stranger.pid
            if spoilt == "boot_id":
                record |= {"boot_id": "another boot", "start_ticks": _ticks(stranger.pid)}
            elif spoilt == "start_ticks":
                record["start_ticks"] = _ticks(stranger.pid) + 1
            note.write_text(json.dumps(record), encoding="utf-8")
            region.start()
            with region.wire() as wire:
                assert wire.replica(ReplicaState.READY).pid != stranger.pid
                words = "went down" if spoilt == "boot_id" else "while nobody watched"
                assert words in wire.change_of(ChangeKind.CRASH).text
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def _ticks(pid: int) -> int:
    from nimify_tui.base.process import start_ticks

    found = start_ticks(pid)
    assert found is not None
    return found


def test_a_replica_whose_pid_was_not_written_down_is_found(home: Home) -> None:
    """Killed between starting a process and noting its pid, the supervisor leaves only the note made before."""
    with Region(home) as region:
        with region.wire() as wire:
            wire.settled(wire.apply(spec=region.spec(), replicas=1))
            pid = wire.replica(ReplicaState.READY).pid
        region.kill()
        note = region.state_dir / "demo" / "instances" / "demo-1.json"
        record = json.loads(note.read_bytes())
        assert record["boot_id"] == boot_id()
        note.write_text(json.dumps(record | {"pid": None, "start_ticks": 0}), encoding="utf-8")
        region.start()
        with region.wire() as wire:
            assert wire.replica(ReplicaState.READY).pid == pid


def test_the_socket_of_stopped_replicas_is_got_back_too(home: Home) -> None:
    """No replica can answer on its control socket: it is taken from the process (pidfd_getfd)."""
    with Region(home, "--hung-grace-s", "60") as region:
        with region.wire() as wire:
            service = wire.settled(wire.apply(spec=region.spec(), replicas=1))
            pid = wire.replica(ReplicaState.READY).pid
        assert pid is not None
        region.kill()
        with stopped(pid):
            region.start()
            with region.wire() as wire:
                assert wire.replica(ReplicaState.HUNG).pid == pid
                wire.settled(wire.change(Restart))
                assert wire.services["demo"].endpoint == service.endpoint
                assert wire.replica(ReplicaState.READY).pid != pid
            with Load(service.endpoint, kept=1, fresh=1) as load:
                assert load.stop()["failures"] == []


def test_a_roll_out_goes_on_under_the_next_supervisor(home: Home) -> None:
    with Region(home) as region:
        with region.wire() as wire:
            wire.settled(wire.apply(spec=region.spec(2.0), replicas=2))
            reply = wire.apply(spec=region.spec(3.0))
            assert reply.ok
        region.kill()
        region.start()
        with region.wire() as wire:
            assert wire.settled(reply).revision == 2
            assert {each.revision for each in wire.replicas.values()} == {2}
            assert len(wire.replicas) == 2


def test_a_second_supervisor_refuses_and_says_who_keeps_the_region(home: Home) -> None:
    with Region(home) as region:
        command = [PYTHON, "-m", "nimify_tui.supervisor", "--state-dir", str(region.state_dir), "--region", "test"]
        done = run_command(command, env=region.env, cwd=REPO, deadline_s=10)
        assert done.returncode == 75
        assert f"test is supervised already: pid {region.pid}, started by" in done.stderr
        with region.wire() as wire:
            assert wire.hello.keeper_pid == region.pid
            assert wire.hello.keeper.startswith(f"pid {region.pid}, started by ")


def test_sigterm_leaves_the_replicas_and_shutdown_can_take_them(home: Home) -> None:
    with Region(home) as region:
        with region.wire() as wire:
            wire.settled(wire.apply(spec=region.spec(), replicas=1))
            pid = wire.replica(ReplicaState.READY).pid
        assert pid is not None
        assert region.process is not None
        region.process.terminate()
        assert region.process.wait(15) == 0
        assert alive(pid)
        assert not region.socket.exists()
        region.start()
        with region.wire() as wire:
            assert wire.replica(ReplicaState.READY).pid == pid
            wire.shutdown(replicas=True)
        assert region.process.wait(10) == 0
        assert not alive(pid)


def test_an_idle_supervisor_ends_itself(home: Home) -> None:
    with Region(home, "--idle-exit-s", "0.5") as region:
        assert region.process is not None
        with region.wire() as wire:
            wire.until(lambda: wire.beats >= 2)
            assert region.process.poll() is None, "somebody looks"
        assert region.process.wait(15) == 0
