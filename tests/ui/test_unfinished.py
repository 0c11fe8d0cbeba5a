"""What an earlier session left unfinished: told, listed with what is so, settled on record."""

from __future__ import annotations

from typing import Any

import pytest

from nimify_tui.domain.plans import Verb
from tests.tui import check_golden, screen_lines, screen_text
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
