"""A container is made as it was wished and runs, or nothing of it is left and one sentence says why."""

from __future__ import annotations

import asyncio
import itertools
import socket
from pathlib import Path

import pytest

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.creating import CALLS, start_new
from nimify_tui.backends.docker.errors import EngineRefused
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.specs import (
    Caps,
    ContainerSpec,
    Gpus,
    Health,
    Mount,
    Published,
    Safety,
    Ulimit,
)
from nimify_tui.base.errors import GateRefused, NimifyError, ValidationError
from nimify_tui.domain.plans import Permit, Plan
from tests.docker.engine import BUSYBOX, Engine, foreign, free_port, tree
from tests.docker.fixtures import started
from tests.docker.leaves import Leaves, acting
from tests.support import wait_for

IDLE = ("sleep", "1000000")


def start(engine: Engine, folder: Path, spec: ContainerSpec, calls: int = CALLS) -> str:
    """Start it; its id."""
    engine.busybox()
    return acting(engine, lambda line: start_new(line, spec, Leaves(folder).leave(calls)))


def refusal(engine: Engine, folder: Path, spec: ContainerSpec) -> NimifyError:
    """The error of a start that has to fail, after which no container is left."""
    with pytest.raises(NimifyError) as caught:
        start(engine, folder, spec)
    assert spec.name not in engine.containers()
    return caught.value


def test_it_is_as_it_was_wished(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "bound").mkdir()
    for name in ("one", "two"):
        engine.docker("network", "create", name)
    port = free_port()
    spec = ContainerSpec(
        name="wished", image=BUSYBOX, command=("httpd", "-f", "-p", "80", "-h", "/files"), env={"MODE": "a=b c"},
        labels={"team": "vision"}, ports=(Published(port=80, host_port=port),),
        mounts=(
            Mount(kind="volume", target="/files", archive=tree({"hello": b"hi"})),
            Mount(kind="bind", target="/bound", source=str(tmp_path / "bound"), read_only=True),
            Mount(kind="tmpfs", target="/tmp", size_bytes=1 << 20),
        ),
        networks={"one": ("model",), "two": ()}, devices=("/dev/null",),
        caps=Caps(cpus=0.5, memory_bytes=64 << 20, pids=50, shm_bytes=80 << 20,
                  ulimits=(Ulimit(name="nofile", soft=2048, hard=4096),)),
        safety=Safety(add=("NET_BIND_SERVICE",)), health=Health(command=("true",), interval_s=0.5),
        restart="on-failure", max_restarts=3, stop_s=4, ipc="private",
    )  # fmt: skip
    with engine.swept():
        start(engine, tmp_path, spec)
        shown = engine.inspect("wished")
        host, config = shown["HostConfig"], shown["Config"]
        assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 64 << 20, 64 << 20)
        assert (host["PidsLimit"], host["ShmSize"], host["IpcMode"]) == (50, 80 << 20, "private")
        assert host["Ulimits"] == [{"Name": "nofile", "Soft": 2048, "Hard": 4096}]
        assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"]) == (
            True,
            ["ALL"],
            ["NET_BIND_SERVICE"],
        )
        assert (host["SecurityOpt"], host["Init"]) == (["no-new-privileges"], True)
        assert "MODE=a=b c" in config["Env"]
        assert config["Labels"]["team"] == "vision"
        assert config["StopTimeout"] == 4
        assert {each["Destination"] for each in shown["Mounts"]} == {"/files", "/bound", "/tmp"}
        assert set(shown["NetworkSettings"]["Networks"]) == {"one", "two"}
        assert "model" in shown["NetworkSettings"]["Networks"]["one"]["Aliases"]
        # And it does what it says, seen from inside.
        inside = engine.docker(
            "exec",
            "wished",
            "sh",
            "-c",
            "ulimit -Hn; cat /files/hello; df -k /tmp | tail -n 1; ls -l /dev/null",
        )
        assert inside.startswith("4096\nhi")
        assert "1024" in inside
        wait_for(lambda: engine.inspect("wished")["State"]["Health"]["Status"] == "healthy", 20, why="health")
    for name in ("one", "two"):
        engine.docker("network", "rm", name)


def test_gpus_are_asked_for_and_a_host_without_them_says_so(engine: Engine, tmp_path: Path) -> None:
    for gpus in (Gpus(count=-1), Gpus(ids=("0", "GPU-1"))):
        error = refusal(
            engine,
            tmp_path / str(gpus.count),
            ContainerSpec(name="gpu", image=BUSYBOX, command=IDLE, gpus=gpus),
        )
        assert "the engine has no driver for GPUs" in error.message
        assert error.remedy == "install the NVIDIA container toolkit on the engine's host, or ask for no GPU"
    body = ContainerSpec(name="gpu", image=BUSYBOX, gpus=Gpus(ids=("0",))).body()
    assert body["HostConfig"]["DeviceRequests"] == [
        {"Driver": "", "Capabilities": [["gpu"]], "DeviceIDs": ["0"]}
    ]  # fmt: skip


