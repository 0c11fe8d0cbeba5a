"""The desk: plans say what will happen, actions end as the world does, and nothing is done twice or unseen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nimify_tui.base.errors import ClusterError, GateRefused, ModelError, NetworkError, ValidationError
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionState, Permit, Plan, Progress, Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import Limits, ReplicaState, ServiceSpec
from tests.controllers.world import KEY, Bench, replica, service

OTHER = ServiceKey("local", "embed-e5")
SCALE_3 = ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=3)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.world.add(service())
    return made


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def plan(bench: Bench, verb: Verb, *keys: ServiceKey, **fields: Any) -> Plan:
    made = run(bench.desk.plan(ActionRequest(verb=verb, targets=keys or (KEY,), **fields)))
    assert isinstance(made, Plan)
    return made


def fact(made: Plan, label: str) -> str:
    return " | ".join(text for name, text in made.facts if name == label)


def model(tmp_path: Path, content: bytes = b"model") -> ServiceSpec:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    return ServiceSpec(model_path=str(path))


# -- plans -----------------------------------------------------------------------------


def test_a_plan_of_a_scaling_says_what_happens_and_how_it_is_undone(bench: Bench) -> None:
    made = plan(bench, Verb.SCALE, replicas=4)
    assert made.summary == "Scale llama-chat to 4 in local"
    assert fact(made, "objects") == "service llama-chat, 2 of 2 replicas ready, revision 3"
    assert fact(made, "change") == "replicas 2 → 4"
    assert fact(made, "capacity") == "the 2 that serve go on; 2 more start beside them"
    assert fact(made, "start") == "last start took 2.5 s"
    assert fact(made, "undo") == "scale back to 2"
    assert [(line.mark, line.text) for line in made.diff][:2] == [("-", "replicas: 2"), ("+", "replicas: 4")]
    assert made.preconditions[0] == (made.preconditions[0].__class__)(KEY, "u1", 7)
    assert made.undo is not None
    assert (made.undo.verb, made.undo.replicas, made.undo.undoes) == (Verb.SCALE, 2, made.id)


def test_a_restart_keeps_all_replicas_serving_and_needs_no_undo(bench: Bench) -> None:
    made = plan(bench, Verb.RESTART)
    assert "2 of 2 serve all the time" in fact(made, "capacity")
    assert made.undo is None
    assert "none needed" in fact(made, "undo")


def test_a_rollback_goes_to_the_revision_before_and_back(bench: Bench) -> None:
    made = plan(bench, Verb.ROLLBACK)
    assert made.request.revision == 2
    assert "new revision 4 with the content of revision 2" in fact(made, "change")
    assert "33333333 → 22222222" in fact(made, "change")
    assert made.undo is not None
    assert (made.undo.verb, made.undo.revision) == (Verb.ROLLBACK, 3)


def test_an_update_names_the_new_model_by_its_hash(bench: Bench, tmp_path: Path) -> None:
    spec = msgspec.structs.replace(model(tmp_path), limits=Limits(threads=2))
    made = plan(bench, Verb.UPDATE, spec=spec)
    assert made.request.spec is not None
    assert made.request.spec.model_sha256.startswith("9372c470eeadd5ec")  # sha256 of b"model"
    assert "limits.threads 1 → 2" in fact(made, "change")
    assert any(line.mark == "+" and "9372c470" in line.text for line in made.diff)
    assert made.undo is not None
    assert (made.undo.verb, made.undo.revision) == (Verb.ROLLBACK, 3)


def test_a_create_shows_the_model_and_is_undone_by_a_delete(bench: Bench, tmp_path: Path) -> None:
    made = plan(bench, Verb.CREATE, OTHER, spec=model(tmp_path), replicas=2)
    assert "m.onnx, 5 B" in fact(made, "model")
    assert all(line.mark == "+" for line in made.diff)
    assert made.preconditions[0].uid == ""
    assert made.undo is not None
    assert made.undo.verb is Verb.DELETE


def test_a_delete_is_undone_from_the_kept_model_or_says_that_it_cannot(bench: Bench, tmp_path: Path) -> None:
    made = plan(bench, Verb.DELETE)
    assert made.destructive
    assert made.undo is None
    assert "cannot be undone" in fact(made, "undo")
    kept = tmp_path / "kept.onnx"
    kept.write_bytes(b"x")
    bench.controller._kept_model = lambda region, sha256: kept if sha256 == "3" * 64 else None
    made = plan(bench, Verb.DELETE)
    assert made.undo is not None
    assert made.undo.spec is not None
    assert (made.undo.verb, made.undo.replicas, made.undo.spec.model_path) == (Verb.CREATE, 2, str(kept))


def test_many_targets_get_one_line_each_and_one_undo_each(bench: Bench) -> None:
    bench.world.add(service(OTHER, replicas=3))
    made = plan(bench, Verb.SCALE, KEY, OTHER, replicas=5, hidden=(OTHER,))
    assert made.summary == "Scale 2 services to 5 in local"
    assert "embed-e5@local: replicas 3 → 5" in fact(made, "change")
    assert fact(made, "hidden") == "marked and not shown by the filter: embed-e5@local"
    assert made.undo is not None
    assert [made.undo.part_for(key).replicas for key in (KEY, OTHER)] == [2, 3]


def test_targets_that_are_as_wanted_are_left_out_and_named(bench: Bench) -> None:
    bench.world.add(service(OTHER, replicas=5))
    made = plan(bench, Verb.SCALE, KEY, OTHER, replicas=5)
    assert made.request.targets == (KEY,)
    assert fact(made, "unchanged") == "embed-e5@local has 5 replicas already"
    with pytest.raises(ValidationError, match="has 5 replicas already"):
        plan(bench, Verb.SCALE, OTHER, replicas=5)


@pytest.mark.parametrize(
    ("verb", "fields", "words"),
    [
        (Verb.SCALE, {"replicas": -1}, "use a number from 0 to 64"),
        (Verb.SCALE, {"replicas": 65}, "use a number from 0 to 64"),
        (Verb.SCALE, {}, "is missing"),
        (Verb.ROLLBACK, {"revision": 9}, "there are: 1, 2, 3"),
        (Verb.ROLLBACK, {"revision": 3}, "already"),
        (Verb.START, {}, "is started already"),
        (Verb.UPDATE, {}, "nothing to change is given"),
        (Verb.CREATE, {"replicas": 1}, "already"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_in_words(
    bench: Bench, verb: Verb, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        plan(bench, verb, **fields)
    assert words in str(caught.value)


def test_bad_names_models_and_limits_are_refused_in_words(bench: Bench, tmp_path: Path) -> None:
    good = model(tmp_path)
    with pytest.raises(ValidationError, match="not a valid name"):
        plan(bench, Verb.CREATE, ServiceKey("local", "Bad_Name"), spec=good)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        plan(bench, Verb.CREATE, OTHER, spec=ServiceSpec(model_path=str(tmp_path / "none.onnx")))
    with pytest.raises(ModelError, match="no regular file"):
        plan(bench, Verb.CREATE, OTHER, spec=ServiceSpec(model_path=str(tmp_path)))
    with pytest.raises(ValidationError, match="threads = 0"):
        plan(bench, Verb.CREATE, OTHER, spec=msgspec.structs.replace(good, limits=Limits(threads=0)))
    with pytest.raises(ModelError, match="not the one"):
        plan(bench, Verb.CREATE, OTHER, spec=msgspec.structs.replace(good, model_sha256="0" * 64))
    with pytest.raises(ValidationError, match="there is no service"):
        plan(bench, Verb.STOP, OTHER)


@pytest.mark.parametrize(
    "state", [RegionState.DOWN, RegionState.STALE, RegionState.CONNECTING, RegionState.AUTH]
)
def test_nothing_is_planned_for_a_region_that_is_not_seen(bench: Bench, state: RegionState) -> None:
    bench.world.state["local"] = state
    with pytest.raises(NetworkError, match=f"local is {state}"):
        plan(bench, Verb.RESTART)
    bench.world.state["local"] = RegionState.THROTTLED
    assert plan(bench, Verb.RESTART).request.targets == (KEY,)


# -- actions ---------------------------------------------------------------------------


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
