"""Logs of a service in several regions: merged, filtered in words, region by region and replica by replica."""

from __future__ import annotations

from typing import Any

import msgspec

from nimify_tui.domain.demands import LogDemand, LogLine
from tests.tui import screen_text, until
from tests.ui import frames
from tests.ui.test_detail_screen import LAST_RUN, log_lines
from tests.ui.world import World, run_console, type_text


def test_a_folded_service_opens_the_merged_logs_of_all_its_regions() -> None:
    world = World()
    keys = world.frame.rows["embed-e5"].keys
    use1, euw1 = (next(key for key in keys if key.region == name) for name in ("us-east-1", "eu-west-1"))
    for key, pod, at in ((use1, "embed-e5-7d9f8b6c5-x2x7k", 2), (euw1, "embed-e5-7d9f8b6c5-q9m4z", 1)):
        lines = world.log_tail(LogDemand(key)).lines
        lines.append(LogLine(frames.NOW + at, pod, 1, f"INFO served from {key.region}", "main"))
        lines.append(LogLine(frames.NOW + at + 2, pod, 1, f"ERROR lost in {key.region}", "proxy"))
    world.log_tail(LogDemand(use1)).lines.append(
        LogLine(frames.NOW + 9, "embed-e5-7d9f8b6c5-x2x7k", 1, "-- x2x7k: the stream broke --", mark=True)
    )

    async def script(app: Any, pilot: Any) -> tuple[list[str], list[str], object, object]:
        app.open_detail("embed-e5", 2)
        await pilot.pause()
        await until(pilot, lambda: "served from us-east-1" in screen_text(app))
        merged = [line.strip() for line in screen_text(app).splitlines() if " from " in line or " in " in line]
        wanted = [each for each in world.demands if isinstance(each, LogDemand)]
        await pilot.press("ampersand")
        await type_text(pilot, "region:use1 not container:main")
        await pilot.press("enter")
        await until(pilot, lambda: "served from" not in screen_text(app))
        filtered = [line.strip() for line in screen_text(app).splitlines() if " in " in line or " broke " in line]
        app.pop_screen()
        await pilot.pause()
        return merged, filtered, wanted, [each for each in world.demands if isinstance(each, LogDemand)]

    merged, filtered, wanted, left = run_console(script, world)
    assert [line.split(" ", 1)[1] for line in merged] == [
        "euw1 q9m4z/main INFO served from eu-west-1",
        "use1 x2x7k/main INFO served from us-east-1",
        "euw1 q9m4z/proxy ERROR lost in eu-west-1",
        "use1 x2x7k/proxy ERROR lost in us-east-1",
    ]
    assert [line.split(" ", 1)[1] for line in filtered] == [
        "use1 x2x7k/proxy ERROR lost in us-east-1",
        "use1 -- x2x7k: the stream broke --",
    ]
    assert wanted == [LogDemand(key) for key in keys]
    assert left == []


def test_a_mistake_in_a_filter_stays_in_the_prompt_with_its_place() -> None:
    world = World()
    world.log_tail(LAST_RUN).lines += log_lines(5)

    async def script(app: Any, pilot: Any) -> tuple[str, str, str]:
        await pilot.press("l", "ampersand")
        await type_text(pilot, "level:eror")
        await pilot.press("enter")
        await pilot.pause()
        wrong = screen_text(app)
        await pilot.press("left", "left", "left", "r", "enter")
        await pilot.pause()
        right = screen_text(app)
        await pilot.press("colon")
        await type_text(pilot, 'filter "line 3"')
        await pilot.press("enter")
        await until(pilot, lambda: "line 4" not in screen_text(app))
        return wrong, right, screen_text(app)

    wrong, right, quoted = run_console(script, world)
    assert "&level:eror" in wrong
    assert "there is no level 'eror'" in wrong
    assert "(at character 7)" in wrong
    assert "filter level:error: 0" in right
    assert 'filter "line 3": 1' in quoted
    assert "line 3 of the model" in quoted


def test_a_region_that_the_service_comes_to_later_is_taken_into_the_merged_logs() -> None:
    world = World()
    row = world.frame.rows["embed-e5"]
    two = msgspec.structs.replace(row, keys=row.keys[:2], region_states=row.region_states[:2])

    def use(changed: Any) -> None:
        world.frame = msgspec.structs.replace(world.frame, rows={**world.frame.rows, "embed-e5": changed})

    use(two)

    async def script(app: Any, pilot: Any) -> tuple[object, object, object]:
        app.open_detail("embed-e5", 2)
        await pilot.pause()
        before = [each for each in world.demands if isinstance(each, LogDemand)]
        use(row)
        app.drain()
        await pilot.pause()
        after = [each for each in world.demands if isinstance(each, LogDemand)]
        await pilot.press("p")
        await pilot.pause()
        return before, after, [each for each in world.demands if isinstance(each, LogDemand)]

    before, after, previous = run_console(script, world)
    assert before == [LogDemand(key) for key in row.keys[:2]]
    assert after == [LogDemand(key) for key in row.keys]
    assert previous == [LogDemand(key, "", True) for key in row.keys]


def test_the_replica_key_goes_from_all_regions_to_each_region_and_each_replica() -> None:
    world = World()
    detail = world.frame.details["llama-chat"]
    keys = [each.key for each in detail.services]

    async def script(app: Any, pilot: Any) -> list[tuple[LogDemand, ...]]:
        app.open_detail("llama-chat", 2)
        await pilot.pause()
        app.top.logs.follow(*(LogDemand(key) for key in keys))
        seen = []
        for _ in range(1 + len(keys) + len(detail.replicas)):
            await pilot.press("a")
            await pilot.pause()
            seen.append(app.top.logs.demands)
        return seen

    seen = run_console(script, world)
    each = [each.replica.key for each in detail.replicas]
    assert seen == [
        *((LogDemand(key),) for key in keys),
        *((LogDemand(key.service, key.replica),) for key in each),
        tuple(LogDemand(key) for key in keys),
    ]
