"""Weights in other files: only beside the model, only regular files, only as many bytes as the shapes say."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto

from nimify_tui.models.probe import report
from tests.models.making import errors, mlp, write


def external(
    tmp_path: Path, location: str = "w.bin", length: str = "48", offset: str = "0", size: int = 48
) -> Path:
    model = mlp()
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "w.bin").write_bytes(b"\0" * size)
    return write(tmp_path, model)


def linked(tmp_path: Path) -> Path:
    path = external(tmp_path, "link.bin")
    (tmp_path / "link.bin").symlink_to("/etc/hostname")
    return path


def hard_linked(tmp_path: Path) -> Path:
    path = external(tmp_path)
    os.link(tmp_path / "w.bin", tmp_path / "second-name")
    return path


def linked_folder(tmp_path: Path) -> Path:
    path = external(tmp_path, "sub/hostname")
    (tmp_path / "sub").symlink_to("/etc")
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: external(p, "../w.bin"), "leads out of the model's folder"),
        (lambda p: external(p, "/etc/passwd"), "no relative path"),
        (lambda p: external(p, "a\\b"), "no relative path"),
        (lambda p: external(p, ""), "names no file"),
        (lambda p: external(p, "missing.bin"), "the file is missing"),
        (lambda p: external(p, "."), "no regular file"),
        (linked, "symbolic link"),
        (linked_folder, "symbolic link"),
        (hard_linked, "hard link"),
        (lambda p: external(p, size=47), "ends at byte 48"),
        (lambda p: external(p, offset="1"), "ends at byte 49"),
        (lambda p: external(p, length="44"), "needs 48 bytes and names 44"),
        (lambda p: external(p, length="-4"), "no number"),
        (lambda p: external(p, offset="9" * 30), "no number"),
    ],
)
def test_external_data_may_only_name_its_own_folder(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    assert words in errors(report(make(tmp_path)))


def test_good_external_data_is_counted_and_said(tmp_path: Path) -> None:
    made = report(external(tmp_path))
    assert made.weights_bytes == 48
    assert (
        errors(made)
        == "its weights lie in other files ('w.bin'): this version deploys single-file models only"
    )
