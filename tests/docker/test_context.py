"""What goes to an engine for a build: the model and its weights, the runtime, and nothing else of this machine."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from nimify_tui.base.errors import ConfigurationError, ModelError, ValidationError
from nimify_tui.controllers.docker.context import (
    RUNTIME,
    ImageOrder,
    build_context,
    own_wheel,
    runtime_requirements,
)
from tests.support import run_python
from tests.test_rooms import ROOMS


def contents(order: ImageOrder) -> dict[str, bytes]:
    """The files of the context of ``order``."""
    with build_context(order) as context, tarfile.open(fileobj=context.file) as archive:
        found = {}
        for member in archive.getmembers():
            assert member.isfile()
            assert (member.uid, member.mode) == (0, 0o644)
            file = archive.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
        return found


def order(folder: Path, **more: object) -> ImageOrder:
    """An order for the model in ``folder``."""
    model = folder / "m.onnx"
    if not model.exists():
        model.write_bytes(b"model")
    return ImageOrder(service="digits", revision=2, model=model, **more)  # type: ignore[arg-type]  # checked by the dataclass's users


def test_the_context_is_the_model_its_weights_and_the_runtime(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("not ours")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "w.bin").write_bytes(b"weights")
    found = contents(order(tmp_path, sidecars=("deep/w.bin",), arguments=("--threads", "2")))
    wheel = own_wheel()[0]
    assert set(found) == {
        "Dockerfile", "model/model.onnx", "model/deep/w.bin", "model/serve.json", "wheels/requirements.txt",
        f"wheels/{wheel}",
    }  # fmt: skip
    assert found["model/deep/w.bin"] == b"weights"
    assert json.loads(found["model/serve.json"])[-2:] == ["--threads", "2"]


def test_the_wheelhouse_goes_in_as_wheels_only(tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    (house / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    (house / "credentials").write_text("not ours")
    found = contents(order(tmp_path, wheelhouse=house))
    assert found["wheels/a-1-py3-none-any.whl"] == b"wheel"
    assert "wheels/credentials" not in found
    with build_context(order(tmp_path, wheelhouse=house)) as context:
        assert context.offline
        assert context.size_bytes > 5
        assert context.model_bytes == 5
    (house / "a-1-py3-none-any.whl").unlink()
    with pytest.raises(ConfigurationError, match="holds no wheel"):
        contents(order(tmp_path, wheelhouse=house))


def _linked_model(folder: Path) -> ImageOrder:
    (folder / "m.onnx").symlink_to("/etc/hostname")
    return order(folder)


def _linked_weights(folder: Path) -> ImageOrder:
    (folder / "w.bin").symlink_to("/etc/hostname")
    return order(folder, sidecars=("w.bin",))


def _linked_folder(folder: Path) -> ImageOrder:
    (folder / "deep").symlink_to("/etc")
    return order(folder, sidecars=("deep/hostname",))


def _upwards(folder: Path) -> ImageOrder:
    return order(folder, sidecars=("../../etc/hostname",))


def _absolute(folder: Path) -> ImageOrder:
    return order(folder, sidecars=("/etc/hostname",))


def _pipe(folder: Path) -> ImageOrder:
    os.mkfifo(folder / "w.bin")
    return order(folder, sidecars=("w.bin",))


def _folder(folder: Path) -> ImageOrder:
    (folder / "w.bin").mkdir()
    return order(folder, sidecars=("w.bin",))


def _missing(folder: Path) -> ImageOrder:
    return order(folder, sidecars=("w.bin",))


def _over_the_model(folder: Path) -> ImageOrder:
    return order(folder, sidecars=("model.onnx",))


@pytest.mark.parametrize(
    "made",
    [
        _linked_model,
        _linked_weights,
        _linked_folder,
        _upwards,
        _absolute,
        _pipe,
        _folder,
        _missing,
        _over_the_model,
    ],
)
def test_no_way_leads_out_of_the_models_folder(tmp_path: Path, made: Callable[[Path], ImageOrder]) -> None:
    with pytest.raises(ModelError) as caught:
        contents(made(tmp_path))
    assert caught.value.remedy


def test_names_and_arguments_are_checked(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"model")
    for bad in (
        ImageOrder(service="../x", revision=1, model=tmp_path / "m.onnx"),
        ImageOrder(service="x", revision=1, model=tmp_path / "m.onnx", arguments=("a\0b",)),
    ):
        with pytest.raises(ValidationError):
            contents(bad)


def test_the_same_order_makes_the_same_context(tmp_path: Path) -> None:
    """So that an engine's build cache knows what it has already."""
    assert contents(order(tmp_path)) == contents(order(tmp_path))
    assert own_wheel() == own_wheel()


def test_the_runtime_in_its_wheel_is_whole(tmp_path: Path) -> None:
    """It runs without the rest of the package, and what it needs is what the room may import."""
    with zipfile.ZipFile(BytesIO(own_wheel()[1])) as archive:
        archive.extractall(tmp_path / "site")
    done = run_python(
        "-c", "import nimify_tui.serving.main as m; print(m.__file__); m.main(['--help'])",
        env={"PYTHONPATH": str(tmp_path / "site")}, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout
    assert "--admin-port" in done.stdout
    assert {name.replace("_", "-") for name in ROOMS["serving"].packages} == set(RUNTIME)
    assert len(runtime_requirements()) == len(RUNTIME)
    assert any(line.startswith("onnxruntime-gpu") for line in runtime_requirements(gpu=True))
