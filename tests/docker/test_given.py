"""A service of an image that somebody else built, on a real engine: made as it was wished, scaled, removed; GPUs.

The image is busybox with its own web server. About 12 s on two cores.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimify_tui.base.errors import ClusterError, ValidationError
from nimify_tui.controllers.imagespec import image_spec
from nimify_tui.domain.plans import ActionState, Verb
from nimify_tui.domain.services import ServiceSpec
from tests import models_factory
from tests.docker.acting import Acting, acting, fact, region_toml, write_config
from tests.docker.engine import BUSYBOX, Engine, free_port
from tests.docker.images import HAPROXY
from tests.docker.test_service_acting import diff
from tests.support import Home, run_python

#: A web server on port 9000; what it has been given is at /mode.
MADE = 'mkdir /tmp/w && echo ok > /tmp/w/ready && echo "$MODE" > /tmp/w/mode'
SERVER = f"sh -c '{MADE} && exec httpd -f -p 9000 -h /tmp/w'"
SAID = (("container-port", "9000"), ("health-path", "/ready"), ("command", SERVER), ("env", "MODE=fast"))
SECRET = "hush-hush-4712"


@pytest.fixture
def config(engine: Engine, debian: Path, tmp_path: Path) -> Path:
    engine.busybox()
    return write_config(tmp_path, region_toml("dock", url=engine.url, more=f'front_image = "{HAPROXY}"\n'))


@pytest.fixture
def desk(engine: Engine, config: Path) -> Iterator[Acting]:
    with engine.swept(), acting(config, "dock") as made:
        yield made
    engine.docker("network", "prune", "--force")


def mode(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/mode", timeout=20) as answer:
        return str(answer.read().decode())


def nothing_of(engine: Engine, name: str) -> bool:
    return engine.containers(f"name={name}") == [] and f"nimify-{name}" not in engine.docker("network", "ls")


def test_an_image_becomes_a_service_as_it_was_wished(
    desk: Acting, engine: Engine, config: Path, home: Home, tmp_path: Path
) -> None:
    """Planned here, made by the command line. Sabotage seen failing: a diff or a trail with the secret's value."""
    (tmp_path / "key").write_text(f"{SECRET}\n", encoding="ascii")
    said = (
        *SAID, ("memory", "64MiB"), ("cpus", "0.5"), ("shm-size", "96m"), ("restart", "on-failure"),
        ("health-cmd", "test -e /tmp/w/ready"), ("mount", f"{tmp_path}:/models"),
        ("secret", f"API=file:{tmp_path}/key"), ("secret", "OTHER=env:TEST_API_KEY"),
    )  # fmt: skip
    wish = {"image": BUSYBOX, "image_spec": image_spec(said), "port": (port := free_port())}
    plan = desk.plan(Verb.CREATE, "web", **wish)
    assert fact(plan, "serves") == "port 9000 of each replica, which its front asks GET /ready"
    assert fact(plan, "safety").startswith("user 65532:65532; read-only root but 64 MiB of /tmp, no capabilities")
    assert fact(plan, "capacity") == "each replica may take 67.1 MB of memory and 0.5 CPUs (1 of them)"
    assert fact(plan, "secrets").startswith("API, OTHER: read here when it is made")
    assert "+ env OTHER: the secret of env:TEST_API_KEY" in diff(plan)
    lost = desk.do(plan)
    assert lost.state is ActionState.FAILED
    assert "the secret OTHER: there is no variable TEST_API_KEY here" in lost.message
    assert nothing_of(engine, "web")
    made = run_python(
        "-m", "nimify_tui", "deploy", "--image", BUSYBOX, "--name", "web", "--port", str(port), "--config", str(config),
        *(part for word, text in said for part in (f"--{word}", text)), "--region", "dock", "--yes", "-o", "json",
        env={**home.env, "TEST_API_KEY": f"{SECRET}-2"}, deadline_s=120,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert f"1 of 1 serves {BUSYBOX} behind web-front, on 127.0.0.1:{port}" in made.stdout
    assert json.loads(made.stdout)["state"] == "OK"
    assert mode(port) == "fast\n"
    shown = engine.inspect("web-r1-1")
    host, inside = shown["HostConfig"], shown["Config"]
    assert (host["Memory"], host["NanoCpus"], host["ShmSize"]) == (64 << 20, 500_000_000, 96 << 20)
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges"])
    assert [(each["Source"], each["RW"]) for each in shown["Mounts"] if each["Destination"] == "/models"] == [
        (str(tmp_path), False)
    ]
    assert (inside["User"], host["RestartPolicy"]["Name"]) == ("65532:65532", "on-failure")
    assert inside["Healthcheck"]["Test"] == ["CMD", "test", "-e", "/tmp/w/ready"]
    assert {f"API={SECRET}", f"OTHER={SECRET}-2"} <= set(inside["Env"])
    assert SECRET not in f"{plan} {lost} {made.stdout} {made.stderr} {desk.trail()}"
    # What comes later finds the port that it listens on.
    desk.until_row("web", state="OK")
    more_of_it = desk.do(desk.plan(Verb.SCALE, "web", replicas=2))
    assert more_of_it.state is ActionState.OK, (more_of_it, desk.said[-5:])
    engine.docker("rm", "--force", "web-r1-1")
    assert mode(port) == "fast\n", "the second answers"
    with pytest.raises(ValidationError, match="there is a service 'web'"):
        desk.plan(Verb.CREATE, "web", **wish)
    desk.until(lambda: len(desk.replicas("web")) == 1, "one replica")
    desk.act(Verb.DELETE, "web")
    assert nothing_of(engine, "web")


def test_gpus_that_an_engine_has_not_leave_nothing_behind(desk: Acting, engine: Engine, tmp_path: Path) -> None:
    """The engine of the tests has none. Sabotage seen failing: a ``create`` without its ``_unmake``."""
    wish = {"image": BUSYBOX, "image_spec": image_spec(SAID)}
    plan = desk.plan(Verb.CREATE, "gpu", replicas=2, gpus="device=0,1", **wish)
    assert fact(plan, "gpus") == "GPU 0, 1 for each replica; an engine counts none out: all replicas get the same ones"
    assert fact(plan, "warning").startswith("the engine names no NVIDIA runtime")
    assert "+ gpus: GPU 0, 1" in diff(plan)
    assert fact(desk.plan(Verb.CREATE, "gpu", gpus="all", **wish), "gpus") == "all GPUs for it"
    assert "+ gpus: 2 GPUs" in diff(desk.plan(Verb.CREATE, "gpu", gpus="2", **wish))
    model = tmp_path / "net.onnx"
    model.write_bytes(models_factory.mlp(seed=1))
    of_model = desk.plan(Verb.CREATE, "gpu", spec=ServiceSpec(model_path=str(model)), gpus="1")
    assert fact(of_model, "gpus") == "1 GPU for it"
    assert "with onnxruntime-gpu, for which the region's base_image has to have CUDA" in fact(of_model, "build")
    result = desk.do(plan)
    assert result.state is ActionState.FAILED
    assert result.message == (
        "start of gpu-r1-1: the engine has no driver for GPUs: install the NVIDIA container toolkit on the engine's "
        "host, or ask for no GPU"
    )
    assert nothing_of(engine, "gpu")
    with pytest.raises(ValidationError, match="are no GPUs"):
        desk.plan(Verb.CREATE, "gpu", gpus="some", **wish)


def test_what_cannot_be_is_said_before(desk: Acting, engine: Engine) -> None:
    spec = image_spec(SAID)
    for fields, match in (
        ({"image": "a b", "image_spec": spec}, "no name of an image"),
        ({"image": "", "image_spec": spec}, "the image is missing"),
        ({"image": "sha256:" + "0" * 64, "image_spec": spec}, "the engine has no image"),
        ({"image": BUSYBOX, "image_spec": image_spec([("health-path", "/a b")])}, "no plain path"),
        ({"image": BUSYBOX, "image_spec": image_spec([("memory", "1m")])}, "below 6 MiB"),
        ({"image": BUSYBOX, "image_spec": spec, "replicas": 0}, "at least one replica"),
    ):
        with pytest.raises((ValidationError, ClusterError), match=match):
            desk.plan(Verb.CREATE, "never", **fields)
    rooted = desk.plan(Verb.CREATE, "never", image=BUSYBOX, image_spec=image_spec([("user", "root")], writable=True))
    assert fact(rooted, "warning") == "it runs as root in its container"
    assert "writable root" in fact(rooted, "safety")
    absent = desk.plan(Verb.CREATE, "never", image="none.example/none:1", image_spec=spec)
    assert fact(absent, "image") == "none.example/none:1, not on the engine yet: pulled"
    assert nothing_of(engine, "never")
