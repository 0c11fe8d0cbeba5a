"""A folder of models as one embedded service: deployed, seen by model, rolled back, and refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.headless.model import write_model
from tests.support import Home, run_cli, wait_for

pytestmark = pytest.mark.e2e


def put(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_model(path, seed)
    return root


def models() -> dict[str, dict[str, Any]]:
    """The models of the one service, by name, as the snapshot tells them."""
    done = run_cli("snapshot", "-o", "json", "--settle", "6")
    assert done.returncode in (0, 1, 2), done.stderr
    services = json.loads(done.stdout)["services"]
    return {each["name"]: each for each in services[0]["regions"][0]["models"]} if services else {}


def told() -> dict[str, dict[str, Any]] | None:
    """The same once its server has told them and was measured."""
    found = models()
    return found if found and all(each["told_replicas"] for each in found.values()) else None


def test_a_folder_becomes_one_service_that_is_seen_by_model(home: Home, tmp_path: Path) -> None:
    folder = put(tmp_path / "bundle", "ranks/1/model.onnx", "ranks/2/model.onnx", "scores.onnx")
    done = run_cli("deploy", str(folder), "--yes", "--timeout", "60")
    assert done.returncode == 0, done.stderr
    assert "first inference answered" in done.stderr
    found = wait_for(told, 60, why="its models")
    assert {name: (each["state"], each["versions"]) for name, each in found.items()} == {
        "ranks": ("OK", ["1", "2"]), "scores": ("OK", ["1"]),
    }  # fmt: skip
    assert {each["source"] for each in found.values()} == {"v2/repository/index"}
    assert found["scores"]["rps"]["state"] == "fresh", found["scores"]["rps"]

    put(tmp_path / "bundle", "tags.onnx")
    assert run_cli("deploy", str(folder), "--name", "bundle", "--yes", "--timeout", "60").returncode == 0
    assert wait_for(lambda: len(models()) == 3, 60, why="three models")
    assert run_cli("rollout", "undo", "bundle", "--yes").returncode == 0
    assert wait_for(lambda: len(models()) == 2, 60, why="two again")
    assert run_cli("delete", "bundle", "--yes", "--confirm", "bundle").returncode == 0


def test_a_folder_with_something_that_cannot_be_served_is_refused_by_name(home: Home, tmp_path: Path) -> None:
    folder = put(tmp_path / "bundle", "good.onnx")
    (folder / "bad.onnx").write_bytes(b"no model")
    done = run_cli("deploy", str(folder), "--yes")
    assert done.returncode == 64, done.stderr
    assert "bundle/bad.onnx cannot be served here" in done.stderr
    (tmp_path / "none").mkdir()
    done = run_cli("deploy", str(tmp_path / "none"), "--yes")
    assert done.returncode != 0
    assert "holds no model" in done.stderr
