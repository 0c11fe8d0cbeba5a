"""Stopping an action: what was done is told, what was not is not touched, and nothing more is asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from nimify_tui.domain.plans import ActionResult, ActionState, Plan, Progress, Verb
from tests.controllers.world import KEY, OTHER, Bench, plan, run, service


def two(bench: Bench) -> Plan:
    """A restart of two services that the region accepts, and that is never over by itself."""
    bench.world.add(service(OTHER))
    made = plan(bench, Verb.RESTART, KEY, OTHER)
    bench.backend.instantly = False
    return made


def carried_out(bench: Bench, made: Plan, *, now: bool, at: str = "replaced") -> tuple[ActionResult, list[Progress]]:
    """Carry it out and stop it at the first step that says ``at``."""
    steps: list[Progress] = []

    async def go() -> ActionResult:
        loop = asyncio.get_running_loop()

        def step(progress: Progress) -> None:
            steps.append(progress)
            if at in progress.text and len([each for each in steps if at in each.text]) == 1:
                loop.call_soon(lambda: bench.desk.stop(made.id, now=now))

        return await bench.desk.carry_out(made, bench.gate.review(made).expected, step)

    async def slow_world(timeout_s: float) -> None:
        await asyncio.sleep(0)
        bench.clock.advance(timeout_s)
        if bench.world.script:
            bench.world.script.pop(0)()

    bench.world.changed = slow_world  # type: ignore[method-assign]  # one that lets others run meanwhile
    return run(go()), steps


def done_after(bench: Bench, waits: int) -> None:
    """The first service becomes as wanted after so many waits."""

    def finish() -> None:
        was = bench.world.services[KEY]
        bench.world.add(msgspec.structs.replace(was, observed_generation=was.generation))

    bench.world.script += [lambda: None] * waits
    bench.world.script.append(finish)


def test_stopped_before_the_next_the_current_one_is_watched_to_its_end(bench: Bench) -> None:
    made = two(bench)
    done_after(bench, 5)
    result, steps = carried_out(bench, made, now=False, at="asking the region")
    first, second = result.targets
    assert (first.state, second.state) == (ActionState.OK, ActionState.PLANNED), result
    assert second.message == "not touched: stopped by the operator"
    assert result.state is ActionState.FAILED, "done in part is not what was planned"
    assert "1 of 2 done" in result.message
    assert bench.backend.calls == [f"restart {KEY.name}"]
    assert result.undo == made.undo
    assert bench.kinds()[-1] == "action.end"
    assert steps[-1].ended == ()


@pytest.mark.parametrize("sabotage", [False, True], ids=["stopped", "sabotage: nobody hears the stop"])
def test_stopped_now_it_is_unknown_and_the_next_is_not_touched(
    sabotage: bool, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = two(bench)
    if sabotage:
        monkeypatch.setattr("nimify_tui.controllers.running.Run.stop", lambda *_, **__: None)
    result, _ = carried_out(bench, made, now=True, at="asking the region")
    first, second = result.targets
    if sabotage:
        assert "not done within" in first.message, "it was watched until its deadline"
        return
    assert (first.state, second.state) == (ActionState.UNKNOWN, ActionState.PLANNED), result
    assert "accepted, and the region goes on with it; the operator stopped watching" in first.message
    assert result.state is ActionState.UNKNOWN
    assert bench.backend.calls == [f"restart {KEY.name}"]
    ends = [record for record in bench.audit.records() if record["type"] == "action.end"]
    assert [each["state"] for each in ends] == ["UNKNOWN"]
    assert bench.desk.unfinished() == [], "its end is on the trail"
    assert bench.desk.stop(made.id, now=True) is False


def test_stopped_while_it_is_asked_it_may_have_been_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(bench, Verb.RESTART)

    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(bench.controller, "send", never)
    result, _ = carried_out(bench, made, now=True, at="asking the region")
    assert result.state is ActionState.UNKNOWN
    assert "stopped it while the region was asked: it may have been done" in result.message


def test_a_stopped_soak_says_that_it_was_done(bench: Bench) -> None:
    made = plan(bench, Verb.RESTART, soak_s=60.0, unmeasured=True)
    result, _ = carried_out(bench, made, now=True, at="soaks")
    assert result.state is ActionState.UNKNOWN
    assert result.message.endswith("then the operator ended its soak")
    assert result.undo == made.undo


def test_progress_tells_which_targets_are_over(bench: Bench) -> None:
    bench.world.add(service(OTHER))
    made = plan(bench, Verb.RESTART, KEY, OTHER)
    steps: list[Progress] = []
    run(bench.desk.carry_out(made, "2 services", steps.append))
    assert [each.key for each in steps[-1].ended] == [KEY]
    assert f"{OTHER.row_id} (2 of 2): " in steps[-1].text
