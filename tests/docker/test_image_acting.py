"""Another image, for a service behind a front and for one container, from plan to undo; the engine's inspect judges."""

from __future__ import annotations

import asyncio
import contextlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.kinds import Container, DeviceRequest, HostConfig
from nimify_tui.backends.docker.place import place_of
from nimify_tui.backends.docker.units import unit_of
from nimify_tui.base.errors import ClusterError, GateRefused, ValidationError
from nimify_tui.controllers.docker import controller
from nimify_tui.controllers.docker.imaging import rolling
from nimify_tui.controllers.docker.single import Single
from nimify_tui.domain.plans import ActionRequest, ActionState, Verb
from tests.docker.acting import acting, fact, region_toml, write_config
from tests.docker.behind import Service
from tests.docker.conftest import Runtime
from tests.docker.engine import Engine
from tests.docker.registry import registry
from tests.docker.relay import Relay
from tests.docker.test_service_acting import diff, ends, ready
from tests.support import wait_for

#: Of "HostConfig" nothing may differ but these: the engine puts a nameless volume's name in, where it had none.
MAY_DIFFER = {"Mounts", "Binds"}


@pytest.fixture
def config(engine: Engine, tmp_path: Path) -> Path:
    return write_config(tmp_path, region_toml("dock", url=engine.url))


@pytest.fixture
def images(engine: Engine) -> tuple[str, str]:
    """Two images of busybox that differ, the first with a volume of its own."""
    first = engine.busybox("nimify-test/swap:1", "ENV VERSION=1 MODE=slow", "VOLUME /scratch")
    return first, engine.busybox("nimify-test/swap:2", "ENV VERSION=2 MODE=slow")


def now_of(engine: Engine) -> str:
    """The engine's own time."""
    return str(json.loads(engine.docker("info", "--format", "{{json .SystemTime}}")))


def most_at_once(engine: Engine, since: str, running: int) -> int:
    """How many replicas of ``digits`` ran at once since then, of ``running`` at its begin; by the engine's events."""
    told = engine.docker(
        "events", "--since", since, "--until", now_of(engine), "--filter", "label=nimify.dev/service=digits",
        "--filter", "event=start", "--filter", "event=die", "--format", "{{.Action}}",
    )  # fmt: skip
    most = running
    for action in told.split():
        running += 1 if action == "start" else -1
        most = max(most, running)
    return most


def test_a_service_gets_another_image_and_goes_back(
    service: Service, engine: Engine, runtime: Runtime, config: Path
) -> None:
    first, second = runtime.images
    service.create(first, 2)
    with acting(config, "dock") as desk:
        ready(desk, 2)
        plan = desk.plan(Verb.SET_IMAGE, "digits", image=second)
        assert plan.summary == f"Set the image of digits to {second} in dock"
        assert fact(plan, "change").startswith(f"image {first} → {second}; mounts, environment, shm")
        assert fact(plan, "capacity").endswith("its old one is drained: 2 serve all the time")
        assert fact(plan, "undo") == f"back to {first}"
        assert len(diff(plan)) == 4
        assert diff(plan)[0].startswith(f"- digits-r1-1: {first} (")
        told: list[Any] = []
        failed = service.under_load(lambda: told.append(desk.do(plan)), 6000)
        assert (told[0].state, failed) == (ActionState.OK, []), (told, desk.said)
        assert told[0].message == f"2 of 2 serve {second} behind digits-front"
        assert service.names() == ["digits-r2-1", "digits-r2-2"]
        assert ends(desk, plan) == ["action.begin", "action.end"]
        service.answers(runtime.models[1])
        ready(desk, 2)
        with pytest.raises(ValidationError, match="runs nimify-test/digits:2 already"):
            desk.plan(Verb.SET_IMAGE, "digits", image=second)
        desk.undo(told[0])
        assert service.names() == ["digits-r3-1", "digits-r3-2"]
        service.answers(runtime.models[0])
        ready(desk, 2)
        # A roll-back needs no memory of ours: the containers know what was before them. With stop-first it takes no
        # room but that of the old ones.
        back = desk.plan(Verb.ROLLBACK, "digits", stop_first=True)
        assert fact(back, "undo") == f"back to {first}"
        assert fact(back, "capacity") == "each replica ends before its successor starts: 1 of 2 serve meanwhile"
        began = now_of(engine)
        assert desk.do(back).state is ActionState.OK, desk.said
        assert most_at_once(engine, began, 2) == 2
        assert service.names() == ["digits-r4-1", "digits-r4-2"]
        service.answers(runtime.models[1])


