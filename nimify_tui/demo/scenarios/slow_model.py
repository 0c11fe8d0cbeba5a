"""A model that takes many times longer: its clients send larger batches from one moment to the next.

Nothing was rolled out and the request rate stays; each request really costs more compute.
"""

from __future__ import annotations

from nimify_tui.demo.stage import Run, Scenario

#: How many items a request carries then, for the models whose cost grows with it.
BATCH = {"vision-l14": 6, "asr-large": 12}


async def play(run: Run) -> None:
    """Larger batches, then the old ones."""
    batch = BATCH[run.target.model]
    try:
        await run.stage.aim(run.target, batch=batch)
        run.strike("slowdown", f"each request carries a batch of {batch} instead of 1")
        await run.lasts()
    finally:
        await run.stage.aim(run.target)


SCENARIO = Scenario("slow-model", "a model takes many times longer", lambda part: part.model in BATCH, play)
