"""The keys of the fleet screen: filter, panels, sorting, steps back, ways out, typing ahead, commands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tui import screen_lines, screen_text, until
from tests.ui import frames
from tests.ui.world import World, look, press, run_console


def test_filter_as_you_type_and_back() -> None:
    async def script(app: Any, pilot: Any) -> list[object]:
        seen: list[object] = []
        await pilot.press("slash", *"rerank")
        seen.append(list(app.top.table.order))
        await pilot.press("enter")
        seen.append("filter rerank" in screen_text(app))
        await pilot.press("escape")
        seen.append(len(app.top.table.order))
        await pilot.press("slash", *"zzz", "escape")
        seen.append(len(app.top.table.order))
        return seen

    assert run_console(script) == [["rerank-v2"], True, 14, 14]


def test_a_filter_that_matches_nothing_says_how_to_leave() -> None:
    text = run_console(press("slash", "q", "q", "q", "q", "enter"))
    assert "no service matches the filter; esc clears it" in text


def test_panels_under_digits_and_tab() -> None:
    assert "NVML" not in run_console(press("2"), size=(80, 24))
    assert "87%" in run_console(press("2"), size=(80, 24))
    assert "response L1" in run_console(press("3"), size=(80, 24))
    assert "sql injection" in run_console(press("4"), size=(80, 24))
    assert "HPA wants 4" in run_console(press("5"), size=(80, 24))
    assert "87%" in run_console(press("tab"), size=(80, 24))
    assert "HPA wants 4" in run_console(press("shift+tab"), size=(80, 24))


def test_a_digit_zooms_on_a_big_screen_and_gives_it_back() -> None:
    plain = run_console(look)
    zoomed = run_console(press("4"))
    assert "caches" not in zoomed
    assert run_console(press("4", "4")) == plain
    assert run_console(press("4", "0")) == plain
    # Seen failing: whoever chose a panel by `:cache` and did not know its digit found no way back.
    assert "caches" in run_console(press("4", "escape"))


def test_sorting_by_shifted_letters() -> None:
    async def script(app: Any, pilot: Any) -> list[object]:
        firsts = []
        for key in ("N", "N", "P", "R", "W"):
            await pilot.press(key)
            await pilot.pause()
            firsts.append(app.top.table.order[0])
        return firsts

    assert run_console(script) == ["asr-large", "vision-l14", "summar-8b", "embed-e5", "llama-chat"]


def test_right_opens_a_service_by_region_and_left_folds_it_from_inside() -> None:
    async def script(app: Any, pilot: Any) -> list[int]:
        counts = []
        for keys in (("right",), ("down",), ("left",), ("x",)):
            await pilot.press(*keys)
            await pilot.pause()
            counts.append(len(app.top.table.order))
        return counts

    opened, moved, _, folded = run_console(script)
    assert (opened, moved) == (17, 17)
    assert folded == 14


def test_escape_goes_back_step_by_step_and_never_ends_the_program() -> None:
    async def script(app: Any, pilot: Any) -> list[object]:
        await pilot.press("right", "space", "slash", *"llama", "enter")
        steps: list[object] = []
        for _ in range(6):
            await pilot.press("escape")
            await pilot.pause()
            view = app.top.view
            steps.append((bool(view.filter_text), bool(app.top.table.marked), bool(view.opened)))
        steps.append(app.is_running)
        await pilot.press("q", "q", "q")
        steps.append(app.is_running)
        steps.append("ctrl+c or :q ends" in screen_text(app))
        return steps

    steps = run_console(script)
    assert steps[:3] == [(False, True, True), (False, False, True), (False, False, False)]
    assert steps[-3:] == [True, True, True]


def test_a_demo_does_not_promise_to_go_on() -> None:
    demo = frames.frame_of([], regions=[frames.region("us-east-1", demo=True)])
    said = run_console(press("escape"), World(demo))
    assert "ends the console, the demo with it" in said
    assert "goes on" not in said
    assert "ends the console, what runs goes on" in run_console(press("escape"))


@pytest.mark.parametrize("keys", [("ctrl+c",), ("colon", "q", "enter"), ("colon", "q", "!", "enter")])
def test_the_ways_out(keys: tuple[str, ...]) -> None:
    async def script(app: Any, pilot: Any) -> int | None:
        await pilot.press(*keys)
        await until(pilot, lambda: not app.is_running or app._exit)
        return int(app.return_code or 0)

    assert run_console(script) == 0


def test_commands_are_typed_completed_and_corrected() -> None:
    assert "sort rps" not in run_console(press("colon", *"sort rps", "enter"))

    async def script(app: Any, pilot: Any) -> list[object]:
        await pilot.press("colon", *"sort rp", "tab", "enter")
        first = app.top.table.order[0]
        await pilot.press("colon", *"restrat", "enter")
        await pilot.pause()
        return [first, "did you mean :restart?" in screen_text(app)]

    assert run_console(script) == ["embed-e5", True]


KEY_NAMES = {":": "colon", " ": "space", "\n": "enter", "/": "slash"}


def type_ahead(app: Any, text: str) -> None:
    """Keys as a terminal hands them over when they come in one piece."""
    from textual.events import Key

    for char in text:
        app.post_message(Key(KEY_NAMES.get(char, char), char if char.isprintable() else None))


@pytest.mark.parametrize("sabotage", [False, True])
def test_what_is_typed_ahead_is_not_lost(sabotage: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from textual.app import App

    from nimify_tui.ui.console import ConsoleApp

    if sabotage:
        monkeypatch.setattr(ConsoleApp, "on_event", App.on_event)

    async def script(app: Any, pilot: Any) -> tuple[str, str]:
        type_ahead(app, ":sort rps\n/embed\n")
        await pilot.pause(0.3)
        view = getattr(app.top, "view", None)
        return (view.sort, view.filter_text) if view is not None else ("", "")

    seen = run_console(script)
    assert (seen == ("rps", "embed")) is not sabotage


def test_keys_before_a_screen_is_there_wait_for_it() -> None:
    async def script(app: Any, pilot: Any) -> str:
        type_ahead(app, "w4")
        await until(pilot, lambda: "WHAT DIFFERS" in screen_text(app))
        return str(app.top.tab)

    assert run_console(script) == "revisions"


def test_typing_ahead_never_confirms() -> None:
    world = World()
    world.typed = False

    async def script(app: Any, pilot: Any) -> None:
        type_ahead(app, "jjry")
        await pilot.pause(0.2)
        await pilot.press("escape")

    run_console(script, world)
    assert len(world.asked) == 1
    assert world.carried == []


def test_help_shows_this_screens_keys_first() -> None:
    text = run_console(press("question_mark"))
    assert text.index("Fleet") < text.index(":restart")
    assert "logs" in text


def test_palette_finds_and_runs() -> None:
    async def script(app: Any, pilot: Any) -> object:
        await pilot.press("ctrl+p", *"sort req", "enter")
        await pilot.pause()
        return app.top.table.order[0]

    assert run_console(script) == "embed-e5"


def test_the_service_named_on_the_command_line_opens_as_soon_as_it_is_known() -> None:
    world = World(frames.connecting())

    async def script(app: Any, pilot: Any) -> tuple[str, str]:
        before = type(app.top).__name__
        world.frame = frames.drawn()
        app.drain()
        await pilot.pause()
        return before, screen_text(app)

    before, text = run_console(script, world, open_service="rerank-v2@us-west-2")
    assert before == "FleetScreen"
    assert "rerank-v2 @ us-west-2" in text


def test_copy_says_where_it_went_and_writes_a_file_only_once(tmp_path: Any) -> None:
    target = tmp_path / "summary.txt"

    async def script(app: Any, pilot: Any) -> list[str]:
        said = []
        for line in ("copy", f"write {target}", f"write {target}"):
            await pilot.press("colon")
            app.top.prompt._edit.set(line)
            await pilot.press("enter")
            await pilot.pause()
            said.append(screen_lines(app)[-1])
        return said

    sent, written, again = run_console(script, size=(160, 40))
    assert "sent to terminal" in sent
    assert "written to" in written
    assert "not written" in again
    text = target.read_text()
    assert "DEGRADED  llama-chat (3 regions) 5/6 ready" in text
    assert "rollout to revision 12 by ci" in text


def test_a_cluster_is_asked_again_on_a_wish() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("colon", *"reconnect us-east-1", "enter")
        await pilot.pause()
        return screen_text(app)

    assert "us-east-1: asked again" in run_console(script, world)
    assert world.reconnected == ["us-east-1"]
