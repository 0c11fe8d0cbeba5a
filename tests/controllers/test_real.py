"""The desk on a real supervisor with real replicas: every verb, its undo, and what a killed console leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from nimify_tui.backends.local import LocalBackend, ensure_supervisor, kept_model
from nimify_tui.base.audit import AuditLog, AuditPlaces
from nimify_tui.base.audit_check import verify
from nimify_tui.base.clock import SystemClock
from nimify_tui.base.errors import GateRefused
from nimify_tui.base.files import state_home
from nimify_tui.controllers.desk import ActionDesk
from nimify_tui.controllers.infer import first_answer
from nimify_tui.controllers.local import LocalController
from nimify_tui.controllers.mirror import Mirror
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, ActionResult, ActionState, Permit, Plan, Verb
from nimify_tui.domain.regions import RegionKind, RegionState
from nimify_tui.domain.services import Limits, ServiceSpec
from nimify_tui.gate.gate import Gate
from nimify_tui.gate.journal import Journal
from nimify_tui.gate.policy import GatePolicy, make_region
from nimify_tui.sources.local.region import EmbeddedSource
from tests.support import PYTHON, REPO

KEY = ServiceKey("local", "adder")


def adder(folder: Path, constant: float) -> str:
    """A model that adds ``constant``: the answer tells which revision gave it."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "c"], ["y"])],
        "adder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor("c", TensorProto.FLOAT, [1], [constant])],
    )
    path = folder / f"adder-{constant:g}.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return str(path)


class Console:
    """Gate, desk, mirror and source of one console on the embedded region "local"."""

    def __init__(self, socket: Path, state_dir: Path, policy: GatePolicy | None = None) -> None:
        self.clock = SystemClock()
        self.region = make_region("local", RegionKind.EMBEDDED, f"unix:{socket}")
        self.places = AuditPlaces.default()
        self.audit = AuditLog(self.places, self.clock)
        find = {"local": self.region}.get
        self.gate = Gate(
            policy or GatePolicy(), find, Journal(self.audit, self.clock), self.clock, "ops@test"
        )
        self.backend = LocalBackend(socket, self.gate.verify)
        self.mirror = Mirror()
        controller = LocalController(lambda _: self.backend, lambda _, sha256: kept_model(state_dir, sha256))
        controllers = {RegionKind.EMBEDDED: controller}
        self.desk = ActionDesk(self.gate, controllers, self.mirror, self.clock, target_deadline_s=60.0)

    async def live(self) -> asyncio.Task[None]:
        source = EmbeddedSource(self.region, self.backend, self.clock)
        task = asyncio.create_task(source.run(self.mirror.apply))
        async with asyncio.timeout(20.0):
            while (seen := self.mirror.region("local")) is None or seen[1].state is not RegionState.LIVE:
                await self.mirror.changed(1.0)
        return task

    async def act(self, request: ActionRequest, answer: str = "y") -> ActionResult:
        said: list[str] = []
        plan = await self.desk.plan(request)
        result = await self.desk.carry_out(plan, answer, lambda step: said.append(step.text))
        assert result.state is ActionState.OK, (result, said)
        return result

    async def answer(self) -> float:
        """What the service answers for 0.5: 0.5 + its revision's constant."""
        got = await first_answer(lambda: self.mirror.service(KEY), self.clock, deadline_s=30.0)
        return float(json.loads(got.body)["outputs"][0]["data"][0]) - 0.5


@contextlib.asynccontextmanager
async def console(policy: GatePolicy | None = None) -> AsyncIterator[Console]:
    """A console with the supervisor of a fresh folder; the home fixture kills what is left."""
    state_dir = state_home() / "embedded" / "local"
    socket = await ensure_supervisor("local", state_dir, arguments=("--drain-s", "0.2"))
    made = Console(socket, state_dir, policy)
    watching = await made.live()
    try:
        yield made
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def create(folder: Path, replicas: int = 1, constant: float = 1.0) -> ActionRequest:
    spec = ServiceSpec(model_path=adder(folder, constant))
    return ActionRequest(verb=Verb.CREATE, targets=(KEY,), spec=spec, replicas=replicas)


