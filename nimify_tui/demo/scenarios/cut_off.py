"""A region that cannot be reached: its supervisor is stopped; by the seed its replicas too.

With the replicas running, their traffic and their metrics go on; without, nothing answers at all.
"""

from __future__ import annotations

import contextlib
import os
import signal

from nimify_tui.base.errors import ClusterError
from nimify_tui.demo.stage import Run, Scenario


async def play(run: Run) -> None:
    """Stop the supervisor, then let it go on."""
    wire = run.stage.wire(run.target)
    if not wire.keeper_pid:
        raise ClusterError(f"the supervisor of {wire.region} did not say its pid")
    everything = run.rng.random() < 0.5
    replicas = list(wire.replicas.values()) if everything else []
    try:
        os.kill(wire.keeper_pid, signal.SIGSTOP)
        for replica in replicas:
            run.stage.send(replica, signal.SIGSTOP)
        whom = "supervisor and replicas" if everything else "supervisor"
        run.strike("region", f"SIGSTOP of the region's {whom}", whole_region=True)
        await run.lasts()
    finally:
        for replica in replicas:
            run.stage.send(replica, signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):
            os.kill(wire.keeper_pid, signal.SIGCONT)


SCENARIO = Scenario("region-cut-off", "a region cannot be reached", lambda part: True, play)
