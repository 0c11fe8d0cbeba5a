"""The fleet screen: what it shows at each size, and that nothing moves under the operator's finger."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.demands import DetailDemand, RightsDemand, StartDemand
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ServiceState
from nimify_tui.fleet.frames import Frame
from tests.tui import check_golden, screen_lines, screen_styles, screen_text, until
from tests.ui import frames
from tests.ui.world import World, look, press, run_console

SIZES = [(80, 24), (120, 40), (200, 60)]


# -- goldens ---------------------------------------------------------------------------------
@pytest.mark.parametrize("size", SIZES)
def test_golden(size: tuple[int, int]) -> None:
    check_golden(f"fleet-{size[0]}x{size[1]}", run_console(look, size=size))


@pytest.mark.parametrize("size", SIZES[:2])
def test_golden_ascii(size: tuple[int, int]) -> None:
    text = run_console(look, size=size, profile_changes={"utf8": False})
    check_golden(f"fleet-ascii-{size[0]}x{size[1]}", text)


def test_golden_unfolded_small_and_empty() -> None:
    check_golden("fleet-unfolded-120x40", run_console(press("x"), size=(120, 40)))
    check_golden("fleet-40x10", run_console(look, size=(40, 10)))
    check_golden("fleet-empty-80x24", run_console(look, World(frames.empty()), size=(80, 24)))
    check_golden("fleet-first-80x24", run_console(look, World(frames.connecting()), size=(80, 24)))


def test_first_rows_do_not_wait_for_the_next_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace of frames is an hour here: fails when rows are taken at that pace alone."""
    monkeypatch.setattr("nimify_tui.ui.terminal.SlowLine.interval_s", 3600.0)
    world = World(frames.connecting())

    async def script(app: Any, pilot: Any) -> None:
        assert "llama-chat" not in screen_text(app)
        world.frame = frames.drawn()
        await until(pilot, lambda: "llama-chat" in screen_text(app), 10.0)

    run_console(script, world)


def test_without_colour_the_same_is_said() -> None:
    coloured = run_console(look)
    assert run_console(look, profile_changes={"color": "none"}) == coloured
    assert run_console(look, env={"NO_COLOR": "1"}, profile_changes={"color": "none"}) == coloured


def test_colour_is_spent_on_what_is_wrong() -> None:
    async def script(app: Any, pilot: Any) -> dict[str, set[str]]:
        await pilot.press("G")
        await pilot.pause()
        lines = screen_lines(app)
        found = {}
        for name in ("embed-e5", "rerank-v2"):
            y = next(i for i, line in enumerate(lines) if name in line)
            found[name] = {style.split(" on ")[0] for part, style in screen_styles(app, y) if part.strip()}
        return found

    styles = run_console(script)
    warn = "#f0b050"
    assert not any(warn in style for style in styles["embed-e5"])
    assert any(warn in style for style in styles["rerank-v2"])


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_four_facts_stand_on_the_first_screen_without_a_key(size: tuple[int, int]) -> None:
    text = run_console(look, size=size)
    assert "llama-chat" in text  # which service
    assert "eu-west-1" in text  # which region
    assert "18:36:10" in text  # since when
    assert "rollout to revision 12" in text  # what changed just before


@pytest.mark.parametrize("size", [(20, 5), (30, 8), (40, 10), (79, 23), (99, 31), (250, 80)])
def test_any_size_works(size: tuple[int, int]) -> None:
    lines = run_console(look, size=size).split("\n")
    assert len(lines) == size[1]
    assert "nimify" in lines[0]


def test_resizing_keeps_cursor_and_content() -> None:
    async def script(app: Any, pilot: Any) -> tuple[object, str]:
        await pilot.press("down", "down")
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        return app.top.table.cursor_key, screen_text(app)

    key, text = run_console(script)
    assert key == "rerank-v2"
    assert "why: rerank-v2" in text


# -- empty -----------------------------------------------------------------------------------
def test_an_empty_fleet_says_what_to_do() -> None:
    assert "no services yet: n opens the wizard" in run_console(look, World(frames.empty()))


def test_no_region_says_where_the_configuration_is() -> None:
    assert "looking for regions" in run_console(look, World(frames.frame_of([])))
    assert "no region configured" in run_console(look, World(frames.frame_of([], applied=1)))


def test_last_known_rows_say_that_they_are() -> None:
    region = frames.region(
        "us-east-1", RegionState.CONNECTING, rps=None, p95=None, last_contact_at=frames.NOW - 7200
    )
    region = msgspec.structs.replace(region, last_known=True)
    row = frames.row(
        "embed-e5",
        ("us-east-1",),
        ServiceState.UNKNOWN,
        ready=None,
        reason="not seen yet; was OK",
        since_s=7200,
    )
    text = run_console(look, World(frames.frame_of([row], regions=[region])), size=(160, 40))
    assert "connecting to unix:us-east-1.sock, rows are from the last session" in text
    assert "not seen yet; was OK" in text


# -- cursor, order, marks --------------------------------------------------------------------
def turned(frame: Frame, first: str, version: int = 2) -> Frame:
    """The same fleet with another row worst."""
    order = (first, *(each for each in frame.order if each != first))
    return msgspec.structs.replace(frame, order=order, version=version)


