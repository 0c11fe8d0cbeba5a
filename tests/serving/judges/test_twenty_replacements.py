"""Twenty rolling replacements under load from another process: no request fails; without the drain some do."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import models_factory
from tests.serving.servers import Server, launch, listener, wait_ready
from tests.serving.test_drain import load

ROUNDS = 20
#: Without the drain each replacement breaks what runs; a few are enough to see it.
ROUNDS_OF_SABOTAGE = 5


@contextmanager
def fleet(folder: Path, env: dict[str, str]) -> Iterator[tuple[int, Any]]:
    """(port, start): one shared listener, and what starts a replica on it; all of them end afterwards."""
    model = folder / "model.onnx"
    model.write_bytes(models_factory.mlp((8, 16, 4)))
    shared = listener()
    started: list[Server] = []

    def start() -> Server:
        fd = shared.fileno()
        started.append(
            launch(model, "--listen-fd", str(fd), "--keep-alive-s", "0.5", env=env, pass_fds=(fd,))
        )
        return started[-1]

    try:
        yield shared.getsockname()[1], start
    finally:
        for server in started:
            server.process.kill()
            server.process.wait(10)
        shared.close()


def replace(folder: Path, rounds: int, env: dict[str, str]) -> dict[str, Any]:
    """Replace one of two replicas at a time, the new one ready before the old one is told to end."""
    with fleet(folder, env) as (port, start):
        serving = [wait_ready(start()) for _ in range(2)]
        old: list[Server] = []
        with load(port, keep=6, fresh=3, pause_s=0.002) as result:
            began = time.monotonic()
            for _ in range(rounds):
                serving.append(wait_ready(start()))
                old.append(serving.pop(0))
                old[-1].process.send_signal(signal.SIGTERM)
            result["codes"] = [server.process.wait(20) for server in old]
            result["seconds"] = time.monotonic() - began
        result["ended"] = [line["cut_requests"] for server in old for line in server.events("ended")]
        return result


def check(result: dict[str, Any], rounds: int) -> None:
    """Every replica left with 0, nobody was cut off, and every request of a real load was answered well."""
    assert result["wrong"] == {}, result
    assert result["answered"] == result["sent"] > 50 * rounds
    assert result["codes"] == [0] * rounds
    assert result["ended"] == [0] * rounds


@pytest.mark.e2e
def test_twenty_replacements_fail_no_request(tmp_path: Path) -> None:
    check(replace(tmp_path, ROUNDS, {}), ROUNDS)


@pytest.mark.e2e
def test_sabotage_without_the_drain_requests_fail(tmp_path: Path) -> None:
    """The sabotage is NIMIFY_TEST_NO_DRAIN=1: the process ends at once when it is told to."""
    result = replace(tmp_path, ROUNDS_OF_SABOTAGE, {"NIMIFY_TEST_NO_DRAIN": "1"})
    assert result["sent"] > 50 * ROUNDS_OF_SABOTAGE
    assert result["wrong"], result
    with pytest.raises(AssertionError):
        check(result, ROUNDS_OF_SABOTAGE)
