"""The region's copies of models: what is taken is what was meant, and what cannot be taken is said in words."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from nimify_tui.base.errors import ModelError, ValidationError
from nimify_tui.supervisor.library import KEEP_UNUSED_S, Library

CONTENT = b"a model, for all that the library knows"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "region", max_bytes=1000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(CONTENT)
    return path


def kept(library: Library) -> list[str]:
    """What lies in the folder."""
    return sorted(os.listdir(library.folder)) if library.folder.is_dir() else []


def test_a_model_is_filed_under_its_hash_and_outlives_its_source(library: Library, source: Path) -> None:
    assert library.take(str(source), "") == SHA256
    source.unlink()
    assert library.take(str(source), SHA256) == SHA256, "what is kept already is not read again"
    assert library.path(SHA256).read_bytes() == CONTENT
    assert kept(library) == [f"{SHA256}.onnx"]


def test_a_file_that_changed_since_the_plan_is_refused_and_leaves_no_copy(
    library: Library, source: Path
) -> None:
    with pytest.raises(ValidationError, match="has changed since the plan was made"):
        library.take(str(source), "0" * 64)
    assert kept(library) == []


@pytest.mark.parametrize("expected", ["../../x", "A" * 64, "0" * 63])
def test_a_hash_that_is_none_never_becomes_a_path(library: Library, source: Path, expected: str) -> None:
    with pytest.raises(ValidationError, match="is no SHA-256"):
        library.take(str(source), expected)


def test_what_is_no_model_file_is_told_apart(library: Library, source: Path, tmp_path: Path) -> None:
    empty, pipe = tmp_path / "empty.onnx", tmp_path / "pipe.onnx"
    empty.touch()
    os.mkfifo(pipe)
    source.write_bytes(b"x" * 1001)
    for path, words in (
        (str(empty), "is empty"),
        (str(pipe), "is not a plain file"),
        (str(tmp_path), "is not a plain file"),
        (str(tmp_path / "none.onnx"), "No such file"),
        (str(source), "has 1001 bytes; the limit is 1000"),
    ):
        with pytest.raises(ModelError, match=words):
            library.take(path, "")
    with pytest.raises(ValidationError, match="is not absolute"):
        library.take("m.onnx", "")
    assert kept(library) == []


def test_a_full_disk_is_said_before_anything_is_copied(
    library: Library, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 9, 0, 0, 9, 9, 9, 0, 255)))
    with pytest.raises(ModelError, match="no room on the disk"):
        library.take(str(source), "")
    assert kept(library) == []


def test_only_what_nothing_named_for_a_day_is_swept(library: Library, source: Path) -> None:
    used = library.take(str(source), "")
    source.write_bytes(b"another")
    unused = library.take(str(source), "")
    (library.folder / ".taking.cut-short").touch()
    library.sweep({used})
    assert len(kept(library)) == 3, "nothing of it is a day old"
    for name in kept(library):
        old_s = library.path(used).stat().st_mtime - KEEP_UNUSED_S - 60
        os.utime(library.folder / name, (old_s, old_s))
    library.sweep({used, unused})
    assert kept(library) == sorted([f"{used}.onnx", f"{unused}.onnx"])
    library.touch(unused)
    library.sweep({used})
    assert f"{unused}.onnx" in kept(library), "a model that was just given up can come back"
