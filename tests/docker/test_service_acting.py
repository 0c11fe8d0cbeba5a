"""A service behind a front is changed by its operator: plan, gate, confirmation, progress, undo and audit trail.

On a real engine with a real model, whose answers are compared with onnxruntime's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.base.errors import ClusterError, GateRefused, ValidationError
from nimify_tui.controllers.docker.replicas import Replicas
from nimify_tui.domain.plans import ActionState, Plan, Verb
from nimify_tui.domain.regions import RegionState
from tests.docker.acting import Acting, acting, fact, region_toml, write_config
from tests.docker.behind import Service
from tests.docker.conftest import Runtime
from tests.docker.engine import Engine
from tests.support import Home, run_python, wait_for


@pytest.fixture
def config(engine: Engine, tmp_path: Path) -> Path:
    """The engine of the tests as a region that may be changed, and as one that may not."""
    closed = region_toml("closed", url=engine.url, read_write=False)
    return write_config(tmp_path, region_toml("dock", url=engine.url), closed)


@pytest.fixture
def desk(service: Service, runtime: Runtime, config: Path) -> Iterator[Acting]:
    """A session that sees two replicas of ``digits`` behind their front."""
    service.create(runtime.images[0], 2)
    with acting(config, "dock") as made:
        ready(made, 2)
        yield made


def ready(desk: Acting, number: int) -> None:
    """Wait for the row to say so."""
    desk.until(
        lambda: (row := desk.row("digits")) and (row.ready, row.desired) == (number, number), f"{number} ready"
    )


def ends(desk: Acting, plan: Plan) -> list[str]:
    """What the audit trail says of a plan, event by event."""
    return [str(record["type"]) for record in desk.trail() if plan.id in json.dumps(record, default=str)]


def diff(plan: Plan) -> list[str]:
    return [f"{line.mark} {line.text}" for line in plan.diff]


def test_a_service_is_scaled_from_plan_to_undo(
    desk: Acting, service: Service, runtime: Runtime, engine: Engine
) -> None:
    image = runtime.images[0]
    plan = desk.plan(Verb.SCALE, "digits", replicas=3)
    assert plan.summary == "Scale digits to 3 in dock"
    assert fact(plan, "objects") == (
        "service behind digits-front, 2 containers (digits-r1-1, digits-r1-2), 2 of 2 serving"
    )
    assert fact(plan, "change") == "replicas 2 → 3"
    assert fact(plan, "capacity") == "2 of 2 serve all the time; 1 more starts beside, asked when healthy"
    assert "image (nimify-test/digits:1)" in fact(plan, "copy")
    assert fact(plan, "undo") == "scale back to 2"
    assert diff(plan) == ["- replicas: 2", "+ replicas: 3", f"+ digits-r1-3: running, {image}"]
    with pytest.raises(GateRefused):
        desk.do(plan, "no")
    assert service.names() == ["digits-r1-1", "digits-r1-2"], "a plan and a refused answer change nothing"
    plan = desk.plan(Verb.SCALE, "digits", replicas=3)
    grown = desk.do(plan)
    assert (grown.state, grown.message) == (ActionState.OK, "3 of 3 serve behind digits-front"), desk.said
    assert any("starts replica 3 of 3" in text for text in desk.said)
    assert ends(desk, plan) == ["action.begin", "action.end"]
    ready(desk, 3)
    with pytest.raises(ValidationError, match="has 3 replicas already"):
        desk.plan(Verb.SCALE, "digits", replicas=3)
    # The new one alone serves, too: the front knows it.
    engine.docker("stop", "-t", "0", "digits-r1-1", "digits-r1-2")
    wait_for(service.served, 60, why="the third replica's answers")
    service.answers(runtime.models[0])
    engine.docker("start", "digits-r1-1")
    engine.docker("start", "digits-r1-2")
    ready(desk, 3)
    assert grown.undo is not None
    back = desk.session.plan(grown.undo).result(30)
    assert "digits-r1-3" in "".join(diff(back))
    assert fact(back, "lost") == "what it wrote outside of volumes, and its log"
    assert "no new request, up to 60 s for those it has" in fact(back, "stop")
    undone = desk.do(back)
    assert undone.state is ActionState.OK, undone
    assert service.names() == ["digits-r1-1", "digits-r1-2"]
    assert ends(desk, plan)[-1] == "action.undone"
    service.answers(runtime.models[0])


def test_where_nothing_may_be_changed_nothing_is_scaled(desk: Acting, service: Service) -> None:
    """Sabotage: a gate whose ``_refusal`` does not ask for ``read_write`` makes a third replica here."""
    closed = Acting(desk.session, "closed")
    closed.until_state(RegionState.LIVE)
    closed.until(lambda: closed.session.service(closed.key("digits")), "the same service in the other region")
    plan = closed.plan(Verb.SCALE, "digits", replicas=3)
    assert "region closed is read-only" in desk.session.review(plan).reason
    with pytest.raises(GateRefused, match="read-only"):
        closed.do(plan)
    assert service.names() == ["digits-r1-1", "digits-r1-2"]
    assert "action.refused" in ends(closed, plan)


def test_a_scaling_that_was_planned_for_other_replicas_is_not_done(desk: Acting, service: Service) -> None:
    """Sabotage: without the comparison of ``identity`` in send there are four replicas at the end."""
    plan = desk.plan(Verb.SCALE, "digits", replicas=4)
    service.do(lambda it: it.scale(3))
    result = desk.do(plan)
    assert result.state is ActionState.FAILED
    assert "digits has other containers now" in result.message
    assert len(service.names()) == 3


def test_a_scaling_that_fails_or_is_stopped_leaves_what_there_was(
    desk: Acting, service: Service, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sabotage: without ``_withdraw`` on the way out a third replica stays."""
    healthy, stopping = Replicas._healthy, [False]

    async def third_fails(self: Replicas, container: str) -> Any:
        found = await healthy(self, container)
        if found.name == "digits-r1-3":
            if stopping[0]:
                plan_id = self._leave.plan.id
                assert desk.session._desk.stop(plan_id, now=True)
                await self._until(_never, 30, "it was not stopped")
            raise ClusterError("digits-r1-3 does not pass its health check")
        return found

    async def _never() -> bool:
        return False

    monkeypatch.setattr(Replicas, "_healthy", third_fails)
    result = desk.do(desk.plan(Verb.SCALE, "digits", replicas=3))
    assert (result.state, result.undo) == (ActionState.FAILED, None)
    assert "digits-r1-3 does not pass its health check" in result.message
    assert service.names() == ["digits-r1-1", "digits-r1-2"]
    stopping[0] = True
    plan = desk.plan(Verb.SCALE, "digits", replicas=3)
    stopped = desk.do(plan)
    assert stopped.state is ActionState.UNKNOWN
    assert "seen last: goes on with the 2 that served before" in stopped.message
    assert service.names() == ["digits-r1-1", "digits-r1-2"]
    assert ends(desk, plan) == ["action.begin", "action.end"]
    service.answers(runtime.models[0])


