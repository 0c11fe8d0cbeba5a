"""How many runs of one model at a time pay on this machine's free cores, measured at load time.

The workers share one onnxruntime session: its Run may be called from several threads at once (onnxruntime's
documentation, "Is the session thread-safe"), and so the weights are in memory once.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Another worker must bring this much more, or it only makes the runs of the others longer.
_PAYS = 1.4
_MOST = 4
_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Sessions:
    """Runs at a time, and why, in words for the health page."""

    count: int
    words: str


def sessions_that_pay(
    run: Callable[[], object],
    run_s: float,
    threads: int,
    cores: int | None = None,
    loads: float | None = None,
) -> Sessions:
    """Measure 2 and 4 runs at a time against one. ``cores`` and ``loads`` are those of this machine by default.

    One core stays with the event loop, which has to answer health probes while all workers run.
    """
    cores = len(os.sched_getaffinity(0)) if cores is None else cores
    loads = os.getloadavg()[0] if loads is None else loads
    room = min(_MOST, int(cores - 1 - loads) // threads)
    if room < 2:
        return Sessions(1, f"1 worker: of {cores} cores, {loads:.1f} are busy and one is the event loop's")
    rates = {1: 1.0 / run_s if run_s > 0.0 else 0.0}
    best, workers = 1, 2
    while workers <= room:
        rates[workers] = _rate(run, workers)
        if rates[workers] < _PAYS * rates[best]:
            gain = rates[workers] / max(rates[best], 1e-9)
            return Sessions(best, f"{best} workers: {workers} at a time make {gain:.2f} times as many runs")
        best, workers = workers, workers * 2
    return Sessions(
        best, f"{best} workers: they make {rates[best] / max(rates[1], 1e-9):.2f} times the runs of one"
    )


def _rate(run: Callable[[], object], workers: int) -> float:
    """Runs a second of all workers together."""
    counts = [0] * workers
    began = time.perf_counter()

    def work(at: int) -> None:
        while time.perf_counter() - began < _SECONDS:
            run()
            counts[at] += 1

    threads = [threading.Thread(target=work, args=(at,), name="measure") for at in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)
