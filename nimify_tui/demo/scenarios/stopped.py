"""A replica that is alive and does nothing: SIGSTOP, as a debugger or a frozen disk would."""

from __future__ import annotations

import signal

from nimify_tui.demo.stage import Run, Scenario

EVERY_S = 1.0


async def play(run: Run) -> None:
    """Stop the first replica, and its successor when it was replaced; let it go on at the end."""
    wire, service = run.stage.wire(run.target), run.target.service
    victim = run.stage.victim(run.target)
    try:
        async for _ in run.beats(EVERY_S):
            for replica in wire.ready(service):
                if replica.key.replica == victim and run.stage.send(replica, signal.SIGSTOP) and run.truth is None:
                    run.strike("hang", f"SIGSTOP of replica {victim}")
    finally:
        for replica in wire.of_service(service):
            run.stage.send(replica, signal.SIGCONT)


SCENARIO = Scenario("stopped-replica", "a replica is alive and answers nothing", lambda part: True, play)
