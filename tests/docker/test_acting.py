"""Changes on a real engine, through gate, plan, confirmation, audit and undo; the engine's own command line judges.

About 35 s on two cores, most of it the engine's own starts and stops.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from nimify_tui.backends.docker.kinds import seconds
from nimify_tui.base.errors import GateRefused, ValidationError
from nimify_tui.domain.demands import ObjectDemand
from nimify_tui.domain.plans import ActionState, ConfirmKind, Plan, Verb
from nimify_tui.domain.regions import RegionState
from nimify_tui.domain.services import ReplicaState
from tests.docker.acting import Acting, acting, fact, region_toml, write_config
from tests.docker.engine import Engine
from tests.support import Home, run_python

#: Starts the first time; ends with exit code 3 ever after.
ONCE = (
    "sh", "-c",
    "if [ -f /once ]; then echo no second time; exit 3; fi; touch /once /run/ready; exec sleep 1000000",
)  # fmt: skip
#: Passes once it is up; /run is empty again after each start.
READY = ("--tmpfs", "/run", "--health-cmd", "test -e /run/ready", "--health-interval", "300ms")


@pytest.fixture
def config(engine: Engine, tmp_path: Path) -> Path:
    """One region: the engine of the tests."""
    return write_config(tmp_path, region_toml("dock", url=engine.url))


def started_at(engine: Engine, name: str) -> str:
    """When a container was started last, by the engine."""
    return str(engine.inspect(name)["State"]["StartedAt"])


def compose(project: str, service: str) -> tuple[str, ...]:
    """The labels that Compose writes."""
    labels = {
        "project": project, "service": service, "oneoff": "False",
        "project.config_files": f"/srv/{project}/compose.yaml",
    }  # fmt: skip
    return tuple(
        part for name, value in labels.items() for part in ("--label", f"com.docker.compose.{name}={value}")
    )


def pair(
    engine: Engine, project: str, *more: str, command: tuple[str, ...] = ("sleep", "1000000")
) -> list[str]:
    """Two containers of one Compose service."""
    names = [f"{project}-web-{number}" for number in (1, 2)]
    for name in names:
        engine.run("--name", name, *compose(project, "web"), *more, command=command)
    return names


def ends(desk: Acting, plan: Plan) -> list[str]:
    """What the audit trail says of a plan, event by event."""
    return [str(record["type"]) for record in desk.trail() if plan.id in json.dumps(record, default=str)]


def test_a_container_is_a_row_and_is_restarted_through_the_gate(engine: Engine, config: Path) -> None:
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "solo")
        desk.until_row("solo", state="OK")
        before = started_at(engine, "solo")
        plan = desk.plan(Verb.RESTART, "solo")
        assert fact(plan, "objects") == "container solo, serving"
        assert fact(plan, "capacity") == "nothing serves until it is back"
        with pytest.raises(GateRefused):
            desk.do(plan, "no")
        assert started_at(engine, "solo") == before, "a plan and a refused answer change nothing"
        plan = desk.plan(Verb.RESTART, "solo")
        result = desk.do(plan)
        assert result.state is ActionState.OK, result
        assert started_at(engine, "solo") != before
        assert ends(desk, plan) == ["action.begin", "action.end"]


def test_containers_of_one_compose_service_are_one_row_and_restart_one_after_the_other(
    engine: Engine, config: Path
) -> None:
    with engine.swept(), acting(config, "dock") as desk:
        health = (
            "--health-cmd",
            "test $(($(date +%s) - $(stat -c %Z /proc/1))) -ge 2",
            "--health-interval",
            "500ms",
            "--health-retries",
            "20",  # a slow machine looks more than three times before that age
        )
        first, second = pair(engine, "shop", *health)
        desk.until(
            lambda: (row := desk.row("shop-web")) and (row.ready, row.desired) == (2, 2),
            "one row, 2 of 2 ready",
        )
        plan = desk.plan(Verb.RESTART, "shop-web")
        owner = fact(plan, "owner")
        assert owner.startswith("Compose project shop (service web, /srv/shop/compose.yaml)"), owner
        assert fact(plan, "capacity") == "1 of 2 serve all the time"
        assert desk.do(plan).state is ActionState.OK
        began, second_began = (seconds(started_at(engine, name)) or 0.0 for name in (first, second))
        told = engine.docker(
            "events", "--since", "0", "--until", str(int(time.time())), "--filter", f"container={first}",
            "--filter", "event=health_status", "--format", "{{.TimeNano}} {{.Action}}",
        )  # fmt: skip
        healthy = [int(line.split()[0]) / 1e9 for line in told.splitlines() if line.endswith(" healthy")]
        assert any(began < at < second_began for at in healthy), "the second went before the first served"


def test_a_restart_stops_at_the_first_that_does_not_come_back(engine: Engine, config: Path) -> None:
    with engine.swept(), acting(config, "dock") as desk:
        first, second = pair(engine, "frail", *READY, command=ONCE)
        desk.until(lambda: (row := desk.row("frail-web")) and row.ready == 2, "2 ready")
        before = started_at(engine, second)
        plan = desk.plan(Verb.RESTART, "frail-web")
        result = desk.do(plan)
        assert result.state is ActionState.FAILED
        assert (
            f"{first} does not run after its restart (exit code 3); the other 1 were not touched"
            in result.message
        )
        assert started_at(engine, second) == before
        row = desk.until_row("frail-web", state="DEGRADED", reason="exit code 3")
        assert row.ready == 1
        desk.until(
            lambda: any(
                (each.state, each.last_words) == (ReplicaState.EXITED, "no second time")
                for each in desk.replicas("frail-web")
            ),
            "its last words",
        )


def test_a_restart_of_what_crashes_at_once_has_failed(engine: Engine, config: Path) -> None:
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "hopeless", "--restart", "always", command=("sh", "-c", "sleep 0.2; exit 5"))
        desk.until_row("hopeless", state="DOWN", reason="exit code 5")
        result = desk.do(desk.plan(Verb.RESTART, "hopeless"))
        assert result.state is ActionState.FAILED, result
        assert "hopeless has ended again" in result.message


def test_stop_is_undone_by_a_start_and_a_removed_container_is_gone(engine: Engine, config: Path) -> None:
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "come-and-go")
        desk.until_row("come-and-go", state="OK")
        plan = desk.plan(Verb.STOP, "come-and-go")
        assert plan.destructive
        stopped = desk.do(plan)
        assert stopped.state is ActionState.OK, stopped
        assert engine.inspect("come-and-go")["State"]["Status"] == "exited"
        desk.until_row("come-and-go", state="STOPPED")
        with pytest.raises(ValidationError, match="is stopped already"):
            desk.plan(Verb.STOP, "come-and-go")
        desk.undo(stopped)
        assert engine.inspect("come-and-go")["State"]["Status"] == "running"
        desk.until_row("come-and-go", state="OK")
        desk.act(Verb.DELETE, "come-and-go")
        assert engine.containers("name=come-and-go") == []
        desk.until(lambda: desk.row("come-and-go") is None, "the row goes")


def test_a_plan_made_for_a_container_that_another_one_replaced_changes_nothing(
    engine: Engine, config: Path
) -> None:
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "swap")
        desk.until_row("swap", state="OK")
        plan = desk.plan(Verb.DELETE, "swap")
        engine.docker("rm", "--force", "swap")
        engine.run("--name", "swap")
        result = desk.do(plan)
        assert result.state is ActionState.FAILED
        assert "other containers now" in result.message
        assert engine.inspect("swap")["State"]["Status"] == "running"


def test_a_region_that_nobody_opened_is_read_only_and_production_wants_the_name(
    engine: Engine, tmp_path: Path
) -> None:
    closed = region_toml("closed", url=engine.url, read_write=False, production=True)
    config = write_config(tmp_path, closed, region_toml("prod", url=engine.url, production=True))
    with engine.swept(), acting(config, "prod") as desk:
        engine.run("--name", "guarded")
        before = started_at(engine, "guarded")
        desk.until_row("guarded", state="OK")
        plan = desk.plan(Verb.RESTART, "guarded")
        verdict = desk.session.review(plan)
        assert (verdict.confirm, verdict.expected) == (ConfirmKind.TYPED, "guarded")
        with pytest.raises(GateRefused):
            desk.do(plan, "y")
        other = Acting(desk.session, "closed")
        other.until_state(RegionState.LIVE)
        other.until(
            lambda: other.session.service(other.key("guarded")), "the same service in the other region"
        )
        verdict = desk.session.review(other.plan(Verb.RESTART, "guarded"))
        assert not verdict.allowed
        assert "region closed is read-only" in verdict.reason
        assert started_at(engine, "guarded") == before


def test_the_command_line_shows_restarts_and_reads_logs(engine: Engine, config: Path, home: Home) -> None:
    with engine.swept():
        engine.run("--name", "talker", command=("sh", "-c", "echo first words; exec sleep 1000000"))
        before = started_at(engine, "talker")
        call = ("-m", "nimify_tui")
        common = ("--config", str(config), "--region", "dock")
        shown = run_python(*call, "snapshot", "-o", "json", *common, env=home.env)
        found = json.loads(shown.stdout)
        assert any(each["name"] == "talker" for each in found["services"]), shown.stderr
        told = run_python(*call, "logs", "talker@dock", *common, env=home.env)
        assert "first words" in told.stdout, told.stderr
        done = run_python(*call, "restart", "talker@dock", "--yes", *common, env=home.env)
        assert done.returncode == 0, done.stderr
        assert started_at(engine, "talker") != before


def test_a_container_is_inspected_without_its_secrets(engine: Engine, config: Path) -> None:
    """Sabotage in the same test: what is no secret is shown."""
    with engine.swept(), acting(config, "dock") as desk:
        engine.run(
            "--name", "secretive", "--env", "HF_TOKEN=hf_abcdefghijklmnop", "--env", "WORKERS=four",
            "--memory", "64m", "--volume", "/etc:/data:ro",
        )  # fmt: skip
        desk.until_row("secretive", state="OK")
        demand = ObjectDemand(desk.key("secretive"), "secretive")
        desk.session.demand(demand)
        desk.until(lambda: desk.session.frame.objects.get(demand), "the object")
        answer = desk.session.frame.objects[demand]
        assert (answer.kind, answer.error) == ("Container", "")
        text = "\n".join(answer.yaml)
        assert "WORKERS=four" in text
        assert "hf_abcdefghijklmnop" not in text
        words = dict(answer.words)
        assert words["Memory limit"] == "64 MiB"
        assert words["  bind"] == "/etc -> /data (read-only)"
        assert {each.reason for each in answer.events} >= {"create", "start"}


def test_doctor_says_of_each_engine_whether_it_answers(engine: Engine, tmp_path: Path, home: Home) -> None:
    config = write_config(
        tmp_path, region_toml("dock", url=engine.url), region_toml("gone", url=f"unix://{tmp_path}/none.sock")
    )
    done = run_python("-m", "nimify_tui", "doctor", "-o", "json", "--config", str(config), env=home.env)
    found = {each["what"]: each for each in json.loads(done.stdout)}
    assert found["region dock"]["ok"] is True
    assert found["region dock"]["text"].endswith(f" at {engine.socket}")
    assert found["region gone"]["ok"] is False
    assert "there is no engine at" in found["region gone"]["text"]
    assert found["region gone"]["remedy"].startswith("start it")
    assert done.returncode == 1
