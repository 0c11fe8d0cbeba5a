"""Replacing replicas on one inherited socket loses no request; without the drain it does."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import models_factory
from tests.serving.servers import (
    Server,
    launch,
    listener,
    tensor,
    wait_ready,
)
from tests.support import PYTHON

ROW = tensor("x", [1, 8], "FP32", [0.5] * 8)
SMALL = models_factory.mlp((8, 16, 4))


@contextlib.contextmanager
def load(port: int, *, keep: int, fresh: int, pause_s: float) -> Iterator[dict[str, Any]]:
    """A load in another process while the body runs; its result is in the dictionary afterwards."""
    program = Path(__file__).with_name("load.py")
    command = [PYTHON, str(program), str(port), "/v2/models/m/infer", str(keep), str(fresh), str(pause_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        result: dict[str, Any] = {}
        try:
            yield result
            out, _ = process.communicate(b"\n", timeout=30)
            result.update(json.loads(out))
        finally:
            process.kill()


def roll(folder: Path, rounds: int, *, drain: bool) -> dict[str, Any]:
    """Replace two replicas on one socket ``rounds`` times, new ones ready before the old are told to end."""
    model = folder / "model.onnx"
    model.write_bytes(SMALL)
    shared = listener()
    env = {} if drain else {"NIMIFY_TEST_NO_DRAIN": "1"}

    def start() -> Server:
        fd = shared.fileno()
        return launch(model, "--listen-fd", str(fd), "--keep-alive-s", "1", env=env, pass_fds=(fd,))

    serving = [wait_ready(server) for server in [start(), start()]]
    everything = list(serving)
    try:
        with load(shared.getsockname()[1], keep=6, fresh=3, pause_s=0.002) as result:
            for _ in range(rounds):
                new = [start(), start()]
                everything += new
                for server in new:
                    wait_ready(server)
                for server in serving:
                    server.process.send_signal(signal.SIGTERM)
                codes = [server.process.wait(20) for server in serving]
                result.setdefault("codes", []).extend(codes)
                serving = new
        result["ended"] = [line["msg"] for server in everything for line in server.events("ended")]
        return result
    finally:
        for server in everything:
            server.process.kill()
            server.process.wait(10)
        shared.close()


def check_nothing_failed(result: dict[str, Any]) -> None:
    """No request failed, and there were enough to tell."""
    assert result["sent"] > 500
    assert result["wrong"] == {}
    assert result["answered"] == result["sent"]
    assert set(result["codes"]) == {0}


def test_rolling_replacements_fail_no_request(tmp_path: Path) -> None:
    check_nothing_failed(roll(tmp_path, 3, drain=True))


def test_sabotage_without_the_drain_requests_fail(tmp_path: Path) -> None:
    result = roll(tmp_path, 3, drain=False)
    with pytest.raises(AssertionError):
        check_nothing_failed(result)
    assert result["wrong"]


def stop_one(folder: Path, *, shared: bool) -> dict[str, Any]:
    """The load's result when one of two replicas is stopped for 2.5 s: on one shared listener, or on one each."""
    model = folder / "model.onnx"
    model.write_bytes(SMALL)
    first = listener(reuse_port=not shared)
    second = first if shared else listener(first.getsockname()[1], reuse_port=True)
    both = [launch(model, "--listen-fd", str(each.fileno()), pass_fds=(each.fileno(),)) for each in (first, second)]
    try:
        for server in both:
            wait_ready(server)
        with load(first.getsockname()[1], keep=0, fresh=8, pause_s=0.002) as result:
            both[0].process.send_signal(signal.SIGSTOP)
            threading.Event().wait(2.5)
            both[0].process.send_signal(signal.SIGCONT)
        return result
    finally:
        for server in both:
            server.process.kill()
            server.process.wait(10)
        first.close()
        second.close()


def check_a_stopped_replica_holds_nobody_up(result: dict[str, Any]) -> None:
    """Only what it had already accepted waits for it: at most one connection of each of 8 clients, mostly 0 to 2.

    With a listener each, all 8 clients come to stand before the stopped replica.
    """
    assert result["wrong"] == {}
    assert result["sent"] > 500
    assert result["slow"] <= 4


def test_a_stopped_replica_takes_no_new_connections(tmp_path: Path) -> None:
    check_a_stopped_replica_holds_nobody_up(stop_one(tmp_path, shared=True))


def test_sabotage_with_a_listener_each_a_stopped_replica_holds_connections(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        check_a_stopped_replica_holds_nobody_up(stop_one(tmp_path, shared=False))
