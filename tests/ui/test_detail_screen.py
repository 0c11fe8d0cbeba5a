"""A service's detail: tabs, live logs, revisions, a trial request."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.demands import DetailDemand, LogDemand, LogLine
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import Limits
from nimify_tui.ui.present.detail import TABS, limit_facts
from tests.tui import check_golden, screen_lines, screen_text, until
from tests.ui import frames
from tests.ui.world import World, run_console

EUW1 = ServiceKey("eu-west-1", "llama-chat")
LAST_RUN = LogDemand(EUW1, "r-3", False)


def press(*keys: str) -> Any:
    async def script(app: Any, pilot: Any) -> str:
        for key in keys:
            await pilot.press(key)
        await pilot.pause()
        return screen_text(app)

    return script


@pytest.mark.parametrize(("digit", "name"), list(enumerate(TABS, 1)))
def test_golden(digit: int, name: str) -> None:
    check_golden(f"detail-{name}-80x24", run_console(press("enter", str(digit)), size=(80, 24)))


def test_golden_big() -> None:
    check_golden("detail-overview-120x40", run_console(press("enter"), size=(120, 40)))
    check_golden("detail-overview-200x60", run_console(press("enter"), size=(200, 60)))


def test_the_configuration_says_which_caches_are_wanted() -> None:
    both = Limits(cache_bytes=64 * 2**20, cache_ttl_s=300.0, artifact_cache_bytes=2**31)
    words = "answers 64M for each model and replica (5m), model artifacts 2G on the disk"
    assert limit_facts(both)[-1] == ("caches", words)
    assert "caches" not in dict(limit_facts(Limits())), "none: no line"


def test_the_detail_is_demanded_while_it_is_open() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> list[int]:
        counts = []
        for key in ("enter", "escape"):
            await pilot.press(key)
            await pilot.pause()
            counts.append(world.demands.count(DetailDemand("llama-chat")))
        return counts

    assert run_console(script, world) == [2, 1]  # the fleet's cursor row stays demanded
    assert world.demands == []


def test_tabs_by_digit_and_by_tab_and_escape_goes_back_to_the_row() -> None:
    async def script(app: Any, pilot: Any) -> list[object]:
        await pilot.press("down", "down", "enter")
        seen: list[object] = []
        for key in ("tab", "shift+tab", "5", "l", "w"):
            await pilot.press(key)
            await pilot.pause()
            seen.append(app.top.tab)
        await pilot.press("escape")
        await pilot.pause()
        seen.append(app.top.table.cursor_key)
        return seen

    assert run_console(script) == ["logs", "overview", "metrics", "logs", "overview", "rerank-v2"]


def test_a_service_that_is_gone_says_so() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("enter")
        world.frame = frames.empty()
        app.drain()
        await pilot.pause()
        await pilot.press("r")
        await pilot.pause()
        return screen_text(app)

    text = run_console(script, world)
    assert "is no longer there" in text
    assert world.asked == []


# -- logs ------------------------------------------------------------------------------------
def log_lines(count: int, start: int = 0) -> list[LogLine]:
    return [
        LogLine(frames.NOW - 60 + i / 10, "r-3", 4, f"line {i} of the model") for i in range(start, start + count)
    ]


def test_the_crashed_replicas_last_run_is_followed_first() -> None:
    world = World()
    world.log_tail(LAST_RUN).lines += [*log_lines(3), LogLine(frames.NOW, "r-3", 4, "CUDA out of memory")]

    async def script(app: Any, pilot: Any) -> list[Any]:
        await pilot.press("l")
        await pilot.pause()
        first = screen_text(app)
        world.log_tail(LAST_RUN).lines.append(LogLine(frames.NOW, "r-3", 4, "and one more"))
        await until(pilot, lambda: "and one more" in screen_text(app))
        logs = [each for each in world.demands if isinstance(each, LogDemand)]
        await pilot.press("p")
        await pilot.pause()
        return [first, logs, [each for each in world.demands if isinstance(each, LogDemand)], screen_text(app)]

    first, logs, after, text = run_console(script, world)
    assert "logs: r-3 @ eu-west-1" in first
    assert "CUDA out of memory" in first
    assert logs == [LAST_RUN]
    assert after == [LogDemand(EUW1, "r-3", True)]  # one log at a time
    assert "the run before" in text


def test_search_filter_and_the_next_replica() -> None:
    world = World()
    world.log_tail(LAST_RUN).lines += log_lines(300)

    async def script(app: Any, pilot: Any) -> list[object]:
        seen: list[object] = []
        await pilot.press("l")
        await pilot.press("slash", *"line", "space", *"17", "space", "enter")
        await until(pilot, lambda: "line 17 " in screen_text(app))
        seen.append(app.top.logs.view.following)
        await pilot.press("ampersand", *"/1[0-9]9/", "enter")
        await until(pilot, lambda: "line 199" in screen_text(app) and "line 198 " not in screen_text(app))
        seen.append("filter" in screen_text(app))
        await pilot.press("a")
        await pilot.pause()
        seen.append(app.top.logs.demands)
        return seen

    following, filtered, demand = run_console(script, world)
    assert following is False
    assert filtered is True
    assert demand != (LAST_RUN,)


def test_enter_on_a_replica_opens_its_log() -> None:
    async def script(app: Any, pilot: Any) -> tuple[LogDemand, ...]:
        await pilot.press("enter", "down", "enter")
        await pilot.pause()
        demands: tuple[LogDemand, ...] = app.top.logs.demands
        return demands

    [demand] = run_console(script)
    assert isinstance(demand, LogDemand)
    assert demand.replica == "r-2"


def test_what_the_source_dropped_is_said() -> None:
    world = World()
    world.log_tail(LAST_RUN).lines += log_lines(5)
    world.log_tail(LAST_RUN).dropped = 1204
    assert "1,204 older lines dropped" in run_console(press("l"), world)


def test_long_lines_say_how_to_read_on() -> None:
    world = World()
    tail = world.log_tail(LAST_RUN)
    tail.lines += log_lines(3)
    assert "right reads on" not in run_console(press("l"), world)
    tail.lines.append(LogLine(frames.NOW, "r-3", 4, "x" * 300 + " the end"))
    assert "4 lines · right reads on · following" in run_console(press("l"), world)
    said = run_console(press("l", *["right"] * 15), world)
    assert "from column 301" in said
    assert "the end" in said
    tail.lines[:] = tail.lines[:1]
    assert " 1 line ·" in run_console(press("l"), world)


def test_the_log_of_a_region_that_is_not_seen_says_so() -> None:
    frame = frames.drawn()
    lost = tuple(
        frames.region("eu-west-1", RegionState.DOWN) if each.region.name == "eu-west-1" else each
        for each in frame.regions
    )
    said = run_console(press("enter", "l"), World(msgspec.structs.replace(frame, regions=lost)))
    assert "no contact with eu-west-1: its logs come when it is back" in said
    assert "no lines yet" not in said


def walk(digit: str) -> Any:
    """Down the rows of a tab; what stands below the table at each of them."""

    async def script(app: Any, pilot: Any) -> list[str]:
        await pilot.press("enter", digit)
        seen = []
        for _ in range(12):
            await pilot.pause()
            seen.append(" ".join(line.strip() for line in screen_lines(app)[-4:-1]))
            await pilot.press("down")
        return seen

    return script


def test_the_row_under_the_cursor_is_told_whole() -> None:
    """At 80 columns the table cuts what an event says; nothing else on the screen has the rest of it."""
    detail = frames.drawn_detail()
    for digit, told in (
        ("3", [f"from {each.client}; {each.text}" for each in detail.security]),
        ("4", [f"r{each.number}: {each.note}" for service in detail.services for each in service.revisions]),
    ):
        seen = run_console(walk(digit), size=(80, 24))
        for each in told:
            assert any(each in line for line in seen), (each, seen)


# -- revisions and inference -----------------------------------------------------------------
def test_enter_on_a_revision_plans_the_way_back_in_its_region() -> None:
    world = World()
    world.typed = False

    async def script(app: Any, pilot: Any) -> list[str]:
        said = []
        await pilot.press("enter", "4", "enter")
        await pilot.pause()
        said.append(screen_lines(app)[-1])
        await pilot.press("down", "down", "down", "enter")
        await pilot.pause()
        said.append(screen_text(app))
        await pilot.press("escape")
        return said

    running, plan = run_console(script, world)
    assert "r12 runs already" in running
    assert "Rollback llama-chat in eu-west-1" in plan
    assert [(each.verb, each.revision, each.targets) for each in world.asked] == [(Verb.ROLLBACK, 11, (EUW1,))]


def test_a_trial_request_goes_to_a_region_that_is_well() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> list[str]:
        await pilot.press("enter", "7", "enter")
        await until(pilot, lambda: "200 in 12ms" in screen_text(app))
        first = screen_text(app)
        await pilot.press("e")
        app.top.prompt._edit.set('{"inputs": [1]}')
        await pilot.press("enter")
        await until(pilot, lambda: '{"inputs": [1]}' in screen_text(app))
        return [first, screen_text(app)]

    first, _ = run_console(script, world)
    assert '{"outputs": [{"name": "embedding"}]}' in first
    assert [key.region for key, _ in world.inferred] == ["us-east-1", "us-east-1"]
    assert [payload for _, payload in world.inferred] == ["", '{"inputs": [1]}']


def test_copy_on_the_logs_tab_carries_the_last_lines(tmp_path: Any) -> None:
    world = World()
    world.log_tail(LAST_RUN).lines += log_lines(5)
    target = tmp_path / "out.txt"

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("l")
        await pilot.pause()
        await pilot.press("colon")
        app.top.prompt._edit.set(f"write {target}")
        await pilot.press("enter")
        await pilot.pause()

    run_console(script, world)
    text = target.read_text()
    assert "line 4 of the model" in text
    assert "replica r-3 @ eu-west-1 BACKOFF" in text


def test_the_detail_comes_as_soon_as_it_is_there() -> None:
    full = frames.drawn()
    world = World(msgspec.structs.replace(full, details={}))

    async def script(app: Any, pilot: Any) -> list[str]:
        await pilot.press("enter")
        await pilot.pause()
        first = screen_text(app)
        world.frame = full
        app.drain()
        await pilot.pause()
        return [first, screen_text(app)]

    first, later = run_console(script, world)
    assert "looking it up" in first
    assert "BACKOFF" in later