def test_an_image_that_does_not_serve_goes_back_by_itself(
    service: Service, engine: Engine, runtime: Runtime, config: Path
) -> None:
    """Sabotage seen failing: a ``replace`` that does not hear ``stop_first`` runs three at once."""
    bad = f'FROM {runtime.images[0]}\nENTRYPOINT ["/bin/sh", "-c", "echo no such model; exit 3"]\n'
    engine.docker("build", "--tag", "nimify-test/bad:1", "-", data=bad.encode())
    service.create(runtime.images[0], 2)
    before = {name: engine.inspect(name)["Id"] for name in service.names()}
    with acting(config, "dock") as desk:
        ready(desk, 2)
        result = desk.do(desk.plan(Verb.SET_IMAGE, "digits", image="nimify-test/bad:1"))
        assert (result.state, result.undo) == (ActionState.FAILED, None)
        assert "no such model; all replicas run nimify-test/digits:1 again" in result.message
        assert {name: engine.inspect(name)["Id"] for name in service.names()} == before
        began = now_of(engine)
        result = desk.do(desk.plan(Verb.SET_IMAGE, "digits", image="nimify-test/bad:1", stop_first=True))
        assert "no such model; all replicas run nimify-test/digits:1 again" in result.message
        assert {name: engine.inspect(name)["Id"] for name in service.names()} == before
        assert most_at_once(engine, began, 2) == 2
        ready(desk, 2)
        assert fact(desk.plan(Verb.RESTART, "digits", stop_first=True), "stop-first").startswith("a restart here is")
        service.answers(runtime.models[0])


def test_one_container_keeps_all_but_its_image(
    engine: Engine, config: Path, images: tuple[str, str], tmp_path: Path
) -> None:
    """Sabotage: a successor without its ``ShmSize`` (or any other field of HostConfig) fails the comparison."""
    (tmp_path / "bound").mkdir()
    engine.docker("network", "create", "--subnet", "10.99.78.0/24", "swapped")
    try:
        with engine.swept(), acting(config, "dock") as desk:
            engine.run(
                "--name", "kept_one", "--env", "TOKEN=a b'c", "--label", "team=vision", "--network", "swapped",
                "--ip", "10.99.78.9", "--network-alias", "model", "--shm-size", "96m", "--ipc", "shareable",
                "--ulimit", "nofile=4096:8192", "--device", "/dev/null:/dev/zilch:r",
                "--mount", f"type=bind,src={tmp_path / 'bound'},dst=/bound,readonly", "--volume", "named:/named",
                "--tmpfs", "/fast:size=1m", "--memory", "64m", "--cpus", "0.5", "--cap-drop", "ALL", "--read-only",
                "--publish", "127.0.0.1:18999:8000", "--restart", "on-failure:3", "--stop-timeout", "3",
                "--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=web",
                image=images[0],
            )  # fmt: skip
            engine.docker("exec", "kept_one", "sh", "-c", "echo learnt > /scratch/it")
            old = engine.inspect("kept_one")
            desk.until_row("shop-web", state="OK")
            plan = desk.plan(Verb.SET_IMAGE, "shop-web", image=images[1])
            assert fact(plan, "owner") == (
                "Compose project shop (service web); the project's file is not changed: `docker compose up` goes back "
                "to its image"
            )
            assert fact(plan, "capacity").startswith("nothing serves until the new one does")
            with pytest.raises(GateRefused):
                desk.do(plan, "")
            assert engine.inspect("kept_one")["Id"] == old["Id"]
            result = desk.do(desk.plan(Verb.SET_IMAGE, "shop-web", image=images[1]))
            assert (result.state, result.message) == (ActionState.OK, f"kept_one runs {images[1]}"), desk.said
            new = engine.inspect("kept_one")
            for field in set(old["HostConfig"]) - MAY_DIFFER:
                assert new["HostConfig"][field] == old["HostConfig"][field], field
            assert new["Config"]["Image"] == images[1]
            assert set(new["Config"]["Env"]) == {"TOKEN=a b'c", "VERSION=2", "MODE=slow", "PATH=/bin"}
            joined = new["NetworkSettings"]["Networks"]["swapped"]
            assert joined["IPAddress"] == "10.99.78.9"
            assert "model" in joined["Aliases"]
            assert engine.docker("exec", "kept_one", "cat", "/scratch/it") == "learnt\n"
            assert {each["Destination"] for each in new["Mounts"]} == {"/bound", "/named", "/scratch"}
            assert engine.containers("label=team=vision") == ["kept_one"]
            desk.until_row("shop-web", state="OK")
            desk.undo(result)
            again = engine.inspect("kept_one")
            assert again["Image"] == old["Image"]
            assert again["HostConfig"]["ShmSize"] == old["HostConfig"]["ShmSize"]
            assert engine.docker("exec", "kept_one", "cat", "/scratch/it") == "learnt\n"
    finally:
        engine.docker("network", "rm", "swapped")


