"""A replica that is killed again and again: SIGKILL, as the kernel or a careless script would."""

from __future__ import annotations

import signal

from nimify_tui.demo.stage import Run, Scenario

EVERY_S = 1.0


async def play(run: Run) -> None:
    """Kill the first replica whenever it is ready again."""
    wire, service = run.stage.wire(run.target), run.target.service
    victim = run.stage.victim(run.target)
    async for _ in run.beats(EVERY_S):
        for replica in wire.ready(service):
            if replica.key.replica == victim and run.stage.send(replica, signal.SIGKILL) and run.truth is None:
                run.strike("crash", f"SIGKILL of replica {victim} whenever it is ready")


SCENARIO = Scenario("killed-replica", "a replica is killed again and again", lambda part: True, play)
