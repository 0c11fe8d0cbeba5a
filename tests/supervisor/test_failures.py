"""Killed, hung, crash-looping and never-ready replicas: seen, told with reason and last words, started again."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

from nimify_tui.domain.changes import ChangeKind
from nimify_tui.domain.embedded import Delete, Restart, SetStopped
from nimify_tui.domain.security import SecurityEvent
from nimify_tui.domain.services import Limits, ReplicaState, ServiceSpec
from tests.supervisor.support import Region, Wire, stopped
from tests.support import Home, alive, wait_until_dead


def test_a_killed_replica_is_told_and_started_again(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=1))
        before = wire.replica(ReplicaState.READY)
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        down = wire.replica(ReplicaState.BACKOFF)
        assert down.reason == "killed by SIGKILL (not by this supervisor)"
        assert (down.exit_signal, down.exit_code, down.exit_seen) == ("SIGKILL", None, True)
        assert "is ready on 127.0.0.1" in down.last_words
        assert down.next_start_at is not None
        assert down.next_start_at > down.since
        again = wire.replica(ReplicaState.READY)
        assert (again.key, again.run, again.restarts) == (before.key, 2, 1)
        assert again.pid != before.pid
        crash = wire.change_of(ChangeKind.CRASH)
        assert crash.replica == "demo-1"
        assert "last words" in crash.evidence
        assert wire.change_of(ChangeKind.RECOVERY, words="demo-1 is ready again after").at > crash.at
        assert [event.category for event in wire.security.values()] == ["crashed"]


def test_a_stopped_replica_is_hung_and_then_replaced(home: Home) -> None:
    with Region(home, "--hung-grace-s", "1.5") as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=1))
        before = wire.replica(ReplicaState.READY)
        assert before.pid is not None
        with stopped(before.pid):
            hung = wire.replica(ReplicaState.HUNG, deadline_s=10)
            assert hung.reason == "stopped by a signal (SIGSTOP), not answering"
            assert hung.pid == before.pid
            assert wire.change_of(ChangeKind.HANG, words="stopped by a signal").replica == "demo-1"
            down = wire.replica(ReplicaState.BACKOFF)
        assert down.since - hung.since >= 1.5
        assert "hung for 1.5 s" in down.reason
        assert down.exit_signal == "SIGKILL"
        assert wire.replica(ReplicaState.READY).run == 2


def test_a_stopped_replica_that_goes_on_is_well_again(home: Home) -> None:
    with Region(home, "--hung-grace-s", "30") as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=1))
        pid = wire.replica(ReplicaState.READY).pid
        assert pid is not None
        with stopped(pid):
            wire.replica(ReplicaState.HUNG, deadline_s=10)
        again = wire.replica(ReplicaState.READY, deadline_s=10)
        assert (again.pid, again.run, again.restarts) == (pid, 1, 0)
        assert "demo-1 is ready again" in wire.change_of(ChangeKind.RECOVERY).text


def test_a_crash_loop_shows_last_words_and_waits_longer_each_time(home: Home) -> None:
    with Region(home, "--backoff-first-s", "0.2") as region, region.wire() as wire:
        assert wire.apply(spec=region.broken_spec(), replicas=1).ok
        waits: dict[int, float] = {}
        while len(waits) < 4:
            wire.take(0.5)
            for each in wire.replicas.values():
                if each.state is ReplicaState.BACKOFF and each.next_start_at is not None:
                    waits[each.restarts] = each.next_start_at - each.since
        assert sorted(waits) == [1, 2, 3, 4]
        for number, wait_s in waits.items():  # half jitter: from half the ceiling to the ceiling
            ceiling_s = 0.2 * 2 ** (number - 1)
            assert ceiling_s / 2 - 0.05 <= wait_s <= ceiling_s + 0.05
        replica = wire.replica(ReplicaState.BACKOFF)
        assert replica.exit_code == 1
        assert "cannot be loaded" in replica.last_words
        assert wire.services["demo"].failure
        [event] = wire.security.values()
        assert event.count >= 3


def test_a_replica_that_is_never_ready_is_ended_and_tried_again(home: Home) -> None:
    with Region(home, "--start-deadline-s", "0.3", "--backoff-first-s", "0.1") as region, region.wire() as wire:
        assert wire.apply(spec=region.spec(), replicas=1).ok  # the runtime needs longer to start
        pid = wire.until(lambda: next((each.pid for each in wire.replicas.values() if each.pid), None))
        with stopped(pid):
            down = wire.replica(ReplicaState.BACKOFF)
            assert down.reason == "not ready within 0.3 s"
        assert not alive(pid)
        assert "not ready within 0.3 s" in wire.until(lambda: wire.services["demo"].failure)


def test_out_of_memory_is_said_when_the_limit_did_it(home: Home) -> None:
    limits = Limits(memory_bytes=256 * 1024**2)
    with Region(home) as region, region.wire() as wire:
        assert wire.apply(spec=region.spec(limits=limits), replicas=1).ok
        down = wire.replica(ReplicaState.BACKOFF)
        assert down.exit_seen
        assert down.last_words


def test_stop_start_and_delete(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:
        service = wire.settled(wire.apply(spec=region.spec(), replicas=2))
        pids = [each.pid for each in wire.replicas.values() if each.pid]
        gone = wire.settled(wire.change(SetStopped, stopped=True))
        assert (gone.stopped, gone.endpoint, wire.replicas) == (True, "", {})
        assert not any(alive(pid) for pid in pids)
        refused = wire.change(Restart)
        assert "is stopped" in refused.error
        back = wire.settled(wire.change(SetStopped, stopped=False))
        assert back.endpoint == service.endpoint, "the port is remembered"
        assert len(wire.replicas) == 2
        assert wire.change(Delete).ok
        wire.until(lambda: not wire.services and not wire.replicas, why="the end of the service")
        assert not (region.state_dir / "demo").exists()
        kept = region.state_dir / "models" / f"{service.model_sha256}.onnx"
        assert kept.exists(), "so that it can be made again"
        assert wire.change_of(ChangeKind.DELETE, words="deleted by ops@test").by == "ops@test"


def test_a_draining_replica_that_is_stopped_does_not_hold_things_up(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(limits=Limits(request_timeout_s=30.0)), replicas=1))
        pid = wire.replica(ReplicaState.READY).pid
        assert pid is not None
        with stopped(pid):
            assert wire.change(Delete).ok
            wire.until(lambda: not wire.services, 10, why="the end of the service")
        wait_until_dead(pid)


def test_models_that_cannot_be_taken_are_refused_in_words(home: Home) -> None:
    with Region(home, "--max-model-bytes", "5000") as region, region.wire() as wire:
        big = region.models / "big.onnx"
        big.write_bytes(b"\0" * 6000)
        fifo = region.models / "fifo.onnx"
        os.mkfifo(fifo)
        changed = ServiceSpec(model_path=region.spec().model_path, model_sha256="0" * 64)
        for spec, words, category in [
            (ServiceSpec(model_path=str(big)), "has 6000 bytes; the limit is 5000", "model"),
            (ServiceSpec(model_path=str(fifo)), "is not a plain file", "model"),
            (ServiceSpec(model_path=str(region.models)), "fifo.onnx is no plain file", "model"),  # a folder of models
            (ServiceSpec(model_path="/nowhere/m.onnx"), "cannot be read: No such file", "model"),
            (ServiceSpec(model_path="m.onnx"), "is not absolute", "validation"),
            (changed, "has changed since the plan was made", "validation"),
        ]:
            reply = wire.apply(spec=spec)
            assert not reply.ok
            assert words in reply.error
            assert reply.category == category
        assert not wire.services
        assert not list((region.state_dir / "models").glob(".taking*"))


def test_names_ports_and_numbers_are_checked(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("Bad_Name", {}, "is not a valid name"),
            ("models", {}, "cannot be called"),
            ("many", {"replicas": 1000}, "1000 replicas are not possible"),
            ("port", {"port": 70000}, "70000 is no port"),
            ("limits", {"spec": region.spec(limits=Limits(max_concurrency=0))}, "max_concurrency is 0"),
        ]
        for name, wanted, words in cases:
            reply = wire.apply(name, **({"spec": region.spec(), "replicas": 1} | wanted))
            assert words in reply.error, name
        ours = wire.settled(wire.apply(spec=region.spec(), replicas=0))
        port = int(ours.endpoint.rpartition(":")[2])
        assert f"port {port} belongs to service demo" in wire.apply("other", spec=region.spec(), port=port).error
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert f"port {port} is used by another process" in wire.apply("other", spec=region.spec(), port=port).error


def test_security_lines_of_a_replica_become_events(home: Home) -> None:
    with Region(home) as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=1))
        [path] = wire.log_paths("demo-1")
        line = {"event": "security", "category": "malformed", "action": "refused", "client": "10.0.0.9"}

        def found() -> list[SecurityEvent]:
            return [event for event in wire.security.values() if event.category == "malformed"]

        for number in itertools.count(1):
            with open(path, "ab") as log:
                log.write(json.dumps({**line, "msg": "no JSON"}).encode() + b"\n")
            wire.take(0.3)
            if any(event.count >= 3 for event in found()):
                break
            assert number < 40, "repeats are folded into a count"
        [event] = found()
        assert (event.client, event.action, event.text) == ("10.0.0.9", "refused", "no JSON")


def test_logs_are_bounded_and_old_runs_are_removed(home: Home) -> None:
    with Region(home, "--log-bytes", "20000", "--backoff-first-s", "0.05") as region, region.wire() as wire:
        wire.settled(wire.apply(spec=region.spec(), replicas=1))
        [path] = [Path(each) for each in wire.log_paths("demo-1")]
        with open(path, "ab") as log:
            log.write(b"x" * 99 + b"\n" + b"y" * 30_000 + b"\n")
        wire.until(lambda: path.stat().st_size < 1000, why="the cut")
        assert path.with_name(path.name + ".1").stat().st_size > 30_000
        assert wire.log_paths("demo-1") == (f"{path}.1", str(path))
        for run in range(1, 5):
            pid = _ready_in(wire, run)
            os.kill(pid, signal.SIGKILL)
        wire.until(lambda: wire.replicas["demo-1"].run == 5 and wire.replicas["demo-1"].pid is not None)
        left = sorted(each.name for each in path.parent.glob("demo-1.*.log"))
        assert left == ["demo-1.3.log", "demo-1.4.log", "demo-1.5.log"]
        assert wire.log_paths("demo-1", 4) == (str(path.with_name("demo-1.4.log")),)


def _ready_in(wire: Wire, run: int) -> int:
    wire.until(lambda: wire.replicas["demo-1"].run == run, why=f"run {run}")
    pid = wire.replica(ReplicaState.READY).pid
    assert pid is not None
    return pid
