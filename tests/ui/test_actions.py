"""From key to result: every change shows its plan, asks the gate, and can be taken back; read-only sends nothing."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from nimify_tui.base.errors import ClusterError
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Verb
from nimify_tui.ui.widgets.dialog import Dialog
from tests.tui import check_golden, screen_lines, screen_text, until
from tests.ui.world import World, easy, failed, run_console, type_text


# -- plan and confirmation -------------------------------------------------------------------
def test_plan_golden() -> None:
    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("r")
        await pilot.pause()
        return screen_text(app)

    check_golden("plan-80x24", run_console(script, size=(80, 24)))
    check_golden("plan-120x40", run_console(script, size=(120, 40)))


def test_restart_of_one_service_goes_on_with_y_and_offers_undo() -> None:
    world = easy()

    async def script(app: Any, pilot: Any) -> list[str]:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        said = [screen_lines(app)[-1]]
        await pilot.press("u")
        await pilot.pause()
        said.append(screen_text(app))
        return said

    done, undo = run_console(script, world)
    assert world.asked[0].verb is Verb.RESTART
    assert world.asked[0].targets == (ServiceKey("us-west-2", "rerank-v2"),)
    assert [answer for _, answer in world.carried] == ["y"]
    assert "OK restart rerank-v2@us-west-2: 2 of 2 replicas replaced" in done
    assert "u undoes it" in done
    assert world.asked[1].undoes == "p1"
    assert "Rollback rerank-v2 in us-west-2" in undo


@pytest.mark.parametrize("key", ["enter", "space", "n", "escape", "r", "q"])
def test_only_y_confirms(key: str) -> None:
    world = easy()

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        await pilot.press(key, "escape")
        await pilot.pause()

    run_console(script, world)
    assert world.asked
    assert world.carried == []


def test_production_is_confirmed_by_typing_the_name() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> list[int]:
        counts = []
        await pilot.press("r")
        await pilot.pause()
        for text in ("y", "enter"):
            await pilot.press(text)
        counts.append(len(world.carried))
        await pilot.press("backspace")
        await type_text(pilot, "llama-chat")
        counts.append(len(world.carried))
        await pilot.press("enter")
        await pilot.pause()
        counts.append(len(world.carried))
        return counts

    assert run_console(script, world) == [0, 0, 1]
    assert world.carried[0][1] == "llama-chat"
    assert {key.region for key in world.asked[0].targets} == {"eu-west-1", "us-east-1", "us-west-2"}


def test_a_region_row_means_that_region_only() -> None:
    world = easy()

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("right", "down", "down", "r")
        await pilot.pause()
        await pilot.press("escape")

    run_console(script, world)
    assert world.asked[0].targets == (ServiceKey("us-east-1", "llama-chat"),)


def test_cancel_is_told_to_the_gate_and_changes_nothing() -> None:
    world = easy()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("ctrl+d")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        return screen_lines(app)[-1]

    assert "cancelled; nothing was changed" in run_console(script, world)
    assert [each.request.verb for each in world.cancelled] == [Verb.DELETE]


def test_a_plan_names_marked_rows_that_the_filter_hides() -> None:
    world = World()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("down", "down", "space")  # rerank-v2
        await pilot.press("slash")
        await type_text(pilot, "embed")
        await pilot.press("enter", "space", "r")
        await pilot.pause()
        return screen_text(app)

    text = run_console(script, world)
    hidden = (ServiceKey("us-west-2", "rerank-v2"),)
    assert world.asked[0].hidden == hidden
    assert set(hidden) < set(world.asked[0].targets)
    assert "1 marked service that the filter hides: rerank-v2@us-west-2" in text.replace("\n", " ")


def test_scale_asks_for_a_number_and_takes_no_other_word() -> None:
    world = easy()

    async def script(app: Any, pilot: Any) -> list[str]:
        said = []
        await pilot.press("down", "down", "s")
        await pilot.pause()
        said.append(screen_lines(app)[-1])
        await type_text(pilot, "lots")
        await pilot.press("enter")
        await pilot.pause()
        said.append(screen_lines(app)[-1])
        await pilot.press("s", "3", "enter")
        await pilot.pause()
        said.append(screen_text(app))
        await pilot.press("escape")
        return said

    prompt, wrong, plan = run_console(script, world)
    assert "replicas of rerank-v2@us-west-2 in each region, now 2" in prompt
    assert "is not a number of replicas" in wrong
    assert "Scale rerank-v2" in plan
    assert [(each.verb, each.replicas) for each in world.asked] == [(Verb.SCALE, 3)]


def test_stop_or_start_follows_the_state() -> None:
    world = easy()

    async def script(app: Any, pilot: Any) -> None:
        for keys in (("g", "t"), ("G", "t")):
            await pilot.press(*keys)
            await pilot.pause()
            await pilot.press("escape")
            await pilot.pause()

    run_console(script, world)
    assert [each.verb for each in world.asked] == [Verb.STOP, Verb.START]


def test_undo_without_an_action_plans_the_revision_before() -> None:
    world = easy()

    async def script(app: Any, pilot: Any) -> None:
        await pilot.press("down", "down", "u")
        await pilot.pause()
        await pilot.press("escape")

    run_console(script, world)
    assert (world.asked[0].verb, world.asked[0].revision) == (Verb.ROLLBACK, None)


# -- the way of an action --------------------------------------------------------------------
def test_progress_is_shown_until_the_result_and_leaving_is_asked_twice() -> None:
    world = easy()
    world.pending = Future()

    async def script(app: Any, pilot: Any) -> list[object]:
        seen: list[object] = []
        await pilot.press("down", "down", "r")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        app.drain()
        await pilot.pause()
        seen.append(screen_lines(app)[-1])
        await pilot.press("ctrl+c")
        await pilot.pause()
        seen.append(app.is_running and "listed as unfinished" in screen_lines(app)[-1])
        assert world.pending is not None
        world.pending.set_result(world.result(world.carried[0][0]))
        await until(pilot, lambda: "2 of 2 replicas replaced" in screen_text(app))
        return seen

    progress, asked_twice = run_console(script, world)
    assert "1 of 2: new replica is ready" in str(progress)
    assert asked_twice is True


@pytest.mark.parametrize(
    ("state", "word"), [(ActionState.FAILED, "FAILED"), (ActionState.UNKNOWN, "UNKNOWN")]
)
def test_a_result_that_is_not_good_is_said_as_it_is(state: ActionState, word: str) -> None:
    world = easy()
    world.result_state = state

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        return screen_lines(app)[-1]

    assert word in run_console(script, world)


def test_an_error_of_the_plan_is_said_with_its_remedy() -> None:
    world = easy()
    world.plan = lambda request: failed(ClusterError("region us-west-2 is not seen", "wait until it is LIVE"))  # type: ignore[method-assign]  # a broken world

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        return screen_lines(app)[-1]

    text = run_console(script, world)
    assert "region us-west-2 is not seen" in text
    assert "wait until it is LIVE" in text


def test_the_list_of_actions_shows_what_was_done_and_undone() -> None:
    world = easy()

    async def script(app: Any, pilot: Any) -> str:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        await pilot.press("u")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        await pilot.press("U")
        await pilot.pause()
        return screen_text(app)

    text = run_console(script, world)
    assert "UNDONE" in text
    assert "restart rerank-v2@us-west-2" in text


def test_a_dialog_takes_every_key_for_itself() -> None:
    world = easy()

    async def script(app: Any, pilot: Any) -> int:
        await pilot.press("down", "down", "r")
        await pilot.pause()
        assert isinstance(app.screen, Dialog)
        for key in ("s", "ctrl+d", "colon", "U", "n", "1"):
            if isinstance(app.screen, Dialog):
                await pilot.press(key)
        return len(world.asked)

    assert run_console(script, world) == 1


def test_what_floats_leaves_no_keys_in_the_footer_that_do_nothing() -> None:
    """Seen failing without ConsoleScreen.on_screen_suspend: the footer went on offering the fleet's keys."""

    async def script(app: Any, pilot: Any) -> list[str]:
        footers = []
        for keys in (("down", "down"), ("r",), ("escape",), ("question_mark",), ("escape",)):
            await pilot.press(*keys)
            await pilot.pause()
            footers.append(screen_lines(app)[-1].strip())
        return footers

    fleet, plan, back, help_, again = run_console(script, easy())
    assert "r restart" in fleet
    assert (plan, help_) == ("", "")
    assert back == "cancelled; nothing was changed"
    assert again == fleet


def test_results_of_several_name_the_first_that_is_not_good() -> None:
    from nimify_tui.domain.plans import TargetResult
    from nimify_tui.ui.present.plans import result_text

    world = World()
    keys = (ServiceKey("a", "x"), ServiceKey("b", "y"))
    plan = world.plan(ActionRequest(verb=Verb.STOP, targets=keys)).result()
    targets = (
        TargetResult(key=keys[0], state=ActionState.OK, message="stopped"),
        TargetResult(key=keys[1], state=ActionState.FAILED, message="still running"),
    )
    text = result_text(
        plan, ActionResult(plan_id="p1", state=ActionState.FAILED, message="1 of 2", targets=targets)
    )
    assert text == "FAILED stop 2 services: 1 of 2; y@b: still running"