def test_every_verb_and_its_undo_on_real_replicas(tmp_path: Path) -> None:
    async def story() -> None:
        async with console() as it:
            await it.act(create(tmp_path))
            assert await it.answer() == pytest.approx(1.0)

            scaled = await it.act(ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=2))
            assert scaled.message == "revision 1 runs on 2 of 2"
            pids = {replica.pid for replica in it.mirror.replicas(KEY)}

            await it.act(ActionRequest(verb=Verb.RESTART, targets=(KEY,)))
            assert pids.isdisjoint(replica.pid for replica in it.mirror.replicas(KEY))

            spec = ServiceSpec(model_path=adder(tmp_path, 5.0), limits=Limits(max_queue=9))
            updated = await it.act(ActionRequest(verb=Verb.UPDATE, targets=(KEY,), spec=spec))
            assert await it.answer() == pytest.approx(5.0)
            assert updated.undo is not None
            await it.act(updated.undo)
            assert await it.answer() == pytest.approx(1.0)

            await it.act(ActionRequest(verb=Verb.ROLLBACK, targets=(KEY,), revision=2))
            assert await it.answer() == pytest.approx(5.0)

            assert scaled.undo is not None
            await it.act(scaled.undo)
            assert len(it.mirror.replicas(KEY)) == 1

            stopped = await it.act(ActionRequest(verb=Verb.STOP, targets=(KEY,)))
            assert stopped.undo is not None
            await it.act(stopped.undo)
            endpoint = it.mirror.service(KEY).endpoint  # type: ignore[union-attr]  # it is there: the start was OK

            for path in (Path(adder(tmp_path, 1.0)), Path(adder(tmp_path, 5.0))):
                path.unlink()
            deleted = await it.act(ActionRequest(verb=Verb.DELETE, targets=(KEY,)))
            assert it.mirror.service(KEY) is None
            assert deleted.undo is not None
            await it.act(deleted.undo)
            assert await it.answer() == pytest.approx(5.0)
            assert it.mirror.service(KEY).endpoint == endpoint  # type: ignore[union-attr]  # it answered

            await it.act(ActionRequest(verb=Verb.DELETE, targets=(KEY,)))
            report = verify(it.places)
            assert report.intact, report.problems
            kinds = [record["type"] for record in it.audit.records()]
            assert kinds.count("action.begin") == kinds.count("action.end") == 12

    run(story())


def test_a_plan_is_refused_by_the_region_when_the_world_moved_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with console() as it:
            await it.act(create(tmp_path))
            early = await it.desk.plan(ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=0))
            await it.act(ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=2))
            result = await it.desk.carry_out(early, "y")
            assert result.state is ActionState.FAILED
            assert "since the plan was made" in result.message
            assert len(it.mirror.replicas(KEY)) == 2

    run(story())


def test_a_broken_model_fails_with_its_own_words_and_the_old_revision_serves_on(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    model = onnx.load(adder(tmp_path, 2.0))
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, broken)

    async def story() -> None:
        async with console() as it:
            await it.act(create(tmp_path))
            plan = await it.desk.plan(
                ActionRequest(verb=Verb.UPDATE, targets=(KEY,), spec=ServiceSpec(model_path=str(broken)))
            )
            result = await it.desk.carry_out(plan, "y")
            assert result.state is ActionState.FAILED
            assert "NoSuchOperator" in result.message, result.message
            assert await it.answer() == pytest.approx(1.0)
            assert result.undo is not None
            await it.act(result.undo)
            assert await it.answer() == pytest.approx(1.0)

    run(story())


async def world_stands_still(it: Console, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """``attempt`` to change the service; AssertionError when the world moved."""
    before = it.mirror.service(KEY)
    with contextlib.suppress(GateRefused):
        await attempt()
    for _ in range(3):
        await it.mirror.changed(1.0)
    assert it.mirror.service(KEY) == before, "the world changed without a permit"


async def prepared(it: Console) -> tuple[Permit, Plan]:
    """A plan, and a permit that no gate made."""
    plan = await it.desk.plan(ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=2))
    forged = Permit(
        id="x",
        plan_id=plan.id,
        plan_digest=plan.digest,
        actor="x",
        issued_at=0.0,
        expires_at=9e12,
        seal="0" * 64,
    )
    return forged, plan