def test_until_it_is_moved_the_cursor_stays_on_the_worst() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> tuple[object, str]:
        world.frame = turned(world.frame, "guard-7b")
        app.drain()
        await pilot.pause()
        return app.top.table.cursor_key, screen_text(app)

    key, text = run_console(script, world)
    assert key == "guard-7b"
    assert "why: guard-7b" in text


def test_cursor_and_marks_follow_their_rows_through_a_new_order() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> tuple[object, object, list[object]]:
        await pilot.press("down", "space", "down")
        table = app.top.table
        table.thaw_order()
        world.frame = turned(world.frame, "summar-8b")
        app.drain()
        await pilot.pause()
        return table.cursor_key, table.marked, list(table.order[:2])

    cursor, marked, order = run_console(script, world)
    assert order == ["summar-8b", "llama-chat"]
    assert cursor == "asr-large"
    assert marked == frozenset({"fraud-score"})


@pytest.mark.parametrize("keys", [("slash",), ("colon",), ("s",), ("r",), ("question_mark",), ("ctrl+p",)])
def test_the_order_holds_while_something_is_asked(keys: tuple[str, ...]) -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> tuple[list[object], list[object]]:
        await pilot.press(*keys)
        await pilot.pause()
        fleet = next(each for each in app.screen_stack if hasattr(each, "table") and hasattr(each, "strip"))
        world.frame = turned(world.frame, "summar-8b")
        app.drain()
        await pilot.pause()
        during = list(fleet.table.order[:1])
        await pilot.press("escape")
        await pilot.pause()
        return during, list(fleet.table.order[:1])

    during, after = run_console(script, world)
    assert during == ["llama-chat"]
    assert after == ["summar-8b"]


def test_sabotage_without_the_freeze_the_rows_jump_under_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    from nimify_tui.ui.widgets.picking import Picking

    monkeypatch.setattr(Picking, "freeze_order", lambda self: None)
    with pytest.raises(AssertionError):
        test_the_order_holds_while_something_is_asked(("slash",))


def test_the_order_holds_for_a_moment_after_the_cursor_moved() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> tuple[object, object]:
        await pilot.press("down")
        world.frame = turned(world.frame, "summar-8b")
        app.drain()
        during = app.top.table.order[0]
        await until(pilot, lambda: app.top.table.order[0] == "summar-8b", 5.0)
        return during, app.top.table.cursor_key

    during, cursor = run_console(script, world)
    assert during == "llama-chat"
    assert cursor == "fraud-score"


def test_numbers_move_on_under_a_dialog() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("question_mark")
        summary = msgspec.structs.replace(world.frame.summary, rps=frames.num(4321, "rps"))
        world.frame = msgspec.structs.replace(world.frame, summary=summary, version=2)
        app.drain()
        await pilot.pause()
        return screen_text(app)

    assert "4.32k rps" in run_console(script, world)


def test_only_the_row_under_the_cursor_is_demanded() -> None:
    """And what starts in view, which tests/ui/test_starts.py looks at."""
    world = World()

    def looked_at(row_id: str) -> set[Any]:
        return {DetailDemand(row_id), *(RightsDemand(key) for key in world.frame.rows[row_id].keys)}

    def demanded() -> set[Any]:
        return {each for each in world.demands if not isinstance(each, StartDemand)}

    async def script(app: Any, pilot: Any) -> list[Any]:
        first = demanded()
        await pilot.press("down", "down")
        return [first, demanded()]

    assert run_console(script, world) == [looked_at("llama-chat"), looked_at("rerank-v2")]
    assert world.demands == []  # given back at the end


# -- economy ---------------------------------------------------------------------------------
def test_nothing_new_repaints_nothing() -> None:
    async def script(app: Any, pilot: Any) -> list[int]:
        from nimify_tui.ui.widgets.canvas import LineCanvas

        def drawn() -> int:
            return sum(each.lines_drawn for each in app.top.query(LineCanvas))

        await pilot.pause()
        before = drawn()
        for _ in range(5):
            app.drain()
            app.refresh_screens()
            await pilot.pause()
        return [before, drawn()]

    before, after = run_console(script)
    assert before == after


def test_one_changed_number_repaints_its_lines_only() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> int:
        table = app.top.table
        await pilot.pause()
        before = table.lines_drawn
        changed = msgspec.structs.replace(world.frame.rows["toxicity"], rps=frames.num(999, "rps"))
        world.frame = msgspec.structs.replace(
            world.frame, rows={**world.frame.rows, "toxicity": changed}, version=2
        )
        app.drain()
        await pilot.pause()
        return int(table.lines_drawn - before)

    assert run_console(script, world) == 1


def test_a_slow_line_is_said() -> None:
    async def script(app: Any, pilot: Any) -> str:
        app.line.sample(0.9)
        app.refresh_screens()
        await pilot.pause()
        return screen_text(app)

    assert "line slow" in run_console(script)


def test_clock_shows_minutes_only() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> list[str]:
        first = screen_lines(app)[0]
        world.clock.advance(50)
        app.drain()
        await pilot.pause()
        same = screen_lines(app)[0]
        world.clock.advance(10)
        app.drain()
        await pilot.pause()
        return [first, same, screen_lines(app)[0]]

    first, same, later = run_console(script, world)
    assert first == same
    assert "18:43Z" in later