def test_one_that_does_not_serve_with_it_runs_again_as_before(
    engine: Engine, config: Path, images: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sabotage: without ``_go_back`` the container is gone or stands aside under another name."""
    ends_at_once = engine.busybox("nimify-test/ends:1", 'ENTRYPOINT ["/bin/sh", "-c", "echo no good; exit 4"]')
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "sturdy", "--volume", "/data", image=images[0])
        old = engine.inspect("sturdy")
        desk.until_row("sturdy", state="OK")
        result = desk.do(desk.plan(Verb.SET_IMAGE, "sturdy", image=ends_at_once))
        assert result.state is ActionState.FAILED
        assert "sturdy ended (exit code 4): no good; the old container runs nimify-test/swap:1 again" in result.message
        stays(engine, old)

        async def stopped(self: Single, made: str) -> None:
            assert desk.session._desk.stop(self._leave.plan.id, now=True)
            await self._until(_never, 30, "it was not stopped")

        monkeypatch.setattr(Single, "_steady", stopped)
        result = desk.do(desk.plan(Verb.SET_IMAGE, "sturdy", image=images[1]))
        assert result.state is ActionState.UNKNOWN
        assert "seen last: sturdy runs as before" in result.message
        stays(engine, old)


def test_a_stop_whose_answer_is_lost_is_waited_for_before_the_way_back(
    engine: Engine, images: tuple[str, str], tmp_path: Path
) -> None:
    """It ends two seconds later. Seen failing without the wait: it was "running" when looked at, and then ended."""
    between = Relay(engine, tmp_path / "s", cut=b"/stop?")
    config = write_config(tmp_path, region_toml("dock", url=between.url))
    with engine.swept(), contextlib.closing(between), acting(config, "dock") as desk:
        engine.run(
            "--name", "sturdy", "--stop-timeout", "2", image=images[0],
            command=("sh", "-c", "trap '' TERM; while :; do sleep 1; done"),
        )  # fmt: skip
        old = engine.inspect("sturdy")
        desk.until_row("sturdy", state="OK")
        result = desk.do(desk.plan(Verb.SET_IMAGE, "sturdy", image=images[1]))
        assert result.state is ActionState.FAILED
        assert "the old container runs nimify-test/swap:1 again" in result.message
        began = old["State"]["StartedAt"]
        wait_for(lambda: engine.inspect("sturdy")["State"]["StartedAt"] != began, 10, why="its start")
        stays(engine, old)


async def _never() -> bool:
    return False


def stays(engine: Engine, old: Any) -> None:
    now = engine.inspect("sturdy")
    assert (now["Id"], now["State"]["Running"]) == (old["Id"], True)
    assert engine.containers("name=sturdy") == ["sturdy"]


def test_a_removed_container_is_made_again_by_the_undo(
    engine: Engine, config: Path, images: tuple[str, str]
) -> None:
    """Its environment is kept in memory alone: neither plan nor trail has it. Sabotage: its ``Env`` in the diff."""
    with engine.swept(), acting(config, "dock") as desk:
        engine.run(
            "--name", "missed", "--env", "API=hush-hush-4711", "--shm-size", "96m", "--memory", "64m",
            "--publish", "127.0.0.1:18998:8000", "--label", "team=vision", image=images[0],
        )  # fmt: skip
        engine.docker("exec", "missed", "sh", "-c", "echo learnt > /scratch/it")
        old = engine.inspect("missed")
        desk.until_row("missed", state="OK")
        plan = desk.plan(Verb.DELETE, "missed")
        result = desk.do(plan)
        assert result.state is ActionState.OK
        assert engine.containers("name=missed") == []
        undone = desk.undo(result)
        assert undone.message == "1 of 1 runs again"
        new = engine.inspect("missed")
        for field in set(old["HostConfig"]) - MAY_DIFFER:
            assert new["HostConfig"][field] == old["HostConfig"][field], field
        assert new["Config"]["Env"] == old["Config"]["Env"]
        assert engine.docker("exec", "missed", "cat", "/scratch/it") == "learnt\n"
        assert "hush-hush" not in f"{plan} {undone} {desk.said} {desk.trail()}"


def test_an_image_that_the_engine_has_not_is_pulled_first(
    engine: Engine, config: Path, images: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "registry").mkdir()
    with registry(tmp_path / "registry") as store, engine.swept(), acting(config, "dock") as desk:
        remote = store.push(engine, images[1], "team/swap:2")
        engine.run("--name", "pulls", image=images[0])
        desk.until_row("pulls", state="OK")
        plan = desk.plan(Verb.SET_IMAGE, "pulls", image=remote)
        assert fact(plan, "image") == "not on the engine yet: pulled first, nothing stops for that"
        result = desk.do(plan)
        assert result.state is ActionState.OK, result
        assert any(text.startswith(f"pulls {remote}: ") for text in desk.said), desk.said
        assert engine.inspect("pulls")["Config"]["Image"] == remote
        before = engine.inspect("pulls")["Id"]
        result = desk.do(desk.plan(Verb.SET_IMAGE, "pulls", image=f"{store.host}/team/none:1"))
        assert result.state is ActionState.FAILED
        assert engine.inspect("pulls")["Id"] == before


def test_what_cannot_be_given_another_image_says_why(
    engine: Engine, config: Path, images: tuple[str, str]
) -> None:
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "swarmed", "--label", "com.docker.swarm.service.name=web", image=images[0])
        engine.run("--name", "passing", "--rm", image=images[0])
        for number in (1, 2):
            labels = ("com.docker.compose.project=shop", "com.docker.compose.service=two")
            given = [part for each in labels for part in ("--label", each)]
            engine.run("--name", f"shop-two-{number}", *given, image=images[0])
        for name in ("web", "passing", "shop-two"):
            desk.until_row(name, state="OK")
        plan = desk.plan(Verb.SET_IMAGE, "web", image=images[1])
        assert plan.obstacle == "Swarm service web keeps it"
        assert plan.obstacle_remedy == "change it there: `docker service update`"
        assert fact(plan, "owner").startswith("Swarm service web; Swarm replaces what is stopped")
        with pytest.raises(GateRefused, match="keeps it"):
            desk.do(plan)
        with pytest.raises(ClusterError, match="removes itself"):
            desk.plan(Verb.SET_IMAGE, "passing", image=images[1])
        with pytest.raises(ValidationError, match="2 containers without a front"):
            desk.plan(Verb.SET_IMAGE, "shop-two", image=images[1])
        with pytest.raises(ValidationError, match="no other image that is known"):
            desk.plan(Verb.ROLLBACK, "web")
        with pytest.raises(ValidationError, match="no name of an image"):
            desk.plan(Verb.SET_IMAGE, "web", image="a b")


def test_where_there_is_no_room_for_both_stop_first_is_offered(
    engine: Engine, config: Path, images: tuple[str, str]
) -> None:
    with engine.swept(), acting(config, "dock") as desk:
        label = "nimify.dev/service=big"
        engine.run("--name", "big-r1-1", "--label", label, "--memory", "4000g", image=images[0])
        engine.run("--name", "big-front", "--label", "nimify.dev/front=big", image=images[0])
        desk.until_row("big", state="OK")
        offer = fact(desk.plan(Verb.SET_IMAGE, "big", image=images[1]), "offer")
        assert offer.startswith("2 x 4.29 TB are more than the "), offer
        assert offer.endswith("in its own place instead (:image IMAGE stop-first, --stop-first)"), offer
        taken = desk.plan(Verb.SET_IMAGE, "big", image=images[1], stop_first=True)
        assert fact(taken, "offer") == ""
        assert fact(taken, "capacity").endswith("its successor starts: nothing serves meanwhile")
    wanted = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    one = Container(id="1", host_config=HostConfig(device_requests=wanted))
    request = ActionRequest(verb=Verb.SET_IMAGE, targets=())
    line = Connection(place_of(engine.url, "", {}))  # not asked
    told = dict(asyncio.run(rolling(line, request, [one])))
    assert told["offer"].startswith("old and new share all GPUs and the memory there: stop-first replaces")


def test_a_plan_names_the_systemd_unit_that_keeps_the_container(
    engine: Engine, config: Path, images: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a label, or by a unit's file; the third container is kept by nobody, and its plan says nothing of the kind."""
    unit = "[Service]\nExecStart=/usr/bin/docker run --rm \\\n  --name filed image\n"
    (tmp_path / "vision.service").write_text(unit, encoding="utf-8")
    monkeypatch.setattr(controller, "unit_of", partial(unit_of, folders=[str(tmp_path)]))
    said = "systemd unit {0}; the unit is not changed: `systemctl restart {0}` may go back to its image"
    with engine.swept(), acting(config, "dock") as desk:
        engine.run("--name", "labelled", "--label", "PODMAN_SYSTEMD_UNIT=chat.service", image=images[0])
        for name in ("filed", "alone"):
            engine.run("--name", name, image=images[0])
        for name, words in (
            ("labelled", said.format("chat.service")), ("filed", said.format("vision.service")), ("alone", ""),
        ):  # fmt: skip
            desk.until_row(name, state="OK")
            plan = desk.plan(Verb.SET_IMAGE, name, image=images[1])
            assert fact(plan, "owner") == words
            assert not plan.obstacle, "it may be changed all the same"