@pytest.mark.parametrize("sabotage", [False, True], ids=["gate", "sabotage: verify is a no-op"])
def test_the_real_backend_changes_nothing_without_the_gates_permit(tmp_path: Path, sabotage: bool) -> None:
    async def story() -> None:
        async with console() as it:
            await it.act(create(tmp_path))
            forged, plan = await prepared(it)
            was = plan.preconditions[0]
            if sabotage:
                it.backend._verify = lambda *_: None

            async def attempt() -> None:
                await it.backend.apply(
                    KEY.name, was.uid, was.generation, replicas=2, permit=forged, plan=plan
                )

            if sabotage:
                with pytest.raises(AssertionError, match="without a permit"):
                    await world_stands_still(it, attempt)
            else:
                await world_stands_still(it, attempt)

    run(story())


def test_a_read_only_console_plans_and_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with console() as it:
            await it.act(create(tmp_path))
        async with console(GatePolicy(read_only=True)) as it:
            plan = await it.desk.plan(ActionRequest(verb=Verb.DELETE, targets=(KEY,)))

            async def attempt() -> None:
                await it.desk.carry_out(plan, "y")

            await world_stands_still(it, attempt)

    run(story())


def test_a_supervisor_that_stops_answering_leaves_the_action_unknown(tmp_path: Path) -> None:
    async def story() -> None:
        async with console() as it:
            await it.act(create(tmp_path))
            plan = await it.desk.plan(ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=2))
            attachment = await it.backend.attach()
            pid = attachment.keeper_pid
            attachment.close()
            it.desk._contact_lost_s = 2.0
            os.kill(pid, signal.SIGSTOP)
            try:
                result = await it.desk.carry_out(plan, "y")
            finally:
                os.kill(pid, signal.SIGCONT)
            assert result.state is ActionState.UNKNOWN, result
            assert "check before trying again" in result.message
            assert list(it.audit.records())[-1]["state"] == "UNKNOWN"
            assert it.gate.unfinished() == []

    run(story())


CUT = """
import asyncio, os, signal, sys
sys.path.insert(0, sys.argv[1])
from tests.controllers.test_real import KEY, console
from nimify_tui.domain.plans import ActionRequest, Verb

async def story():
    async with console() as it:
        plan = await it.desk.plan(ActionRequest(verb=Verb.SCALE, targets=(KEY,), replicas=2))
        def at_the_first_step_after_the_answer(step):
            if step.total:
                os.kill(os.getpid(), signal.SIGKILL)
        await it.desk.carry_out(plan, "y", at_the_first_step_after_the_answer)

asyncio.run(story())
"""


def test_a_console_killed_in_the_middle_leaves_an_action_that_the_next_one_settles(tmp_path: Path) -> None:
    async def story() -> None:
        async with console() as it:
            await it.act(create(tmp_path))
            child = await asyncio.to_thread(
                subprocess.run, [PYTHON, "-c", CUT, str(REPO)], capture_output=True, timeout=60, check=False
            )
            assert child.returncode == -signal.SIGKILL, child.stderr.decode()
            [found] = it.desk.unfinished()
            async with asyncio.timeout(30.0):
                while (checked := await it.desk.check(found)).state is ActionState.RUNNING:
                    await it.mirror.changed(1.0)
            assert checked.state is ActionState.OK
            assert "runs on 2 of 2: it was done" in checked.reality
            undone = await it.desk.plan(it.desk.undo_request(checked))
            result = await it.desk.carry_out(undone, "y", settles=checked)
            assert result.state is ActionState.OK
            assert len(it.mirror.replicas(KEY)) == 1
            assert it.desk.unfinished() == []
            assert msgspec.json.encode(undone.request).decode().count(found.plan.id) == 1

    run(story())
