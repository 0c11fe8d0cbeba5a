"""A replaced container keeps what it was given, compared by what the engine shows of the two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.creating import CALLS, remove, start_body
from nimify_tui.base.errors import ClusterError
from nimify_tui.controllers.docker.replacing import Json, successor
from tests.docker.engine import Engine
from tests.docker.leaves import Leaves, acting

#: Of "HostConfig" nothing may differ but these: the engine puts a nameless volume's name in, where it had none.
MAY_DIFFER = {"Mounts", "Binds"}


@pytest.fixture
def images(engine: Engine) -> tuple[str, str]:
    """Two images of busybox with defaults of their own."""
    return (
        engine.busybox(
            "nimify-test/kept:1", "ENV VERSION=1 MODE=slow", "LABEL made=first of=image", "VOLUME /scratch"
        ),
        engine.busybox("nimify-test/kept:2", "ENV VERSION=2 MODE=slow", "LABEL made=second of=image"),
    )


def replaced(engine: Engine, old: str, image: str, folder: Path, *, beside: bool = True) -> Json:
    """Start the successor of ``old`` and give what the engine shows of it."""
    before = engine.inspect(old)
    new = successor(
        before, engine.inspect(before["Image"]), image, {"nimify.dev/revision": "2"}, beside=beside
    )
    leave = Leaves(folder).leave(2 * CALLS)

    async def work(line: Connection) -> None:
        if not beside:
            await remove(line, old, leave)
        await start_body(line, "successor", new.body, new.networks, leave)

    acting(engine, work)
    return engine.inspect("successor")


def test_everything_that_it_was_given_stays(engine: Engine, images: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "bound").mkdir()
    for name in ("left", "right"):
        engine.docker("network", "create", name)
    with engine.swept():
        engine.run(
            "--name", "kept", "--env", "TOKEN=a b'c", "--env", "MODE=fast", "--label", "team=vision",
            "--label", "nimify.dev/revision=1",
            "--network", "left", "--network-alias", "model", "--shm-size", "96m", "--ipc", "shareable",
            "--ulimit", "nofile=4096:8192", "--ulimit", "core=0:0", "--device", "/dev/null:/dev/zilch:r",
            "--mount", f"type=bind,src={tmp_path / 'bound'},dst=/bound,readonly", "--volume", "named:/named",
            "--volume", "/nameless", "--tmpfs", "/fast:size=1m", "--memory", "64m", "--cpus", "0.5",
            "--pids-limit", "77", "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE", "--read-only",
            "--security-opt", "no-new-privileges", "--restart", "on-failure:3", "--health-cmd", "true",
            "--health-interval", "2s", "--stop-timeout", "3", "--user", "65534:65534", "--workdir", "/tmp",
            "--add-host", "db:10.0.0.9", "--dns", "10.0.0.53", "--sysctl", "net.core.somaxconn=200",
            "--log-opt", "max-size=1m", "--group-add", "7", "--oom-score-adj", "100", "--hostname", "box",
            image="nimify-test/kept:1",
        )  # fmt: skip
        engine.docker("network", "connect", "--alias", "beside", "right", "kept")
        old = engine.inspect("kept")
        new = replaced(engine, "kept", images[1], tmp_path)

        for field in set(old["HostConfig"]) - MAY_DIFFER:
            assert new["HostConfig"][field] == old["HostConfig"][field], field
        assert _mounts(new) == _mounts(old)
        assert {"/bound", "/named", "/nameless", "/scratch"} <= set(_mounts(old))
        for field in (
            "User",
            "WorkingDir",
            "Hostname",
            "Healthcheck",
            "StopTimeout",
            "Cmd",
            "Entrypoint",
            "Tty",
        ):
            assert new["Config"].get(field) == old["Config"].get(field), field
        assert new["Config"]["Image"] == "nimify-test/kept:2"
        # Its own settings stay, the old image's defaults make room for the new one's.
        assert set(new["Config"]["Env"]) == {"TOKEN=a b'c", "MODE=fast", "VERSION=2", "PATH=/bin"}
        assert new["Config"]["Labels"] == {
            "team": "vision", "nimify.dev/revision": "2", "made": "second", "of": "image"
        }  # fmt: skip
        assert _aliases(new) == _aliases(old) == {"left": {"box", "model"}, "right": {"box", "beside"}}
        assert new["State"]["Running"]
    for name in ("left", "right"):
        engine.docker("network", "rm", name)


def test_the_data_of_a_nameless_volume_comes_along(
    engine: Engine, images: tuple[str, str], tmp_path: Path
) -> None:
    with engine.swept():
        engine.run("--name", "kept", image="nimify-test/kept:1")
        engine.docker("exec", "kept", "sh", "-c", "echo learnt > /scratch/it")
        replaced(engine, "kept", images[1], tmp_path)
        assert engine.docker("exec", "successor", "cat", "/scratch/it") == "learnt\n"


def test_a_fixed_address_is_taken_over_only_from_one_that_is_gone(
    engine: Engine, images: tuple[str, str], tmp_path: Path
) -> None:
    engine.docker("network", "create", "--subnet", "10.99.77.0/24", "fixed")
    try:
        with engine.swept():
            engine.run(
                "--name", "kept", "--network", "fixed", "--ip", "10.99.77.9", image="nimify-test/kept:1"
            )
            new = replaced(engine, "kept", images[1], tmp_path, beside=True)
            assert new["NetworkSettings"]["Networks"]["fixed"]["IPAddress"] not in ("", "10.99.77.9")
        with engine.swept():
            engine.run(
                "--name", "kept", "--network", "fixed", "--ip", "10.99.77.9", image="nimify-test/kept:1"
            )
            new = replaced(engine, "kept", images[1], tmp_path, beside=False)
            assert new["NetworkSettings"]["Networks"]["fixed"]["IPAddress"] == "10.99.77.9"
    finally:
        engine.docker("network", "rm", "fixed")


def test_the_networks_of_another_container_stay_its(
    engine: Engine, images: tuple[str, str], tmp_path: Path
) -> None:
    with engine.swept():
        engine.run("--name", "host")
        engine.run("--name", "kept", "--network", "container:host", image="nimify-test/kept:1")
        new = replaced(engine, "kept", images[1], tmp_path)
        assert new["HostConfig"]["NetworkMode"] == engine.inspect("kept")["HostConfig"]["NetworkMode"]


def test_one_that_removes_itself_is_not_replaced(engine: Engine, images: tuple[str, str]) -> None:
    with engine.swept():
        engine.run("--name", "kept", "--rm", image="nimify-test/kept:1")
        old = engine.inspect("kept")
        with pytest.raises(ClusterError, match="removes itself"):
            successor(old, engine.inspect(old["Image"]), images[1], {}, beside=True)


def test_sabotage_what_is_forgotten_is_noticed(
    engine: Engine, images: tuple[str, str], tmp_path: Path
) -> None:
    """The comparison above sees a shm size that was not taken along."""
    with engine.swept():
        engine.run("--name", "kept", "--shm-size", "96m", image="nimify-test/kept:1")
        old = engine.inspect("kept")
        new = successor(old, engine.inspect(old["Image"]), images[1], {}, beside=True)
        del new.body["HostConfig"]["ShmSize"]

        async def work(line: Connection) -> None:
            await start_body(line, "successor", new.body, new.networks, Leaves(tmp_path).leave(CALLS))

        acting(engine, work)
        assert engine.inspect("successor")["HostConfig"]["ShmSize"] != old["HostConfig"]["ShmSize"]


def _mounts(shown: Json) -> dict[str, tuple[Any, ...]]:
    return {
        each["Destination"]: (each["Type"], each.get("Name"), each.get("Source"), each["RW"])
        for each in shown["Mounts"]
    }


def _aliases(shown: Json) -> dict[str, set[str]]:
    own = {shown["Id"][:12], shown["Name"].lstrip("/")}
    return {
        name: set(each["Aliases"] or []) - own for name, each in shown["NetworkSettings"]["Networks"].items()
    }
