"""The desk: actions end as the world does, and nothing is done twice or unseen."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.base.errors import ClusterError, NetworkError, ValidationError
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Permit, Plan, Progress, Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ReplicaState
from tests.controllers.world import KEY, OTHER, Bench, model, plan, replica, run, service

SCALE_3 = ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=3)


def test_each_verb_ends_ok_and_its_undo_brings_the_old_state_back(bench: Bench, tmp_path: Path) -> None:
    async def there_and_back(request: ActionRequest) -> None:
        before = bench.world.services[KEY]
        made = await bench.desk.plan(request)
        result = await bench.desk.carry_out(made, "y")
        assert result.state is ActionState.OK, result
        assert result.undo is not None
        undone = await bench.desk.carry_out(await bench.desk.plan(result.undo), "y")
        assert undone.state is ActionState.OK, undone
        after = bench.world.services[KEY]
        current = [next(r for r in s.revisions if r.number == s.revision).spec for s in (before, after)]
        assert (before.desired_replicas, before.stopped) == (after.desired_replicas, after.stopped)
        assert current[0] == current[1]

    for request in (
        ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=5),
        ActionRequest(verb=Verb.STOP, targets=(KEY,)),
        ActionRequest(verb=Verb.ROLLBACK, targets=(KEY,), revision=1),
        ActionRequest(verb=Verb.UPDATE, targets=(KEY,), spec=model(tmp_path)),
    ):
        run(there_and_back(request))
    assert bench.kinds().count("action.begin") == bench.kinds().count("action.end") == 8


def test_progress_tells_each_step_once_until_the_world_agrees(bench: Bench) -> None:
    bench.backend.instantly = False
    made = plan(bench, Verb.SCALE, replicas=3)

    def starting() -> None:
        bench.world.running[KEY].append(replica(KEY, "llama-chat-2", 3, ReplicaState.STARTING))

    def ready() -> None:
        bench.world.running[KEY][-1] = replica(KEY, "llama-chat-2", 3)
        now = bench.world.services[KEY]
        bench.world.services[KEY] = msgspec.structs.replace(now, observed_generation=now.generation)

    bench.world.script = [lambda: None, starting, lambda: None, ready]
    steps: list[Progress] = []
    result = run(bench.desk.carry_out(made, "y", steps.append))
    assert result.state is ActionState.OK
    assert [(step.text, step.done, step.total) for step in steps] == [
        ("asking the region", 0, 0),
        ("2 of 3 ready", 2, 3),
        ("revision 3 runs on 3 of 3", 3, 3),
    ]


def test_what_never_becomes_ready_fails_with_the_replicas_own_words(bench: Bench) -> None:
    bench.backend.instantly = False
    made = plan(bench, Verb.SCALE, replicas=3)
    broken = replica(KEY, "llama-chat-2", 3, ReplicaState.BACKOFF)
    broken = msgspec.structs.replace(broken, reason="exit code 1", last_words="no such operator")
    bench.world.script = [lambda: bench.world.running[KEY].append(broken)]
    result = run(bench.desk.carry_out(made, "y"))
    assert result.state is ActionState.FAILED
    assert "not done within 180 s" in result.message
    assert "exit code 1 (no such operator)" in result.message
    assert result.undo is not None


def test_a_failure_that_the_region_reports_ends_it_at_once(bench: Bench) -> None:
    bench.backend.instantly = False
    made = plan(bench, Verb.SCALE, replicas=3)

    def fail() -> None:
        now = bench.world.services[KEY]
        bench.world.services[KEY] = msgspec.structs.replace(
            now, failure="revision 3 does not start: exit code 1"
        )

    bench.world.script = [fail]
    result = run(bench.desk.carry_out(made, "y"))
    assert (result.state, result.message) == (ActionState.FAILED, "revision 3 does not start: exit code 1")


def test_a_refusal_of_the_region_fails_and_ends_the_record(bench: Bench) -> None:
    made = plan(bench, Verb.SCALE, replicas=3)
    bench.backend.error = ValidationError("changed since the plan was made", "plan again")
    result = run(bench.desk.carry_out(made, "y"))
    assert (result.state, result.message) == (
        ActionState.FAILED,
        "changed since the plan was made: plan again",
    )
    assert bench.kinds()[-1] == "action.end"


def test_a_lost_answer_is_looked_up_and_never_asked_again(bench: Bench) -> None:
    made = plan(bench, Verb.SCALE, replicas=3)
    bench.backend.error = NetworkError("the connection broke off")

    def it_was_done() -> None:
        bench.world.add(service(replicas=3, generation=8))

    bench.world.script = [lambda: None, it_was_done]
    result = run(bench.desk.carry_out(made, "y"))
    assert result.state is ActionState.OK
    assert "it was done" in result.message
    assert bench.backend.calls == ["apply llama-chat"]


def test_a_lost_answer_that_changed_nothing_is_failed_and_one_that_cannot_be_told_unknown(
    bench: Bench,
) -> None:
    bench.backend.error = NetworkError("the connection broke off")
    result = run(bench.desk.carry_out(plan(bench, Verb.SCALE, replicas=3), "y"))
    assert result.state is ActionState.FAILED
    assert "nothing has changed since" in result.message

    made = plan(bench, Verb.SCALE, replicas=3)

    def gone() -> None:
        bench.world.state["local"] = RegionState.DOWN

    bench.world.script = [gone]
    result = run(bench.desk.carry_out(made, "y"))
    assert result.state is ActionState.UNKNOWN
    assert "may have been done" in result.message
    assert bench.backend.calls == ["apply llama-chat"] * 2


def test_contact_lost_after_the_answer_is_unknown(bench: Bench) -> None:
    bench.backend.instantly = False
    made = plan(bench, Verb.SCALE, replicas=3)

    def gone() -> None:
        bench.world.state["local"] = RegionState.DOWN

    bench.world.script = [gone]
    result = run(bench.desk.carry_out(made, "y"))
    assert result.state is ActionState.UNKNOWN
    assert "no contact with local" in result.message
    assert bench.world.waits < 40


def test_a_cancelled_watch_is_recorded_as_unknown(bench: Bench) -> None:
    bench.backend.instantly = False

    async def cancel() -> None:
        made = await bench.desk.plan(ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=3))
        started = asyncio.Event()

        async def changed(timeout_s: float) -> None:
            started.set()
            await asyncio.Event().wait()

        bench.world.changed = changed  # type: ignore[method-assign]  # the test stands in its way
        task = asyncio.create_task(bench.desk.carry_out(made, "y"))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancel())
    record = list(bench.audit.records())[-1]
    assert (record["type"], record["state"]) == ("action.end", "UNKNOWN")
    assert bench.gate.unfinished() == []


def test_cancelled_while_the_begin_is_written_is_closed_as_not_touched(bench: Bench) -> None:
    begun, go_on = threading.Event(), threading.Event()
    real = bench.gate.authorise

    def slow(plan: Plan, answer: str) -> Permit:
        permit = real(plan, answer)
        begun.set()
        assert go_on.wait(10.0)
        return permit

    bench.gate.authorise = slow  # type: ignore[method-assign]  # the test stands in its way

    async def cancel() -> None:
        made = await bench.desk.plan(SCALE_3)
        task = asyncio.create_task(bench.desk.carry_out(made, "y"))
        assert await asyncio.to_thread(begun.wait, 10.0)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancel())
    assert bench.kinds()[-2:] == ["action.begin", "action.end"]
    assert bench.backend.calls == []
    assert bench.gate.unfinished() == []


def test_targets_go_one_by_one_and_stop_at_the_first_that_ends_badly(bench: Bench) -> None:
    bench.world.add(service(OTHER))
    third = ServiceKey("local", "zz")
    bench.world.add(service(third))
    made = plan(bench, Verb.RESTART, KEY, OTHER, third)
    real = bench.backend.restart

    async def second_fails(name: str, uid: str, generation: int, **rest: Any) -> Any:
        if name == OTHER.name:
            raise ClusterError("no room on this machine")
        return await real(name, uid, generation, **rest)

    bench.backend.restart = second_fails  # type: ignore[method-assign]  # the test stands in its way
    steps: list[Progress] = []
    result = run(bench.desk.carry_out(made, "3 services", steps.append))
    assert [target.state for target in result.targets] == [
        ActionState.OK,
        ActionState.FAILED,
        ActionState.PLANNED,
    ]
    assert result.state is ActionState.FAILED
    assert result.message == "1 of 3 done; embed-e5@local: no room on this machine"
    assert "zz" not in str(bench.backend.calls)
    assert steps[0].text == "llama-chat@local (1 of 3): asking the region"


def test_an_action_that_was_taken_back_is_undone_on_the_trail(bench: Bench) -> None:
    done = run(bench.desk.carry_out(plan(bench, Verb.SCALE, replicas=4), "y"))
    back = run(bench.desk.carry_out(run(bench.desk.plan(done.undo)), "y"))
    assert back.state is ActionState.OK
    *_, ended, undone = bench.audit.records()
    assert (ended["type"], ended["undoes"]) == ("action.end", done.plan_id)
    assert (undone["type"], undone["plan_id"], undone["state"]) == ("action.undone", done.plan_id, "UNDONE")
    assert (undone["actor"], undone["undone_by_plan"]) == ("ops@host", back.plan_id)
    assert undone["ts"] >= ended["ts"]


def test_an_undo_that_failed_leaves_the_action_as_it_was(bench: Bench) -> None:
    """Sabotage: without the gate's look at the result's state the record "action.undone" appears here."""
    done = run(bench.desk.carry_out(plan(bench, Verb.SCALE, replicas=4), "y"))
    undo = run(bench.desk.plan(done.undo))
    bench.backend.error = ClusterError("no room")
    assert run(bench.desk.carry_out(undo, "y")).state is ActionState.FAILED
    assert "action.undone" not in bench.kinds()