def test_a_restart_asks_one_replica_after_the_other_without_a_lost_request(
    desk: Acting, service: Service, engine: Engine, runtime: Runtime
) -> None:
    before = {name: engine.inspect(name)["State"]["StartedAt"] for name in service.names()}

    def restart() -> None:
        result = desk.do(desk.plan(Verb.RESTART, "digits"))
        assert result.state is ActionState.OK, (result, desk.said)

    assert service.under_load(restart, 6000) == []
    after = {name: engine.inspect(name)["State"]["StartedAt"] for name in service.names()}
    assert all(after[name] != before[name] for name in before)
    # Stopped and started they may have each other's addresses: the front is told.
    stopped = desk.act(Verb.STOP, "digits")
    desk.undo(stopped)
    wait_for(service.served, 60, why="its answers")
    service.answers(runtime.models[0])


def test_what_has_no_front_says_how_it_is_counted(engine: Engine, config: Path, home: Home) -> None:
    labels = ("com.docker.compose.project=shop", "com.docker.compose.service=web")
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "alone")
        engine.run("--name", "shop-web-1", *(part for each in labels for part in ("--label", each)))
        for name, remedy in (("alone", "nimify-tui deploy"), ("shop-web", "compose up --detach --scale web=2")):
            desk.until_row(name, state="OK")
            with pytest.raises(ValidationError, match="has no front") as caught:
                desk.plan(Verb.SCALE, name, replicas=2)
            assert remedy in caught.value.remedy


def test_the_command_line_scales(desk: Acting, service: Service, config: Path, home: Home) -> None:
    done = run_python(
        "-m", "nimify_tui", "scale", "digits@dock", "--replicas", "3", "--yes", "--config", str(config),
        "--region", "dock", env=home.env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(service.names()) == 3
