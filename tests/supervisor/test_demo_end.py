"""A demo's supervisor ends with its guardian and takes everything along, whatever state it is in."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from nimify_tui.domain.services import ReplicaState
from tests.supervisor.support import Region
from tests.support import PYTHON, REPO, Home, processes_naming, run_command, wait_for, wait_until_dead


@pytest.fixture
def guardian() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose end ends the demo."""
    made = subprocess.Popen(["sleep", "120"])
    yield made
    made.kill()
    made.wait()


def test_the_guardians_end_ends_everything_a_stopped_replica_too(
    home: Home, guardian: subprocess.Popen[bytes]
) -> None:
    with Region(home, "--demo", "--guardian-pid", str(guardian.pid)) as region:
        assert region.process is not None
        with region.wire() as wire:
            wire.settled(wire.apply(spec=region.spec(), replicas=2))
            pids = [each.pid for each in wire.replicas.values() if each.pid]
            os.kill(pids[0], signal.SIGSTOP)
            wire.replica(ReplicaState.HUNG)
        guardian.kill()
        assert region.process.wait(15) == 0
        for pid in pids:
            wait_until_dead(pid, 8)
        assert not region.state_dir.exists()
        assert not region.note.exists()
        assert not region.socket.exists()
        assert list((home.runtime / "nimify-tui" / "s").iterdir()) == []
        assert wait_for(lambda: processes_naming(str(home.root)) == [], 8)


def test_the_supervisors_own_violent_end_takes_its_replicas_along(
    home: Home, guardian: subprocess.Popen[bytes]
) -> None:
    with Region(home, "--demo", "--guardian-pid", str(guardian.pid)) as region:
        with region.wire() as wire:
            wire.settled(wire.apply(spec=region.spec(), replicas=2))
            pids = [each.pid for each in wire.replicas.values() if each.pid]
        os.kill(pids[0], signal.SIGSTOP)
        region.kill()
        for pid in pids:
            wait_until_dead(pid, 8)


def test_without_demo_the_same_end_leaves_them(home: Home) -> None:
    """The counterpart: outside a demo replicas outlive their supervisor."""
    with Region(home) as region:
        with region.wire() as wire:
            wire.settled(wire.apply(spec=region.spec(), replicas=1))
            pid = wire.replica(ReplicaState.READY).pid
        region.kill()
        assert pid is not None
        with pytest.raises(AssertionError, match="end of process"):
            wait_until_dead(pid, 1)


def test_sigterm_ends_a_demo_with_its_replicas(home: Home, guardian: subprocess.Popen[bytes]) -> None:
    with Region(home, "--demo", "--guardian-pid", str(guardian.pid)) as region:
        assert region.process is not None
        with region.wire() as wire:
            wire.settled(wire.apply(spec=region.spec(), replicas=1))
            pid = wire.replica(ReplicaState.READY).pid
        region.process.terminate()
        assert region.process.wait(15) == 0
        assert pid is not None
        wait_until_dead(pid, 8)
        assert not region.state_dir.exists()


def test_a_guardian_that_is_gone_already_lets_nothing_start(home: Home) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    flags = ["--demo", "--guardian-pid", str(gone.pid), "--state-dir", str(home.state / "d"), "--region", "test"]
    done = run_command([PYTHON, "-m", "nimify_tui.supervisor", *flags], cwd=REPO)
    assert done.returncode == 1
    assert f"the guardian {gone.pid} is gone already" in done.stderr
