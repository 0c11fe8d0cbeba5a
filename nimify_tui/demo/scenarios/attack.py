"""An attack: a flood of malformed, traversing, injecting and oversized requests from a few addresses."""

from __future__ import annotations

from nimify_tui.demo.orders import Raid
from nimify_tui.demo.stage import Run, Scenario

RPS = 40.0


async def play(run: Run) -> None:
    """Hostile requests beside the usual ones."""
    service, region = run.target.service, run.target.region
    try:
        await run.stage.traffic.tell(Raid(service=service, region=region, rps=RPS, seed=run.seed))
        run.strike("attack", f"{RPS:.0f} hostile requests per second from three addresses")
        await run.lasts()
    finally:
        await run.stage.traffic.tell(Raid(service=service, region=region, rps=0.0))


SCENARIO = Scenario("attack", "hostile requests from a few addresses", lambda part: True, play)
