"""What starting services are at is looked up for the rows in view, and for nothing else."""

from __future__ import annotations

from typing import Any

import msgspec

from nimify_tui.domain.demands import StartDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.services import ServiceState
from tests.ui import frames
from tests.ui.frames import NOW, region, row
from tests.ui.world import World, run_console

S = ServiceState


def starting(count: int) -> World:
    """So many services that start, then one that is well, and one of two regions of which one starts."""
    rows = [row(f"s{number:02}", ("us-east-1",), S.STARTING, ready=0, slo=False) for number in range(count)]
    both = row("both", ("eu-west-1", "us-east-1"), S.STARTING, ready=1, desired=2, slo=False)
    return World(frames.frame_of([both, *rows, row("well", ("us-east-1",), slo=False)], {}, [region("us-east-1")]))


def looked(world: World) -> set[ServiceKey]:
    return {each.key for each in world.demands if isinstance(each, StartDemand)}


def test_the_rows_in_view_that_start_are_looked_at_and_only_while_they_are() -> None:
    world = starting(3)

    async def script(app: Any, pilot: Any) -> list[set[ServiceKey]]:
        seen = [looked(world)]
        await pilot.press("end", "enter")
        await pilot.pause()
        seen.append(looked(world))
        await pilot.press("escape")
        await pilot.pause()
        seen.append(looked(world))
        world.frame = msgspec.structs.replace(world.frame, rows={}, order=(), at=NOW + 1)
        app.top.show(world.frame, NOW + 1)
        await pilot.pause()
        seen.append(looked(world))
        return seen

    first, in_detail, back, none = run_console(script, world)
    assert {(key.region, key.name) for key in first} == {
        ("eu-west-1", "both"), ("us-east-1", "s00"), ("us-east-1", "s01"), ("us-east-1", "s02"),
    }  # fmt: skip
    assert (in_detail, back, none) == (set(), first, set())


def test_so_many_at_once_and_none_below_the_view() -> None:
    world = starting(40)

    async def script(app: Any, pilot: Any) -> int:
        del app
        await pilot.pause()
        return len(looked(world))

    assert run_console(script, world) == 8
