"""The image of our runtime: built by the engine out of the shipped Dockerfile, and it really serves its model."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import numpy as np
import pytest

from nimify_tui.backends.docker.building import BuildOrder, build
from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.creating import CALLS, start_new
from nimify_tui.backends.docker.errors import EngineRefused
from nimify_tui.backends.docker.progress import Event, Made, Said, Sent, Step
from nimify_tui.backends.docker.specs import Caps, ContainerSpec, Health, Mount, Published
from nimify_tui.base.errors import GateRefused
from tests.docker.conftest import Runtime
from tests.docker.engine import Engine, free_port, tree
from tests.docker.leaves import Leaves, acting
from tests.docker.serving import direct, infer, rows, texts
from tests.support import wait_for


def test_the_build_tells_how_far_it_is_and_what_the_engine_says(engine: Engine, runtime: Runtime) -> None:
    built = runtime.events
    sent = [event for event in built if isinstance(event, Sent)]
    assert sent[-1].done_bytes == sent[-1].total_bytes > 10_000_000
    steps = [event for event in built if isinstance(event, Step)]
    assert [step.number for step in steps] == list(range(1, steps[-1].total + 1))
    assert steps[0].text == "ARG BASE=python:3.11-slim"
    assert any("Successfully installed" in text and "onnxruntime" in text for text in texts(built))
    assert built[-1] == Made(engine.inspect(runtime.images[0])["Id"])


def test_the_image_says_what_it_is_and_is_not_root(engine: Engine, runtime: Runtime) -> None:
    config = engine.inspect(runtime.images[0])["Config"]
    digest = hashlib.sha256(runtime.models[0].read_bytes()).hexdigest()
    assert config["Labels"] == {
        "app.kubernetes.io/name": "digits", "app.kubernetes.io/managed-by": "nimify-tui",
        "nimify.dev/service": "digits",
        "nimify.dev/revision": "1", "nimify.dev/model-sha256": digest,
        "org.opencontainers.image.title": "digits", "org.opencontainers.image.version": "1",
    }  # fmt: skip
    assert config["User"] == "65532:65532"
    assert set(config["ExposedPorts"]) == {"8000/tcp", "8001/tcp"}
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "/opt/nimify/bin/python"]


def test_it_serves_the_model_on_a_read_only_root_as_nobody(
    engine: Engine, runtime: Runtime, tmp_path: Path
) -> None:
    port = free_port()
    spec = ContainerSpec(
        name="digits-1", image=runtime.images[0], ports=(Published(port=8000, host_port=port),),
        mounts=(Mount(kind="tmpfs", target="/tmp", size_bytes=16 << 20),), health=Health(interval_s=0.5),
        caps=Caps(cpus=1.5, memory_bytes=512 << 20, pids=128),
    )  # fmt: skip
    with engine.swept():
        acting(engine, lambda line: start_new(line, spec, Leaves(tmp_path).leave(CALLS)))
        wait_for(
            lambda: engine.inspect("digits-1")["State"]["Health"]["Status"] == "healthy", 60, why="a healthy container",
            every_s=0.2, detail=lambda: engine.docker("logs", "digits-1"),
        )  # fmt: skip
        assert engine.inspect("digits-1")["State"]["Health"]["Log"][-1]["Output"].strip() == '{"ready":true}'
        given = rows()
        answer = infer(f"http://127.0.0.1:{port}", "digits", given)
        np.testing.assert_allclose(answer, direct(runtime.models[0], given), rtol=1e-5, atol=1e-6)
        assert engine.docker("exec", "digits-1", "id", "-u").strip() == "65532"
        refused = engine.docker("exec", "digits-1", "sh", "-c", "touch /models/x 2>&1 || true")
        assert "Read-only file system" in refused
        assert engine.docker("exec", "digits-1", "cat", "/proc/1/comm").strip() == "docker-init"
        written = engine.docker("diff", "digits-1")
        assert "/models" not in written
        assert "/opt" not in written
        # The runtime's own drain, not a kill after the engine has lost its patience.
        engine.docker("stop", "digits-1")
        state = engine.inspect("digits-1")["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
        assert "drained in" in engine.docker("logs", "digits-1")


def test_a_step_that_fails_says_so_in_the_engines_words(engine: Engine, tmp_path: Path) -> None:
    seen: list[Event] = []
    engine.busybox()

    async def work(line: Connection) -> None:
        order = _order(tmp_path, "RUN echo about to fail; false")
        async for event in build(line, order, Leaves(tmp_path).leave(1)):
            seen.append(event)  # noqa: PERF401  # what came before the error counts, too

    with pytest.raises(EngineRefused, match=r"build of nimify-test/other:1: .*returned a non-zero code: 1"):
        acting(engine, work)
    assert Said("about to fail") in seen
    assert not engine.has_image("nimify-test/other:1")


def test_a_build_that_is_called_off_ends_with_its_container(engine: Engine, tmp_path: Path) -> None:
    """Sabotage in the same test: before it is called off, the step's container is there and runs."""
    engine.busybox()
    before = set(engine.docker("ps", "-aq").split())

    def added() -> set[str]:
        return set(engine.docker("ps", "-aq").split()) - before

    async def work(line: Connection) -> None:
        async def go() -> None:
            async for _ in build(line, _order(tmp_path, "RUN sleep 1000"), Leaves(tmp_path).leave(1)):
                pass

        task = asyncio.create_task(go())
        await asyncio.to_thread(wait_for, added, 20, why="the step's container")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    acting(engine, work)
    wait_for(lambda: not added(), 20, why="the step's container to go")
    assert not engine.has_image("nimify-test/other:1")


def test_without_leave_nothing_is_built(engine: Engine, tmp_path: Path) -> None:
    leave = Leaves(tmp_path).leave(1)
    leave.verify(leave.permit, leave.plan)  # used up

    async def work(line: Connection) -> None:
        async for _ in build(line, _order(tmp_path, "CMD true"), leave):
            pass

    with pytest.raises(GateRefused):
        acting(engine, work)
    assert not engine.has_image("nimify-test/other:1")


def _order(folder: Path, *lines: str) -> BuildOrder:
    text = "\n".join(["FROM nimify-test/busybox:1", *lines, ""])
    path = folder / "context.tar"
    path.write_bytes(tree({"Dockerfile": text.encode()}))
    return BuildOrder(
        tag="nimify-test/other:1",
        context=path.open("rb"),
        size_bytes=path.stat().st_size,
        labels={},
        arguments={},
    )
