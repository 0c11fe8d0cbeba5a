"""Read-only: every key and every command sends nothing, and the screen says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.domain.plans import Verb
from nimify_tui.ui import commands
from nimify_tui.ui.commands import Scope
from nimify_tui.ui.widgets.dialog import Dialog
from tests.tui import screen_lines, screen_text
from tests.ui import frames
from tests.ui.clusters import clustered
from tests.ui.world import World, run_console, unfinished

#: Keys that end the program or leave the screen that is being tried.
_LEAVING = {"ctrl+c", "escape", "q"}


def every_key(*scopes: Scope) -> list[str]:
    """All keys of some scopes, bound by widgets or by screens."""
    return list(
        dict.fromkeys(key for each in commands.of_scopes(scopes) for key in each.keys if key not in _LEAVING)
    )


async def say_yes(app: Any, pilot: Any) -> None:
    """Answer what asks with a number, a yes, an enter."""
    if app.top.prompting:
        await pilot.press("3", "enter")
    if isinstance(app.screen, Dialog):
        await pilot.press("y", "enter")
        if isinstance(app.screen, Dialog):
            await pilot.press("escape")


async def press_everything(app: Any, pilot: Any) -> None:
    """Every key and every ``:`` command on every screen that can ask for a change, answered with yes.

    A way to a place is keys, and lines that begin with a colon.
    """
    detail = ":open llama-chat"
    places: list[tuple[tuple[str, ...], tuple[Scope, ...]]] = [
        ((), (Scope.FLEET, Scope.LIST, Scope.GLOBAL)),
        ((detail, "1"), (Scope.DETAIL, Scope.LIST)),
        ((detail, "2"), (Scope.LOGS,)),
        ((detail, "4", "G"), (Scope.REVISIONS,)),
        ((detail, "7"), (Scope.INFER,)),
        (("U",), (Scope.UNFINISHED, Scope.LIST)),
    ]

    async def go(way: tuple[str, ...]) -> None:
        while len(app.screen_stack) > 1:
            app.pop_screen()
            await pilot.pause()
        if app.top.prompting:
            await pilot.press("escape")
        for each in way:
            if each.startswith(":"):
                app.top.run_line(each[1:])
                await pilot.pause()
            else:
                await pilot.press(each)
        await pilot.pause()

    for way, scopes in places:
        await go(way)
        screen = app.screen
        for key in every_key(*scopes):
            await pilot.press(key)
            await pilot.pause()
            await say_yes(app, pilot)
            if app.screen is not screen or app.top.prompting or screen.active_scopes()[0] not in scopes:
                await go(way)
                screen = app.screen
    for way, scopes in (((":filter .",), (Scope.FLEET, Scope.GLOBAL)), ((detail, "1"), (Scope.DETAIL,))):
        await go(way)
        screen = app.screen
        for each in commands.of_scopes(scopes):
            for name in each.names:
                if each.id not in ("global.quit", "global.back"):
                    app.top.run_line(f"{name} 3")
                    await pilot.pause()
                    await say_yes(app, pilot)
                    if app.screen is not screen or app.top.prompting:
                        await go(way)
                        screen = app.screen


def requests_of(world: World) -> list[Verb]:
    return [each.verb for each in world.asked]


def read_only_world() -> World:
    world = World(clustered(), read_only=True)
    world.typed = False
    world.left_unfinished = [unfinished(world)]
    return world


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands that write a file write it into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def test_read_only_every_key_and_every_command_sends_nothing(elsewhere: None) -> None:
    world = read_only_world()
    run_console(press_everything, world, size=(80, 24))
    assert requests_of(world) == []
    assert world.carried == []
    assert world.files == []


def test_sabotage_with_the_gates_word_bypassed_the_same_keys_do_change_the_world(elsewhere: None) -> None:
    world = read_only_world()
    world.read_only = False
    run_console(press_everything, world, size=(80, 24))
    with pytest.raises(AssertionError):
        assert requests_of(world) == []
    assert {Verb.RESTART, Verb.SCALE, Verb.STOP, Verb.DELETE, Verb.ROLLBACK} <= set(requests_of(world))
    assert {Verb.SHELL, Verb.DEBUG, Verb.FORWARD, Verb.APPLY} <= set(requests_of(world))
    assert "Pod" in {each.kind for each in world.asked}


def test_read_only_says_why_and_dims() -> None:
    async def script(app: Any, pilot: Any) -> list[str]:
        footer = screen_lines(app)[-1]
        await pilot.press("r")
        await pilot.pause()
        said = screen_lines(app)[-1]
        await pilot.press("question_mark")
        await pilot.pause()
        return [footer, said, screen_text(app)]

    footer, said, overlay = run_console(script, World(read_only=True))
    assert "r restart" in footer
    assert "read-only: nothing is changed from here" in said
    assert "dim: read-only" in overlay
    assert "READ-ONLY" in overlay


def test_a_region_that_is_closed_blocks_the_plan_with_the_gates_reason() -> None:
    rows, children = frames.drawn_rows()
    regions = tuple(
        msgspec.structs.replace(
            each, region=msgspec.structs.replace(each.region, read_write=each.region.name != "us-west-2")
        )
        for each in frames.drawn_regions()
    )
    world = World(frames.frame_of(rows, children, regions))
    world.typed = False

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        text = screen_text(app)
        await pilot.press("y", "enter")
        await pilot.pause()
        return text

    text = run_console(script, world)
    assert "not allowed: region us-west-2 is read-only" in text
    assert "READ-WRITE 5/6" in text
    assert world.carried == []
