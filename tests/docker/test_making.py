"""From a model file to a service on a Docker host, and away again: built, started, answered, on a real engine."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from nimify_tui.base.errors import GateRefused, NimifyError, ValidationError
from nimify_tui.domain.plans import ActionState, Verb
from nimify_tui.domain.services import Limits, ServiceSpec
from tests import models_factory
from tests.docker.acting import Acting, acting, fact, region_toml, write_config
from tests.docker.engine import Engine, free_port
from tests.docker.images import HAPROXY
from tests.docker.serving import direct, infer, rows
from tests.docker.test_service_acting import diff, ends
from tests.support import Home, run_python


@pytest.fixture
def config(engine: Engine, debian: Path, tmp_path: Path) -> Path:
    """A region that builds offline."""
    more = f'front_image = "{HAPROXY}"\nwheelhouse = "{debian}"\n'
    return write_config(tmp_path, region_toml("dock", url=engine.url, more=more))


@pytest.fixture
def desk(engine: Engine, config: Path) -> Iterator[Acting]:
    with engine.swept(), acting(config, "dock") as made:
        yield made
    engine.docker("network", "prune", "--force")


def model(folder: Path, seed: int) -> Path:
    path = folder / f"net-{seed}.onnx"
    path.write_bytes(models_factory.mlp(seed=seed))
    return path


def agrees(port: int, path: Path, name: str = "fresh") -> None:
    """What the address answers is what onnxruntime says."""
    given = rows()
    np.testing.assert_allclose(
        infer(f"http://127.0.0.1:{port}", name, given), direct(path, given), rtol=1e-5, atol=1e-6
    )


def test_a_model_becomes_a_service_gets_a_revision_and_goes(desk: Acting, engine: Engine, tmp_path: Path) -> None:
    path, port = model(tmp_path, 1), free_port()
    spec = ServiceSpec(model_path=str(path), limits=Limits(memory_bytes=512 << 20, threads=2))
    plan = desk.plan(Verb.CREATE, "fresh", spec=spec, replicas=2, port=port)
    assert fact(plan, "objects") == (
        "new service fresh: 2 replicas, the front fresh-front and the network nimify-fresh"
    )
    assert fact(plan, "build").endswith("comes from a folder of wheels, offline")
    assert fact(plan, "on failure").endswith("nothing of it is left")
    assert "+ image: nimify/fresh:r1, built from the model" in diff(plan)
    assert f"+ front: {HAPROXY}" in diff(plan)
    with pytest.raises(GateRefused):
        desk.do(plan, "")
    assert engine.containers("name=fresh") == []
    plan = desk.plan(Verb.CREATE, "fresh", spec=spec, replicas=2, port=port)
    made = desk.do(plan)
    assert made.state is ActionState.OK, (made, desk.said[-5:])
    assert made.message == f"2 of 2 serve nimify/fresh:r1 behind fresh-front, on 127.0.0.1:{port}"
    assert any(text.startswith("builds: ") and "COPY model/" in text for text in desk.said)
    # An engine that has built the same layers before says so instead of installing them.
    told = ("Successfully installed", "Using cache")
    assert any(word in text for text in desk.said for word in told), ("the engine's log is told", desk.said)
    assert ends(desk, plan) == ["action.begin", "action.end"]
    agrees(port, path)
    shown = engine.inspect("fresh-r1-1")
    assert (shown["HostConfig"]["Memory"], shown["HostConfig"]["ReadonlyRootfs"]) == (512 << 20, True)
    assert shown["Config"]["User"] == "65532:65532"
    desk.until(lambda: (row := desk.row("fresh")) and (row.ready, row.desired) == (2, 2), "2 ready")
    seen = desk.service("fresh")
    assert (seen.endpoint, seen.model_name) == (f"http://127.0.0.1:{port}", "fresh")
    assert all(each.admin_url.endswith(":8001") for each in desk.replicas("fresh"))
    assert desk.session.first_answer(desk.key("fresh"), 20).result(30).good
    with pytest.raises(ValidationError, match="there is a service 'fresh'"):
        desk.plan(Verb.CREATE, "fresh", spec=spec)

    second = model(tmp_path, 2)
    plan = desk.plan(Verb.UPDATE, "fresh", spec=ServiceSpec(model_path=str(second)))
    assert fact(plan, "change") == "image nimify/fresh:r1 → nimify/fresh:r2, built from the model"
    assert fact(plan, "undo") == "back to nimify/fresh:r1"
    slow = desk.plan(Verb.UPDATE, "fresh", spec=ServiceSpec(model_path=str(second)), stop_first=True)
    assert fact(slow, "capacity") == "each replica ends before its successor starts: 1 of 2 serve meanwhile"
    with pytest.raises(ValidationError, match="GPUs of a service stay as it was made with them"):
        desk.plan(Verb.UPDATE, "fresh", spec=ServiceSpec(model_path=str(second)), gpus="1")
    updated = desk.do(plan)
    assert updated.state is ActionState.OK, (updated, desk.said[-5:])
    agrees(port, second)
    desk.undo(updated)
    agrees(port, path)

    assert made.undo is not None
    desk.until(lambda: (row := desk.row("fresh")) and (row.ready, row.desired) == (2, 2), "2 ready")
    gone = desk.session.plan(made.undo).result(30)
    assert gone.destructive
    assert fact(gone, "change") == "its replicas, its front and the network nimify-fresh are removed"
    assert fact(gone, "undo").startswith("make it again as it was, without what it wrote; only this console knows how")
    assert desk.do(gone).state is ActionState.OK, desk.said
    assert engine.containers("name=fresh") == []
    assert "nimify-fresh" not in engine.docker("network", "ls")
    desk.until(lambda: desk.row("fresh") is None, "the row goes")

    assert gone.undo is not None
    back = desk.session.plan(gone.undo).result(30)
    assert fact(back, "objects") == "2 containers, a front and a network"
    again = desk.do(back)
    assert (again.state, again.message) == (ActionState.OK, "3 of 3 run again"), desk.said[-5:]
    agrees(port, path)
    assert engine.inspect("fresh-r3-1")["HostConfig"]["Memory"] == 512 << 20
    with pytest.raises(ValidationError, match="not kept any more"):
        desk.session.plan(msgspec.structs.replace(gone.undo, mark="of another console")).result(30)


def test_a_service_that_does_not_come_up_leaves_nothing(desk: Acting, engine: Engine, tmp_path: Path) -> None:
    """Its file is no model. Sabotage: without ``_unmake`` on the way out two containers and a network stay."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model at all")
    result = desk.do(desk.plan(Verb.CREATE, "broken", spec=ServiceSpec(model_path=str(path)), replicas=2))
    assert result.state is ActionState.FAILED, result
    assert "broken-r1-1 end" in result.message
    assert engine.containers("name=broken") == []
    assert "nimify-broken" not in engine.docker("network", "ls")
    assert not engine.has_image("nimify/broken:r1")


