"""Stopping what runs: shown first what is done and what is not, gently before at once, told as it is afterwards."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionResult, ActionState, Progress, TargetResult
from tests.tui import check_golden, screen_lines, screen_text, until
from tests.ui import frames
from tests.ui.world import World, easy, run_console, type_text

KEYS = tuple(ServiceKey(name, "llama-chat") for name in ("eu-west-1", "us-east-1", "us-west-2"))


def running(world: World) -> Any:
    """A restart of three regions that has done the first one, as far as it is seen."""
    world.pending = Future()

    async def begin(app: Any, pilot: Any) -> None:
        await pilot.press("r")
        await pilot.pause()
        await type_text(pilot, "llama-chat")
        await pilot.press("enter")
        await pilot.pause()
        plan = world.carried[0][0]
        first = TargetResult(key=KEYS[0], state=ActionState.OK, message="revision 12 runs on 2 of 2; well for 60 s")
        text = f"{KEYS[1].row_id} (2 of 3): 1 of 2 replaced"
        app.acting._progressed(
            Progress(plan_id=plan.id, at=frames.NOW + 5, text=text, done=1, total=2, ended=(first,))
        )
        app.drain()
        await pilot.pause()

    return begin


def ended(world: World) -> ActionResult:
    """As the desk tells it after a stop."""
    states = (ActionState.OK, ActionState.UNKNOWN, ActionState.PLANNED)
    words = ("well", "accepted; the operator stopped watching", "not touched: stopped by the operator")
    plan = world.carried[0][0]
    targets = tuple(
        TargetResult(key=key, state=state, message=text)
        for key, state, text in zip(plan.request.targets, states, words, strict=True)
    )
    return ActionResult(
        plan_id=plan.id, state=ActionState.UNKNOWN, message="1 of 3 done", targets=targets, undo=plan.undo
    )


def test_it_is_asked_first_then_stops_before_the_next_then_at_once() -> None:
    world = World()
    begin = running(world)

    async def script(app: Any, pilot: Any) -> list[str]:
        await begin(app, pilot)
        seen = [screen_lines(app)[-1]]
        await pilot.press("X")
        await pilot.pause()
        seen.append(screen_text(app))
        await pilot.press("escape")
        await pilot.pause()
        assert world.stopped == [], "esc lets it go on"
        await pilot.press("X", "y")
        await pilot.pause()
        assert world.stopped == [("p1", False)]
        app.clear_notice()
        app.drain()
        await pilot.pause()
        seen.append(screen_lines(app)[-1])
        await pilot.press("X")
        await pilot.pause()
        seen.append(screen_text(app))
        await pilot.press("y")
        await pilot.pause()
        assert world.stopped == [("p1", False), ("p1", True)]
        assert world.pending is not None
        world.pending.set_result(ended(world))
        await until(pilot, lambda: "UNKNOWN restart" in screen_lines(app)[-1])
        await pilot.press("U")
        await pilot.pause()
        seen.append(screen_text(app))
        return seen

    line, asked, waits, again, listed = run_console(script, world, size=(120, 40))
    assert "1 of 2: llama-chat@us-east-1 (2 of 3): 1 of 2 replaced" in line
    assert "X stops it" in line
    assert "OK          llama-chat@eu-west-1: revision 12 runs on 2 of 2" in asked
    assert "RUNNING     llama-chat@us-east-1 (2 of 3)" in asked
    assert "to come     llama-chat@us-west-2" in asked
    assert "no further one is touched" in asked
    assert "y stops before the next" in asked
    assert "stops before the next" in waits
    assert "recorded as UNKNOWN" in again
    assert "y stops watching it" in again
    assert "not touched llama-chat@us-west-2: stopped by the operator" in listed
    assert "UNKNOWN     llama-chat@us-east-1: accepted" in listed
    check_golden("stopped-120x40", listed)


def test_the_running_action_is_on_the_list_and_is_stopped_there() -> None:
    world = World()
    begin = running(world)

    async def script(app: Any, pilot: Any) -> str:
        await begin(app, pilot)
        await pilot.press("U")
        await pilot.pause()
        text = screen_text(app)
        await pilot.press("x", "y")
        await pilot.pause()
        return text

    text = run_console(script, world, size=(80, 24))
    assert "1 running" in text
    assert "RUNNING" in text
    assert world.stopped == [("p1", False)]


def test_of_one_target_a_stop_ends_the_watching() -> None:
    world = easy()
    world.pending = Future()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        await pilot.press("X")
        await pilot.pause()
        text = screen_text(app)
        await pilot.press("y")
        await pilot.pause()
        return text

    assert "nothing more is asked for" in run_console(script, world)
    assert world.stopped == [("p1", True)]


def test_nothing_runs_nothing_is_stopped() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("X")
        await pilot.pause()
        return screen_lines(app)[-1]

    assert "nothing is being carried out" in run_console(script, world)
    assert world.stopped == []


def test_what_failed_half_way_offers_its_undo() -> None:
    world = easy()
    world.result_state = ActionState.FAILED

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        return screen_lines(app)[-1]

    said = run_console(script, world)
    assert "FAILED restart" in said
    assert "u undoes it" in said
