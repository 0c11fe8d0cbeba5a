"""How many runs at a time pay: measured, and never more than the cores that are free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from nimify_tui.serving.sessions import sessions_that_pay
from tests import models_factory
from tests.serving.servers import running, tensor

RUN_S = 0.004
_NEVER = threading.Event()


def own_core() -> Callable[[], object]:
    """A run that leaves the others alone, as on a core of its own."""
    return lambda: _NEVER.wait(RUN_S)


def one_after_another() -> Callable[[], object]:
    """A run that uses up what the others need, as on one core or on memory's whole width."""
    lock = threading.Lock()

    def run() -> None:
        with lock:
            _NEVER.wait(RUN_S)

    return run


def two_at_a_time() -> Callable[[], object]:
    """Two cores' worth."""
    places = threading.Semaphore(2)

    def run() -> None:
        with places:
            _NEVER.wait(RUN_S)

    return run


@pytest.mark.parametrize(
    ("run", "threads", "cores", "loads", "count", "words"),
    [
        (own_core(), 1, 8, 0.0, 4, "times the runs of one"),
        (two_at_a_time(), 1, 8, 0.0, 2, "4 at a time make"),
        (one_after_another(), 1, 8, 0.0, 1, "2 at a time make"),
        (own_core(), 4, 8, 0.0, 1, "of 8 cores"),
        (own_core(), 1, 8, 6.0, 1, "6.0 are busy"),
        (own_core(), 1, 2, 0.0, 1, "of 2 cores"),
        (own_core(), 1, 3, 0.0, 2, "times the runs of one"),
    ],
)
def test_as_many_as_bring_more(
    run: Callable[[], object], threads: int, cores: int, loads: float, count: int, words: str
) -> None:
    began = time.perf_counter()
    run()
    found = sessions_that_pay(run, time.perf_counter() - began, threads, cores, loads)
    assert found.count == count, found
    assert words in found.words


def test_a_server_with_two_workers_runs_two_requests_at_a_time_and_says_so() -> None:
    """Sabotage seen failing: a scheduler with one thread whatever is set."""
    held = """
import threading
from nimify_tui.serving.model import Model
both, before = threading.Barrier(2, timeout=10), Model.run
def run(self, inputs, wanted, options=None):
    if options is not None:  # a request's run; those of the start have none
        both.wait()
    return before(self, inputs, wanted, options)
Model.run = run
"""
    document = {"inputs": [tensor("x", [1, 256], "FP32", [0.5] * 256)]}
    with running(models_factory.slow(60, 256), "--sessions", "2", "--max-batch", "1", code=held) as server:
        assert server.ask("GET", "/health", admin=True).json["model"]["batch"]["workers"] == "2 workers: as set"
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(server.infer(document).status)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert statuses == [200, 200]  # each run waited for the other to begin
