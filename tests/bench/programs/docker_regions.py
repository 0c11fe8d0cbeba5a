"""A session without a screen on a configured Docker region: what watching costs, at rest and while all is looked at.

Arguments: configuration, seconds of each part, and "bare" to look without measuring, for comparison. Prints one JSON
object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from nimify_tui.config import load
from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.updates import Update, Used
from nimify_tui.hosts import DockerRegions
from nimify_tui.session import Needs, Session


def main(config: str, seconds: float, bare: bool) -> None:
    """Measure and print."""
    if bare:
        DockerRegions._use = DockerRegions._logs  # type: ignore[method-assign]  # nobody asks for logs here
    session = Session(load([Path(config)], env={}), Needs())
    used = 0
    apply = session.engine._sink

    def counted(updates: list[Update]) -> None:
        nonlocal used
        used += sum(isinstance(each, Used) for each in updates)
        apply(updates)

    session.engine._sink = counted  # type: ignore[method-assign,assignment]  # counts and hands on
    session.engine.start()
    live = session.engine.wait(
        lambda frame: all(row.health.state is RegionState.LIVE for row in frame.regions), 60
    )
    session.pause(5.0)
    began_s, cpu_s = time.monotonic(), time.process_time()
    session.pause(seconds)
    idle = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    idle_used = used
    rows = [row_id for row_id in session.frame.order if "@" not in row_id]
    for row_id in rows:
        session.demand(DetailDemand(row_id))
    session.pause(5.0)
    before, began_s, cpu_s = used, time.monotonic(), time.process_time()
    session.pause(seconds)
    busy_s, took_s = time.process_time() - cpu_s, time.monotonic() - began_s
    found = {
        "live": live, "rows": len(rows), "idle_ratio": idle, "idle_samples": idle_used,
        "samples": used - before, "busy_s": busy_s, "took_s": took_s,
    }  # fmt: skip
    session.engine.stop(20.0)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:] == ["bare"])
