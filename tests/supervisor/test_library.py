"""The region's copies of models: what is taken is what was meant, and what cannot be taken is said in words."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from nimify_tui.base.errors import ModelError, ValidationError
from nimify_tui.base.modelfolder import folder_digest
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
        (str(tmp_path), "pipe.onnx is no plain file"),
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


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(f"content of {name}".encode())
    return root


def test_a_folder_of_models_is_kept_whole_under_one_hash(library: Library, tmp_path: Path) -> None:
    source = put(tmp_path / "models", "a/1/model.onnx", "a/2/model.onnx", "b.onnx", "a/nimify.toml", ".git/x")
    found = library.take(str(source), "")
    assert folder_digest(source, 1000)[0] == found, "the plan names it by the same hash"
    assert library.names(found) == ("a", "b")
    assert sorted(str(each.relative_to(library.path(found))) for each in library.path(found).rglob("*.*")) == [
        "a/1/model.onnx", "a/2/model.onnx", "a/nimify.toml", "b.onnx",
    ]  # fmt: skip
    assert library.take(str(source), found) == found
    assert kept(library) == [found]
    put(source, "c.onnx")
    with pytest.raises(ValidationError, match="has changed since the plan was made"):
        library.take(str(source), "0" * 64)
    assert library.take(str(source), "") != found, "one more model is another thing"


def test_a_folder_that_cannot_be_kept_says_why_and_leaves_nothing(library: Library, tmp_path: Path) -> None:
    empty = put(tmp_path / "empty", "notes.txt")
    linked = put(tmp_path / "linked", "a.onnx")
    (linked / "b.onnx").symlink_to("/etc/passwd")
    large = put(tmp_path / "large", "a.onnx")
    (large / "a.onnx").write_bytes(b"x" * 1001)
    for source, words in ((empty, "holds no model"), (linked, "is a link"), (large, "more than 1000 bytes")):
        with pytest.raises(ModelError, match=words):
            library.take(str(source), "")
    assert kept(library) == []


def test_an_unused_folder_is_swept_as_a_file_is(library: Library, tmp_path: Path) -> None:
    found = library.take(str(put(tmp_path / "models", "a.onnx", "b.onnx")), "")
    library.touch(found)
    library.sweep([])
    assert kept(library) == [found], "not before its time"
    os.utime(library.path(found), (1, 1))
    library.sweep([found])
    assert kept(library) == [found], "somebody uses it"
    library.sweep([])
    assert kept(library) == []
