"""Caches that `deploy` asks for, in an embedded region: real processes, their folder, and the panel that shows them."""

from __future__ import annotations

import argparse
import json
import stat
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nimify_tui.base.files import artifact_folder
from nimify_tui.domain.names import ServiceKey
from nimify_tui.fleet.frames import CacheStat
from nimify_tui.session import Needs, Session, open_session
from tests import models_factory
from tests.headless.model import write_model
from tests.support import Home, processes_naming, run_cli

pytestmark = pytest.mark.e2e
KEY = ServiceKey("local", "scorer")
#: So many small layers load slowly (about 2 s), which is what the artifact cache is for.
SLOW = (16, *[16] * 5000, 4)


@contextmanager
def looking() -> Iterator[Session]:
    """What the console does: it watches, and reads the numbers."""
    words = ("config", "region", "read_only", "read_write", "context", "kubeconfig", "namespace")
    with open_session(argparse.Namespace(**dict.fromkeys(words)), Needs(keep=True, numbers=True)) as session:
        yield session


def panel(session: Session, tier: str, *ratios: float) -> CacheStat:
    """A line of the cache panel, once the share of hits is one of ``ratios`` (none: once it tells its size)."""

    def found() -> CacheStat | None:
        return next((each for each in session.frame.caches if each.tier == tier), None)

    def there(stat: CacheStat | None) -> bool:
        return stat is not None and (stat.hit_ratio.value in ratios if ratios else stat.size.value is not None)

    assert session.engine.wait(lambda _: there(found()), 20.0), session.frame.caches
    stat = found()
    assert stat is not None
    return stat


