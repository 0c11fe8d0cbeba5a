"""The desk: nothing passes without a permit, and what was cut short is looked after."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.base.errors import GateRefused
from nimify_tui.domain.plans import ActionRequest, ActionState, Permit, Plan, Verb
from nimify_tui.domain.regions import RegionState
from tests.controllers.world import KEY, Bench, plan, run, service

SCALE_3 = ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=3)


def test_a_simulation_writes_nothing_anywhere(bench: Bench) -> None:
    made = run(bench.desk.plan(ActionRequest(verb=Verb.DELETE, targets=(KEY,)), simulation=True))
    assert made.simulation
    with pytest.raises(GateRefused, match="dry run"):
        run(bench.desk.carry_out(made, "y"))
    assert bench.backend.calls == []
    assert bench.kinds() == []


def changes_need_the_gate(bench: Bench, call: Callable[[Plan], Coroutine[Any, Any, Any]]) -> None:
    """Ask the backend as a bypass would: with a permit that no gate made."""
    made = plan(bench, Verb.SCALE, replicas=5)
    before = bench.world.services[KEY]
    try:
        run(call(made))
    except GateRefused:
        pass
    assert bench.world.services[KEY] is before, "the world changed without a permit"


def bypass(bench: Bench) -> Callable[[Plan], Coroutine[Any, Any, Any]]:

    fake = Permit(id="x", plan_id="x", plan_digest="x", actor="x", issued_at=0.0, expires_at=9e9, seal="x")
    return lambda made: bench.controller.send(made, made.request, KEY, fake)


def test_no_change_without_the_gates_permit(bench: Bench) -> None:
    changes_need_the_gate(bench, bypass(bench))


def test_sabotage_without_verify_the_bypass_is_seen(bench: Bench) -> None:
    bench.backend.verify = lambda *_: None
    with pytest.raises(AssertionError, match="without a permit"):
        changes_need_the_gate(bench, bypass(bench))


# -- what was cut short ----------------------------------------------------------------


def cut_short(tmp_path: Path, request: ActionRequest) -> Bench:
    """A console that wrote its begin and died; what comes back is the next one, with its world still untouched."""
    first = Bench(tmp_path)
    first.world.add(service())
    first.gate.authorise(run(first.desk.plan(request)), "y")
    second = Bench(tmp_path)
    second.world.add(service())
    return second


@pytest.mark.parametrize(
    ("now", "state", "words"),
    [
        (service(), ActionState.FAILED, "it was not done"),
        (service(replicas=3, generation=8), ActionState.OK, "runs on 3 of 3: it was done"),
        (service(replicas=9, generation=9), ActionState.UNKNOWN, "not as this action wanted"),
        (None, ActionState.UNKNOWN, "somebody deleted it"),
    ],
)
def test_reality_tells_what_became_of_a_cut_action(
    tmp_path: Path, now: Any, state: ActionState, words: str
) -> None:
    bench = cut_short(tmp_path, SCALE_3)
    if now is None:
        bench.world.services.clear()
    else:
        bench.world.add(now)
    [found] = bench.desk.unfinished()
    checked = run(bench.desk.check(found))
    assert (checked.state, words in checked.reality) == (state, True), checked.reality


def test_reality_of_a_region_that_is_not_seen_is_unknown(tmp_path: Path) -> None:
    bench = cut_short(tmp_path, SCALE_3)
    bench.world.state["local"] = RegionState.DOWN
    [found] = bench.desk.unfinished()
    checked = run(bench.desk.check(found))
    assert checked.state is ActionState.UNKNOWN
    assert "local is DOWN" in checked.reality


def test_continue_goes_through_the_gate_and_settles_it(tmp_path: Path) -> None:
    bench = cut_short(tmp_path, SCALE_3)
    [found] = bench.desk.unfinished()
    made = run(bench.desk.plan(bench.desk.continue_request(found)))
    result = run(bench.desk.carry_out(made, "y", settles=found))
    assert result.state is ActionState.OK
    assert bench.desk.unfinished() == []
    assert bench.kinds()[-1] == "action.resolved"


def test_undo_of_a_cut_action_goes_through_the_gate_and_settles_it(tmp_path: Path) -> None:
    bench = cut_short(tmp_path, SCALE_3)
    bench.world.add(service(replicas=3, generation=8))
    [found] = bench.desk.unfinished()
    made = run(bench.desk.plan(bench.desk.undo_request(found)))
    assert made.summary == "Undo: scale llama-chat to 2 in local"
    run(bench.desk.carry_out(made, "y", settles=found))
    assert bench.world.services[KEY].desired_replicas == 2
    assert bench.desk.unfinished() == []
    assert list(bench.audit.records())[-1]["how"] == "undone"


def test_dismissing_is_recorded(tmp_path: Path) -> None:
    bench = cut_short(tmp_path, SCALE_3)
    [found] = bench.desk.unfinished()
    bench.desk.resolve(found, "dismissed", "seen by ops")
    assert bench.desk.unfinished() == []
