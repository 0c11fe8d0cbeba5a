"""The HAProxy in front: its configuration, and its runtime API on a real one."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.creating import CALLS, start_new
from nimify_tui.backends.docker.haproxy import (
    FILE,
    FOLDER,
    PORT,
    Front,
    FrontSettings,
    Server,
    archive,
    configuration,
    parse_stat,
)
from nimify_tui.backends.docker.specs import ContainerSpec, Mount, Published, Safety
from nimify_tui.base.errors import ClusterError, ValidationError
from tests.docker.engine import BUSYBOX, Engine, free_port, which
from tests.docker.fixtures import missing
from tests.docker.images import HAPROXY
from tests.docker.leaves import Leaves, acting
from tests.support import run_command, wait_for

SETTINGS = FrontSettings(health_path="/health")


def test_servers_are_added_drained_and_removed_while_it_runs(
    engine: Engine, debian: Path, tmp_path: Path
) -> None:
    port = free_port()
    leaves = Leaves(tmp_path)
    with engine.swept():
        servers = [web(engine, name) for name in ("one", "two")]
        spec = ContainerSpec(
            name="front", image=HAPROXY, entrypoint=("haproxy",), command=("-W", "-db", "-f", f"{FOLDER}/{FILE}"),
            mounts=(Mount(kind="volume", target=FOLDER, archive=archive(SETTINGS, servers[:1])),),
            ports=(Published(port=PORT, host_port=port),), safety=Safety(user="65532:65532"),
        )  # fmt: skip
        acting(engine, lambda line: start_new(line, spec, leaves.leave(CALLS)))
        wait_for(
            lambda: who(port) == "one",
            20,
            why="the first server",
            detail=lambda: engine.docker("logs", "front"),
        )

        async def add(line: Connection) -> None:
            front = Front(line, "front", leaves.leave(20))
            await front.add(servers[1])
            (first, second) = await front.stats()
            assert (first.name, first.up, first.check) == ("one", True, "L7OK")
            assert second.address == servers[1].place

        acting(engine, add)
        wait_for(lambda: {who(port), who(port)} == {"one", "two"}, 20, why="both servers")

        async def drain(line: Connection) -> None:
            front = Front(line, "front", leaves.leave(20))
            await front.drain("one")
            assert [(each.status == "DRAIN", each.up) for each in await front.stats()] == [
                (True, False),
                (False, True),
            ]

        acting(engine, drain)
        assert {who(port) for _ in range(6)} == {"two"}

        async def remove(line: Connection) -> bool:
            return await Front(line, "front", leaves.leave(4)).remove("one")

        wait_for(lambda: acting(engine, remove), 20, why="the drained server to be forgotten")
        assert acting(engine, remove), "one that is gone is no error"

        async def save(line: Connection) -> None:
            await Front(line, "front", leaves.leave(1)).save(SETTINGS, servers[1:])

        acting(engine, save)
        # Sabotage of the same: what was only removed at run time would be back, and the stopped server's lines, too.
        engine.docker("restart", "--time", "1", "front")
        wait_for(lambda: who(port) == "two", 20, why="the front to be back")
        assert {who(port) for _ in range(6)} == {"two"}


def test_an_image_without_a_client_for_the_socket_is_named(engine: Engine, tmp_path: Path) -> None:
    with engine.swept():
        engine.run("--name", "bare")

        async def work(line: Connection) -> None:
            await Front(line, "bare", Leaves(tmp_path).leave(2)).stats()

        with pytest.raises(ClusterError, match="neither socat nor perl is in this image") as caught:
            acting(engine, work)
        assert caught.value.remedy == "use an image that has one of them, as haproxy:lts has"


def test_haproxy_takes_every_configuration_that_is_written(tmp_path: Path) -> None:
    program = which("haproxy") or missing("not installed: haproxy")
    some = [Server("a-1", "10.0.0.1", 8000, 8001), Server("b.2", "fd00::1", 8000, 8001)]
    for number, settings in enumerate(
        [FrontSettings(), FrontSettings(retries=0), FrontSettings(retry_bytes=1 << 20)]
    ):
        for servers in ([], some):
            path = tmp_path / f"{number}-{len(servers)}.cfg"
            path.write_text(configuration(settings, servers), encoding="utf-8")
            done = run_command([program, "-c", "-f", path])
            assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_from_outside_becomes_a_second_command() -> None:
    for name, address in (
        ("a;b", "10.0.0.1"),
        ("a\nb", "10.0.0.1"),
        ("a", "10.0.0.1\nuser root"),
        ("a", "host"),
    ):
        with pytest.raises(ValidationError):
            Server(name, address, 80, 80)
    for path in ("/x\n    server evil", "health", "/a b"):
        with pytest.raises(ValidationError):
            configuration(FrontSettings(health_path=path), [])


def test_foreign_and_cut_statistics_are_no_servers() -> None:
    head = "# pxname,svname,qcur,scur,stot,econ,eresp,status,check_status,addr,\n"
    text = head + (
        "replicas,good,1,2,30,4,5,UP 1/2,L7OK,10.0.0.1:8000,\n"
        "replicas,BACKEND,0,0,0,0,0,UP,,,\n"
        "replicas,\x1b[2Jevil,x,-1,,,,DOWN,L4CON,,\n"
        "replicas,cut"
    )
    good, evil = parse_stat(text)
    assert (good.name, good.up, good.queued, good.sessions, good.total, good.errors) == (
        "good",
        True,
        1,
        2,
        30,
        9,
    )
    assert "\x1b" not in evil.name
    assert (evil.up, evil.sessions) == (False, 0)
    assert parse_stat("") == []


def web(engine: Engine, name: str) -> Server:
    """A server that says its name."""
    engine.busybox()
    files = f"mkdir /w; echo {name} > /w/who; echo ok > /w/health; httpd -f -p 80 -h /w"
    engine.run("--name", name, image=BUSYBOX, command=("sh", "-c", files))
    return Server(name, engine.inspect(name)["NetworkSettings"]["IPAddress"], 80, 80)


def who(port: int) -> str:
    """Who answers; "" for nobody."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/who", timeout=5) as answer:
            return str(answer.read().decode().strip())
    except OSError:
        return ""