def test_a_port_that_somebody_has(engine: Engine, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = (Published(port=80, host_port=taken.getsockname()[1]),)
        error = refusal(
            engine, tmp_path, ContainerSpec(name="late", image=BUSYBOX, command=IDLE, ports=ports)
        )
    assert "address already in use" in error.message
    assert error.remedy == "end what holds the port, or choose another one"


def test_no_such_image_and_one_for_another_machine(engine: Engine, tmp_path: Path) -> None:
    error = refusal(engine, tmp_path, ContainerSpec(name="none", image="nimify-test/none:7"))
    assert (error.message, error.remedy) == (
        f"the engine at {engine.socket} has no image nimify-test/none:7", "pull or build it first"
    )  # fmt: skip
    foreign(engine, "nimify-test/elsewhere:1")
    error = refusal(engine, tmp_path / "2", ContainerSpec(name="none", image="nimify-test/elsewhere:1"))
    assert "is for s390x" in error.message
    assert "build or pull it for linux/" in error.remedy


def test_what_fails_between_making_and_starting_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    """A network that is not there, a program that is not there."""
    some: dict[str, ContainerSpec] = {
        "network": ContainerSpec(name="half", image=BUSYBOX, command=IDLE, networks={"bridge": (), "no-such-net": ()}),
        "not found": ContainerSpec(name="half", image=BUSYBOX, command=("no-such-program",), init=False),
    }  # fmt: skip
    volumes = engine.docker("volume", "ls", "-q")
    for number, (words, spec) in enumerate(some.items()):
        error = refusal(engine, tmp_path / str(number), spec)
        assert words in error.message, error.message
        assert error.message.startswith("start of half")
    assert engine.docker("volume", "ls", "-q") == volumes


def test_a_name_that_is_taken_leaves_the_one_that_has_it(engine: Engine, tmp_path: Path) -> None:
    with engine.swept():
        first = start(engine, tmp_path / "1", ContainerSpec(name="same", image=BUSYBOX, command=IDLE))
        with pytest.raises(EngineRefused, match="already in use") as caught:
            start(engine, tmp_path / "2", ContainerSpec(name="same", image=BUSYBOX, command=IDLE))
        assert caught.value.remedy == "choose another name, or remove the container that has it"
        assert engine.inspect("same")["Id"] == first
        assert engine.inspect("same")["State"]["Running"]


@pytest.mark.parametrize("step", [1, 2], ids=["while it is made", "while it is started"])
def test_a_start_that_is_called_off_leaves_nothing(engine: Engine, tmp_path: Path, step: int) -> None:
    engine.busybox()
    spec = ContainerSpec(name="off", image=BUSYBOX, command=IDLE)
    given, asked = Leaves(tmp_path).leave(CALLS), itertools.count(1)

    async def work(line: Connection) -> None:
        def verify(permit: Permit, plan: Plan) -> None:
            given.verify(permit, plan)
            if next(asked) == step:
                task.cancel()

        task = asyncio.create_task(start_new(line, spec, Leave(given.permit, given.plan, verify)))
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    acting(engine, work)
    assert next(asked) == step + 2, "it asked for the removal, too"
    assert "off" not in engine.containers()


def test_without_leave_nothing_is_made(engine: Engine, tmp_path: Path) -> None:
    engine.busybox()
    leave = Leaves(tmp_path).leave(1)
    leave.verify(leave.permit, leave.plan)
    with pytest.raises(GateRefused):
        acting(engine, lambda line: start_new(line, ContainerSpec(name="no", image=BUSYBOX), leave))
    assert "no" not in engine.containers()


def test_a_full_disk_says_so(tmp_path: Path) -> None:
    """On an engine of its own, whose disk is a small one."""
    with started(disk_bytes=48 << 20) as small:
        small.busybox()
        files = tree({"model": bytes(64 << 20)})
        spec = ContainerSpec(
            name="full",
            image=BUSYBOX,
            command=IDLE,
            mounts=(Mount(kind="volume", target="/m", archive=files),),
        )
        error = refusal(small, tmp_path, spec)
        assert "no space left on device" in error.message
        assert error.remedy == "free disk space on the engine's host: `docker system df` shows what takes it"


@pytest.mark.parametrize(
    "spec",
    [
        ContainerSpec(name="../x", image=BUSYBOX),
        ContainerSpec(name="x", image="UPPER"),
        ContainerSpec(name="x", image=BUSYBOX, env={"A=B": "c"}),
        ContainerSpec(name="x", image=BUSYBOX, command=("a\0b",)),
        ContainerSpec(name="x", image=BUSYBOX, caps=Caps(memory_bytes=1024)),
        ContainerSpec(name="x", image=BUSYBOX, ports=(Published(port=70000),)),
        ContainerSpec(name="x", image=BUSYBOX, mounts=(Mount(kind="bind", target="/a", source="b"),)),
        ContainerSpec(name="x", image=BUSYBOX, mounts=(Mount(kind="tmpfs", target="/a", archive=b"x"),)),
        ContainerSpec(name="x", image=BUSYBOX, restart="always", max_restarts=2),
    ],
)
def test_what_cannot_be_reaches_no_engine(spec: ContainerSpec) -> None:
    with pytest.raises(ValidationError) as caught:
        spec.check()
    assert caught.value.remedy
