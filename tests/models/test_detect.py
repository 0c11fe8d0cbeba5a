"""Files that are no ONNX: told by their contents, whatever their name."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import pytest

from nimify_tui.base.errors import ModelError
from nimify_tui.domain.models import FindingLevel, ModelVerdict
from nimify_tui.models.analysis import analyse
from nimify_tui.models.probe import report


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return out.getvalue()


def newer(raw: bytes) -> bytes:
    """A zip that says it needs a version that nobody has (APPNOTE 4.3.12: two bytes of each central header)."""
    at = raw.index(b"PK\x01\x02") + 6
    return raw[:at] + b"\x63\0" + raw[at + 2 :]


HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
TAR = b"model.onnx".ljust(257, b"\0") + b"ustar\x0000"

FILES: list[tuple[bytes, str, ModelVerdict | None]] = [
    (zipped("archive/data.pkl", "archive/data/0"), "PyTorch zip", ModelVerdict.NEEDS_CODE),
    (zipped("m/data.pkl", "m/code/x.py", "m/constants.pkl"), "TorchScript", ModelVerdict.CONTAINS_CODE),
    (zipped("m/models/model.json", "m/archive_format"), "PyTorch export", ModelVerdict.NEEDS_CODE),
    (zipped("config.json", "metadata.json", "model.weights.h5"), "Keras (.keras)", ModelVerdict.NEEDS_CODE),
    (zipped("a.npy"), "NumPy arrays", None),
    (zipped("model.onnx"), "a zip archive with an ONNX file", None),
    (b"PK\x03\x04" + b"\0" * 40, "a broken zip archive", None),
    (newer(zipped("model.onnx")), "a broken zip archive", None),
    (b"\x80\x04\x95" + b"\0" * 20, "Python pickle", ModelVerdict.NEEDS_CODE),
    (struct.pack("<Q", len(HEADER)) + HEADER + b"\0" * 4, "safetensors", None),
    (b"GGUF" + b"\0" * 40, "GGUF", None),
    (b"\x1c\0\0\0TFL3" + b"\0" * 40, "TensorFlow Lite", None),
    (b"\x1c\0\0\0ORTM" + b"\0" * 40, "ONNX Runtime's own format", None),
    (b"\x1c\0\0\0ET12" + b"\0" * 40, "ExecuTorch", None),
    (b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "HDF5", ModelVerdict.NEEDS_CODE),
    (b"ftrt" + b"\0" * 40, "TensorRT", ModelVerdict.CONTAINS_CODE),
    (b"\x93NUMPY\x01\0", "a NumPy array", None),
    (b"\x7fELF\x02\x01", "an executable", ModelVerdict.CONTAINS_CODE),
    (b"#!/bin/sh\nrm -rf /\n", "a script", ModelVerdict.CONTAINS_CODE),
    (b"\x1f\x8b\x08\0", "a gzip archive", None),
    (TAR, "a tar archive", None),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "a Git LFS pointer", None),
    (b"<!DOCTYPE html><html>login</html>", "a web page", None),
    (b'<?xml version="1.0"?><net name="x" version="11">', "OpenVINO IR", None),
    (b'{"learner": {}}', "JSON", None),
    (b"tree\nversion=v3\n", "LightGBM", None),
    (b"hello world, I am a README\n", "a text file", None),
    (b"\x08\x01\x12\x04\x0a\x02hi", "a protocol buffer without an ONNX graph", None),
    (bytes(range(255, 127, -1)), "unknown", None),
]


@pytest.mark.parametrize("name", ["model.bin", "model.onnx"])
@pytest.mark.parametrize(
    ("raw", "words", "verdict"), FILES, ids=lambda item: item if isinstance(item, str) else ""
)
def test_what_is_no_onnx_is_named_by_its_contents(
    tmp_path: Path, raw: bytes, words: str, verdict: ModelVerdict | None, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    made = report(path)
    assert not made.deployable
    errors = [item.text for item in made.findings if item.level is FindingLevel.ERROR]
    if made.verdict is ModelVerdict.MALFORMED:
        assert name == "model.onnx"
        assert words in ("unknown", "a protocol buffer without an ONNX graph")
        return
    assert errors[0].startswith(f"this looks like {words}"), errors
    assert "not supported by this version" in errors[0]
    assert made.verdict is verdict
    contradicts = any("its contents say otherwise" in item.text for item in made.findings)
    assert contradicts is (name == "model.onnx")


def test_what_is_no_file_is_said_and_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        analyse(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        analyse("a\0b")
    assert "a folder" in analyse(tmp_path).findings[0].text
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "no regular file" in analyse(tmp_path / "pipe.onnx").findings[0].text
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert analyse(tmp_path / "empty.onnx").verdict is ModelVerdict.MALFORMED


def test_a_link_to_a_model_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(b"GGUF" + b"\0" * 40)
    (tmp_path / "link.onnx").symlink_to("real.bin")
    assert analyse(tmp_path / "link.onnx").format.startswith("GGUF")


def test_a_name_full_of_escapes_stays_a_name(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[2Jé\udcff.onnx"
    path.write_bytes(b"GGUF" + b"\0" * 40)
    made = analyse(path)
    assert made.format.startswith("GGUF")
    assert made.suggested_name == "2j"
