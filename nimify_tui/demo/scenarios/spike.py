"""A traffic spike: eight times the requests, open loop."""

from __future__ import annotations

from nimify_tui.demo.orders import Pace
from nimify_tui.demo.stage import Run, Scenario

FACTOR = 8.0
#: Below this a spike would be a handful of requests.
LEAST_RPS = 3.0


async def play(run: Run) -> None:
    """Eight times the rate, then the old one."""
    service, region = run.target.service, run.target.region
    try:
        await run.stage.traffic.tell(Pace(service=service, region=region, factor=FACTOR))
        run.strike("traffic", f"{FACTOR:.0f} times the requests")
        await run.lasts()
    finally:
        await run.stage.traffic.tell(Pace(service=service, region=region, factor=1.0))


SCENARIO = Scenario("traffic-spike", "eight times the requests", lambda part: part.rps >= LEAST_RPS, play)