def ask(session: Session, number: int) -> None:
    service = session.service(KEY)
    assert service is not None
    tensor = {"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [float(number)] * 16}
    request = urllib.request.Request(
        f"{service.endpoint}/v2/models/scorer/infer", json.dumps({"inputs": [tensor]}).encode()
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def deploy(model: Path, *more: str, code: int = 0) -> str:
    done = run_cli("deploy", str(model), "--name", "scorer", "--yes", "--timeout", "60", *more, deadline_s=120)
    assert done.returncode == code, done.stderr
    return done.stderr


def folder(home: Home) -> Path:
    return artifact_folder(home.state / "nimify-tui/embedded/local", "scorer")


def arguments(home: Home) -> list[list[str]]:
    """The command lines of the replicas."""
    lines = [Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in processes_naming(str(home.root))]
    return [line for line in lines if "nimify_tui.serving" in line]


def caches_of(home: Home) -> set[tuple[str, ...]]:
    """What every replica was told of caches, without the folder."""
    flags = ("--cache-bytes", "--cache-ttl-s", "--artifact-cache-bytes")
    return {tuple(line[line.index(flag) + 1] for flag in flags if flag in line) for line in arguments(home)}


def spec(home: Home, revision: int) -> dict[str, Any]:
    path = home.state / f"nimify-tui/embedded/local/scorer/revisions/{revision}.json"
    return dict(json.loads(path.read_text())["spec"]["limits"])


def test_the_hits_of_a_deployed_service_are_in_the_panel(home: Home, tmp_path: Path) -> None:
    """Answers at once, graphs after a restart. Seen failing with the folder counted once for each replica."""
    model = tmp_path / "slow.onnx"
    model.write_bytes(models_factory.mlp(SLOW))
    said = deploy(model, "--cache-bytes", "1MiB", "--artifact-cache-bytes", "1GiB")
    assert "response cache of 1 MiB for each model and replica (60 s); artifact cache of 1 GiB on the disk" in said
    with looking() as session:
        assert session.engine.wait(lambda frame: "scorer@local" in str(frame.rows), 20)
        panel(session, "response L1")
        for number in range(20):
            ask(session, number % 5)
        answers = panel(session, "response L1", 15 / 20, 15 / 21)  # with the first answer of `deploy`, where it counts
    assert answers.size.value is not None
    assert answers.size.value > 0

    (graph,) = folder(home).iterdir()
    assert [stat.S_IMODE(each.stat().st_mode) for each in (folder(home), graph)] == [0o700, 0o600]
    assert folder(home).is_relative_to(home.root / "k/nimify-tui/artifacts")
    assert run_cli("scale", "scorer", "--replicas", "2", "--yes", "--timeout", "60").returncode == 0
    with looking() as session:
        panel(session, "model artifacts")
        assert run_cli("restart", "scorer", "--yes", "--timeout", "60").returncode == 0
        # Each new process found it; the first of all, and the second, count where they are young enough to be seen.
        graphs = panel(session, "model artifacts", 1.0, 3 / 4, 2 / 3)
    assert graphs.size.value == graph.stat().st_size, "two replicas, one folder: counted once"


def test_caches_stay_with_the_service_until_they_are_said_to_end(home: Home, tmp_path: Path) -> None:
    """Over scale, restart, an update that does not name them, and rollback; a plan says what changes."""
    first, second = write_model(tmp_path / "a.onnx", seed=1), write_model(tmp_path / "b.onnx", seed=2)
    deploy(first)
    assert caches_of(home) == {()}, "nobody asked for caches"
    assert not folder(home).exists()
    said = deploy(first, "--cache-bytes", "64MiB", "--cache-ttl-s", "300", "--artifact-cache-bytes", "2g")
    assert "response cache none → 64 MiB for each model and replica (300 s), artifact cache none → 2 GiB on" in said
    assert "+ artifact cache: 2 GiB on the disk" in said
    wanted = {("67108864", "300", "2147483648")}
    assert caches_of(home) == wanted
    for call in (("scale", "scorer", "--replicas", "2"), ("restart", "scorer")):
        assert run_cli(*call, "--yes", "--timeout", "60").returncode == 0
        assert caches_of(home) == wanted, call
    change = next(line for line in deploy(second).splitlines() if line.strip().startswith("change"))
    assert "model sha256" in change
    assert "cache" not in change
    assert caches_of(home) == wanted
    off = deploy(second, "--cache-bytes", "0")
    assert "response cache 64 MiB for each model and replica (300 s) → none" in off
    assert caches_of(home) == {("2147483648",)}
    assert run_cli("rollout", "undo", "scorer", "--yes", "--timeout", "60").returncode == 0
    assert caches_of(home) == wanted
    assert spec(home, 5)["cache_bytes"] == 64 * 2**20
    assert folder(home).is_dir()
    assert run_cli("delete", "scorer", "--yes").returncode == 0
    assert not folder(home).exists()


@pytest.mark.parametrize(
    ("said", "words", "remedy"),
    [
        (("--cache-bytes", "much"), "'much' is no size", "for example 8GiB or 512m"),
        (("--cache-bytes", "64"), "64 bytes are not possible for the response cache", "for example 64MiB, or 0"),
        (("--artifact-cache-bytes", "2TiB"), "2199023255552 bytes are not possible for the artifact", "1 MiB to 1 TB"),
        (("--cache-ttl-s", "30"), "--cache-ttl-s is said of no cache", "--cache-bytes 64MiB"),
        (("--cache-bytes", "1m", "--cache-ttl-s", "0"), "cannot be kept for 0 s", "use 0.05 to 86400 s"),
        (("--cache-bytes", "1m", "--cache-ttl-s", "nan"), "cannot be kept for nan s", "use 0.05 to 86400 s"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_do(
    home: Home, tmp_path: Path, said: tuple[str, ...], words: str, remedy: str
) -> None:
    shown = deploy(write_model(tmp_path / "a.onnx", seed=1), *said, code=64)
    assert words in shown
    assert remedy in shown
    assert arguments(home) == []


def test_a_folder_that_cannot_be_made_is_said_before_anything_starts(home: Home, tmp_path: Path) -> None:
    """Seen failing with the folder left to the replicas: the service was made, and its replica never came up."""
    (home.root / "k/nimify-tui").write_text("in the way")
    shown = deploy(write_model(tmp_path / "a.onnx", seed=1), "--artifact-cache-bytes", "1GiB", code=1)
    assert "cannot be made" in shown
    assert "deploy without an artifact cache (0)" in shown
    assert not (home.state / "nimify-tui/embedded/local/scorer").exists()