def test_the_command_line_deploys_to_a_docker_host(
    desk: Acting, engine: Engine, config: Path, home: Home, tmp_path: Path
) -> None:
    path, port = model(tmp_path, 3), free_port()
    common = ("--config", str(config), "--region", "dock")
    done = run_python(
        "-m", "nimify_tui", "deploy", str(path), "--name", "typed", "--port", str(port), "--yes", "-o", "json",
        "--timeout", "60", "--cache-bytes", "1MiB", *common, env=home.env, deadline_s=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "OK"
    assert "+ response cache: 1 MiB for each model and replica (60 s)" in done.stderr
    assert "first inference answered" in done.stderr
    agrees(port, path, "typed")
    agrees(port, path, "typed")
    desk.until(lambda: (row := desk.row("typed")) and row.ready == 1, "1 ready")
    (replica,) = desk.replicas("typed")
    with urllib.request.urlopen(f"{replica.admin_url}/metrics", timeout=10) as page:
        hits = [line for line in page.read().decode().splitlines() if 'result="hit",tier="l1"' in line]
    assert [line.rpartition(" ")[2] for line in hits] == ["1.0"], "the second answer was kept"
    done = run_python("-m", "nimify_tui", "delete", "typed@dock", "--yes", *common, env=home.env)
    assert done.returncode == 0, done.stderr
    assert engine.containers("name=typed") == []


def test_what_cannot_be_made_is_said_before(desk: Acting, tmp_path: Path) -> None:
    spec = ServiceSpec(model_path=str(model(tmp_path, 4)))
    for fields, match in (
        ({"spec": spec, "replicas": 0}, "at least one replica"),
        ({"spec": ServiceSpec(model_path=str(tmp_path))}, "one model"),
        ({"spec": ServiceSpec(model_path=str(tmp_path / "none.onnx"))}, "cannot be read"),
        ({"spec": spec, "port": 70_000}, "port 70000"),
        ({"spec": msgspec.structs.replace(spec, limits=Limits(artifact_cache_bytes=2**30))}, "artifact cache is for"),
        ({}, "model is missing"),
    ):
        with pytest.raises(NimifyError, match=match):
            desk.plan(Verb.CREATE, "never", **fields)
