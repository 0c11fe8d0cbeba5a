"""The way to a supervisor: started once by whoever comes first, changes only with a permit, errors as they are."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import Callable, Coroutine
from typing import Any

import psutil
import pytest

from nimify_tui.backends.announced import announced
from nimify_tui.backends.local import LocalBackend, ensure_supervisor, kept_model
from nimify_tui.base.errors import ClusterError, DeadlineError, GateRefused, NetworkError, ValidationError
from nimify_tui.base.files import runtime_home
from nimify_tui.domain.embedded import Listed
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.plans import ActionRequest, Permit, Plan, Verb
from nimify_tui.domain.services import ServiceSpec
from tests.supervisor.support import Region, stopped
from tests.support import Home, alive

PERMIT = Permit(
    id="permit-1", plan_id="plan-1", plan_digest="", actor="ops@test", issued_at=0.0, expires_at=9e9, seal=""
)
PLAN = Plan(
    id="plan-1",
    request=ActionRequest(verb=Verb.CREATE, targets=(ServiceKey("test", "demo"),), reason="a test"),
    summary="", facts=(), diff=(), preconditions=(), production=False, created_at=0.0, expires_at=9e9,
)  # fmt: skip


def allow(_permit: Permit, _plan: Plan) -> None:
    """A gate that lets everything through."""


def refuse(_permit: Permit, _plan: Plan) -> None:
    """A gate that lets nothing through."""
    raise GateRefused("the permit is used up")


def test_two_consoles_that_come_at_once_share_one_supervisor(home: Home) -> None:
    folder = home.state / "embedded" / "local"

    async def run() -> None:
        one, two = await asyncio.gather(ensure_supervisor("local", folder), ensure_supervisor("local", folder))
        assert one == two
        again = await ensure_supervisor("local", folder)
        assert again == one
        backend = LocalBackend(one, allow)
        first, second = await backend.attach(), await backend.watch()
        assert first.keeper == second.keeper
        assert alive(first.keeper_pid)
        assert os.getsid(first.keeper_pid) == first.keeper_pid, "it outlives this terminal"
        assert isinstance((await second.events(2.0))[0], Listed)
        [known] = announced()
        assert (known.name, known.pid, known.demo) == ("local", first.keeper_pid, False)
        first.close()
        second.close()
        await backend.shutdown(replicas=True, permit=PERMIT, plan=PLAN)

    asyncio.run(run())


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_start_that_nobody_waits_for_any_more_leaves_nothing_to_the_loop(home: Home) -> None:
    """Seen failing without the kill: the child's pipe was closed by the collector, after the loop."""
    others = set(psutil.Process().children())

    async def run() -> None:
        starting = asyncio.create_task(ensure_supervisor("local", home.state / "embedded" / "local"))
        while not (children := set(psutil.Process().children()) - others):  # noqa: ASYNC110  # a child process tells no event
            await asyncio.sleep(0)
        for _ in range(20):  # it is there; now its words are waited for
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert [child for child in children if child.is_running()] == []

    asyncio.run(run())
    gc.collect()


def test_a_console_with_another_runtime_folder_finds_the_same_supervisor(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home.state / "embedded" / "local"

    async def run() -> None:
        one = await ensure_supervisor("local", folder)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(home.root / "other"))
        assert await ensure_supervisor("local", folder) == one
        assert not str(one).startswith(str(runtime_home()))
        await LocalBackend(one, allow).shutdown(replicas=True, permit=PERMIT, plan=PLAN)

    asyncio.run(run())


def test_a_supervisor_that_cannot_start_says_why(home: Home) -> None:
    folder = home.state / "embedded" / "local"

    async def run() -> None:
        with pytest.raises(ClusterError, match=r"the supervisor of local cannot be started: .*unrecognized"):
            await ensure_supervisor("local", folder, arguments=["--nonsense"])

    asyncio.run(run())


CHANGES: dict[str, Callable[[LocalBackend], Coroutine[Any, Any, Any]]] = {
    "apply": lambda backend: backend.apply("demo", "", 0, spec=ServiceSpec(model_path="/m"), permit=PERMIT, plan=PLAN),
    "restart": lambda backend: backend.restart("demo", "u", 1, permit=PERMIT, plan=PLAN),
    "rollback": lambda backend: backend.rollback("demo", "u", 1, 1, permit=PERMIT, plan=PLAN),
    "stop": lambda backend: backend.set_stopped("demo", "u", 1, True, permit=PERMIT, plan=PLAN),
    "delete": lambda backend: backend.delete("demo", "u", 1, permit=PERMIT, plan=PLAN),
    "shutdown": lambda backend: backend.shutdown(replicas=True, permit=PERMIT, plan=PLAN),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_leaves_this_process_without_a_good_permit(change: str, home: Home) -> None:
    nowhere = LocalBackend(home.root / "no.sock", refuse)
    with pytest.raises(GateRefused, match="used up"):
        asyncio.run(CHANGES[change](nowhere))


@pytest.mark.parametrize("change", CHANGES)
def test_sabotage_with_a_gate_that_lets_all_through_the_same_calls_are_sent(change: str, home: Home) -> None:
    nowhere = LocalBackend(home.root / "no.sock", allow)
    with pytest.raises(NetworkError, match="no supervisor runs"):
        asyncio.run(CHANGES[change](nowhere))


def test_changes_and_refusals_come_back_as_they_are(home: Home) -> None:
    with Region(home) as region:
        backend = LocalBackend(region.socket, allow)

        async def run() -> None:
            made = await backend.apply("demo", "", 0, spec=region.spec(), replicas=1, permit=PERMIT, plan=PLAN)
            with pytest.raises(ValidationError, match="there is a service 'demo' already"):
                await backend.apply("demo", "", 0, spec=region.spec(), permit=PERMIT, plan=PLAN)
            with pytest.raises(ValidationError, match="was changed by ops@test since the plan was made: plan again"):
                await backend.restart("demo", made.uid, 99, permit=PERMIT, plan=PLAN)
            with pytest.raises(ValidationError, match="there is no log"):
                await backend.read_log_paths("demo", "demo-9")

        asyncio.run(run())
        with region.wire() as wire:
            service = wire.services["demo"]
            assert kept_model(region.state_dir, service.model_sha256) is not None
            assert kept_model(region.state_dir, "") is None
            [change] = wire.changes
            assert (change.by, change.evidence) == ("ops@test", "plan plan-1, because a test")


def test_a_stopped_supervisor_is_a_deadline_not_a_wait(home: Home) -> None:
    with Region(home) as region:
        backend = LocalBackend(region.socket, allow)
        with stopped(region.pid), pytest.raises(DeadlineError):
            asyncio.run(backend.attach(0.3))
        attachment = asyncio.run(backend.attach())
        assert attachment.keeper_pid == region.pid


def test_announcements_of_the_dead_and_of_strangers_are_left_out(home: Home) -> None:
    with Region(home) as region:
        good = json.loads(region.note.read_bytes())
        assert [each.pid for each in announced()] == [region.pid]
        for name, wrong in {
            "a": {"start_time_ticks": good["start_time_ticks"] + 1},
            "b": {"boot_id": "another"},
            "c": {"pid": 2**22 - 3},
            "d": {"pid": "text"},
        }.items():
            region.note.with_name(f"{name}.json").write_text(json.dumps(good | wrong), encoding="utf-8")
        region.note.with_name("e.json").write_bytes(b"\x00{")
        region.note.with_name("f.json").symlink_to(region.note)
        os.mkfifo(region.note.with_name("g.json"))
        assert [each.pid for each in announced()] == [region.pid]
        region.kill()
        assert announced() == []


