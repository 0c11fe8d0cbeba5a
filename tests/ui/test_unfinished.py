"""What an earlier session left unfinished: told, listed with what is so, settled on record."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nimify_tui.domain.plans import Verb
from tests.tui import check_golden, screen_lines, screen_text, until
from tests.ui.world import easy, run_console, unfinished


def test_what_was_cut_short_is_told_on_the_first_screen_and_listed_with_what_is_so() -> None:
    world = easy()
    world.left_unfinished = [unfinished(world)]

    async def script(app: Any, pilot: Any) -> list[str]:
        await pilot.pause()
        first = screen_text(app)
        await pilot.press("U")
        await pilot.pause()
        return [first, screen_text(app)]

    first, listed = run_console(script, world, size=(120, 40))
    assert "1 action of an earlier session was cut short: U shows" in first
    assert "restart rerank-v2@us-west-2" in listed
    assert "1 of 2 replaced" in listed
    check_golden("unfinished-120x40", listed)


@pytest.mark.parametrize(("key", "verb"), [("o", Verb.RESTART), ("u", Verb.ROLLBACK)])
def test_an_unfinished_action_is_continued_or_undone_through_a_plan(key: str, verb: Verb) -> None:
    world = easy()
    world.left_unfinished = [unfinished(world)]

    async def script(app: Any, pilot: Any) -> int:
        await pilot.pause()
        await pilot.press("U", key)
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        return len(app.acting.unfinished)

    assert run_console(script, world) == 0
    assert [each.verb for each in world.asked] == [verb]
    assert world.settled == [world.left_unfinished[0]]


@pytest.mark.parametrize(("key", "how"), [("z", "dismissed"), ("f", "done")])
def test_an_unfinished_action_is_put_aside_on_record(key: str, how: str) -> None:
    world = easy()
    world.left_unfinished = [unfinished(world)]

    async def script(app: Any, pilot: Any) -> str:
        await pilot.pause()
        await pilot.press("U", "enter")
        await pilot.pause()
        checked = screen_lines(app)[-1]
        await pilot.press(key)
        await pilot.pause()
        return checked

    assert "1 of 2 replaced" in run_console(script, world)
    assert [each[1] for each in world.resolved] == [how]
    assert world.asked == []


def test_an_action_of_an_earlier_session_that_is_taken_back_is_listed_as_undone() -> None:
    world = easy()
    cut = unfinished(world)
    assert cut.plan.undo is not None
    undo = msgspec.structs.replace(cut.plan.undo, undoes="old-1")
    plan = msgspec.structs.replace(cut.plan, id="old-1", undo=undo)
    world.left_unfinished = [msgspec.structs.replace(cut, plan=plan, actor="night@bastion-2")]

    async def script(app: Any, pilot: Any) -> list[str]:
        await pilot.pause()
        await pilot.press("U", "u")
        await pilot.pause()
        await pilot.press("y")
        await until(pilot, lambda: "UNDONE" in screen_text(app))
        return screen_lines(app)

    lines = run_console(script, world, size=(160, 40))
    [undone] = [line for line in lines if "UNDONE" in line]
    assert "restart rerank-v2@us-west-2" in undone
    assert "undone by ops@bastion-1 at 18:42:" in undone
    assert "night@bastion-2" in undone
    [back] = [line for line in lines[:-1] if "rollback rerank-v2" in line]
    assert "OK" in back
    assert "0 to decide" in "\n".join(lines)
