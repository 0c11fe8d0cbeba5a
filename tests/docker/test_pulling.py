"""Pulling from a real registry: progress, calling off, and one clear sentence for each way it can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.backends.docker.connection import Connection
from nimify_tui.backends.docker.errors import EngineRefused
from nimify_tui.backends.docker.progress import Event, Layer
from nimify_tui.backends.docker.pulling import find, pull, runnable
from nimify_tui.base.errors import ValidationError
from tests.docker.engine import Engine, foreign, free_port, tree
from tests.docker.leaves import Leaves, acting
from tests.docker.registry import Registry, registry


@pytest.fixture(scope="module")
def store(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def leaves(tmp_path: Path) -> Leaves:
    return Leaves(tmp_path)


def pulled(engine: Engine, leaves: Leaves, reference: str) -> list[Event]:
    async def work(line: Connection) -> list[Event]:
        return [event async for event in pull(line, reference, leaves.leave(1))]

    return acting(engine, work)


def refusal(engine: Engine, leaves: Leaves, reference: str) -> EngineRefused:
    with pytest.raises(EngineRefused) as caught:
        pulled(engine, leaves, reference)
    return caught.value


def test_a_pull_tells_each_layers_progress(engine: Engine, store: Registry, leaves: Leaves) -> None:
    content = {f"part-{number}": bytes([number]) * 3_000_000 for number in range(3)}
    engine.import_image("nimify-test/big:1", tree(content))
    reference = store.push(engine, "nimify-test/big:1", "team/big:1")
    engine.docker("rmi", "nimify-test/big:1")
    events = [event for event in pulled(engine, leaves, reference) if isinstance(event, Layer)]
    assert any(event.status == "Extracting" and 0 < event.done_bytes <= event.total_bytes for event in events)
    assert any(event.status == "Pull complete" for event in events)
    assert events[-1].status.startswith("Status: Downloaded newer image")
    assert engine.has_image(reference)


def test_there_is_no_such_image(engine: Engine, store: Registry, leaves: Leaves) -> None:
    error = refusal(engine, leaves, f"{store.host}/team/none:1")
    assert error.message.startswith(f"pull of {store.host}/team/none:1: ")
    assert "manifest unknown" in error.message or "not found" in error.message
    assert error.remedy == "check the name and the tag; a private registry says this also without a login"


def test_there_is_none_for_this_machine(engine: Engine, store: Registry, leaves: Leaves) -> None:
    engine.busybox()
    store.push(engine, "nimify-test/busybox:1", "team/arm:1")
    reference = store.list_for("team/arm", "list", ("linux", "s390x"))
    error = refusal(engine, leaves, reference)
    assert "no matching manifest for linux/" in error.message
    assert error.remedy == "build or pull the image for this host's architecture"


def test_nobody_is_at_the_registry(engine: Engine, leaves: Leaves) -> None:
    error = refusal(engine, leaves, f"127.0.0.1:{free_port()}/team/none:1")
    assert "connection refused" in error.message
    assert error.remedy == "check the registry's name and that the engine's host reaches it"


def test_no_name_reaches_the_engine_that_is_none(engine: Engine, leaves: Leaves) -> None:
    for name in ("", "UPPER", "a/../b", "x?tag=y", "a:b:c", "-x", "a\nb", "http://a/b"):
        with pytest.raises(ValidationError):
            pulled(engine, leaves, name)


def test_a_local_image_for_another_machine_is_noticed_before_a_start(engine: Engine, leaves: Leaves) -> None:
    foreign(engine, "nimify-test/foreign:1")

    async def work(line: Connection) -> None:
        found = await find(line, "nimify-test/foreign:1")
        assert found is not None
        assert found.Architecture == "s390x"
        await runnable(line, "nimify-test/foreign:1")

    with pytest.raises(EngineRefused, match="is for s390x, and the engine's machine is") as caught:
        acting(engine, work)
    assert caught.value.remedy.startswith("build or pull it for linux/")


def test_a_pull_that_is_called_off_leaves_no_image(engine: Engine, store: Registry, leaves: Leaves) -> None:
    engine.import_image("nimify-test/slow:1", tree({"part": bytes(60_000_000)}))
    reference = store.push(engine, "nimify-test/slow:1", "team/slow:1")
    engine.docker("rmi", "nimify-test/slow:1")

    async def work(line: Connection) -> None:
        async def go() -> None:
            async for _ in pull(line, reference, leaves.leave(1)):
                begun.set()

        begun = asyncio.Event()
        task = asyncio.create_task(go())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    acting(engine, work)
    assert not engine.has_image(reference)
