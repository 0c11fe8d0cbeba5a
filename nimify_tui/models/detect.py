"""What a file is by its contents. The name of a file is a hint and never a proof."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass

from nimify_tui.domain.models import ModelVerdict
from nimify_tui.models.wire import Wire, looks_readable

_CODE = ModelVerdict.CONTAINS_CODE
_NEEDS = ModelVerdict.NEEDS_CODE


@dataclass(frozen=True)
class Kind:
    """A format by name, what to do about it, and whether loading it runs code (None: not judged)."""

    name: str
    advice: str
    verdict: ModelVerdict | None = None


_TO_ONNX = "export it to ONNX (torch.onnx.export)"
_KERAS = "export it to ONNX (tf2onnx)"
_PICKLE = Kind(
    "Python pickle (old PyTorch, joblib, scikit-learn)", f"{_TO_ONNX}; loading it runs its code", _NEEDS
)

#: (offset, magic bytes, what it is); the first that fits wins.
_MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"GGUF", Kind("GGUF (llama.cpp)", "serve it with llama.cpp; it cannot become an ONNX file")),
    (4, b"TFL3", Kind("TensorFlow Lite", "convert it with tf2onnx --tflite")),
    (4, b"ORTM", Kind("ONNX Runtime's own format (.ort)", "deploy the ONNX file that it was made from")),
    (4, b"ET12", Kind("ExecuTorch program", _TO_ONNX)),
    (0, b"\x89HDF\r\n\x1a\n", Kind("HDF5 (Keras .h5)", _KERAS, _NEEDS)),
    (0, b"ftrt", Kind("TensorRT engine", "deploy the ONNX file that it was built from", _CODE)),
    (0, b"ptrt", Kind("TensorRT engine", "deploy the ONNX file that it was built from", _CODE)),
    (0, b"\x93NUMPY", Kind("a NumPy array", "this is data, no model")),
    (0, b"\x7fELF", Kind("an executable or library (ELF)", "this is a program, no model", _CODE)),
    (0, b"MZ", Kind("an executable (Windows)", "this is a program, no model", _CODE)),
    (0, b"#!", Kind("a script", "this is a program, no model", _CODE)),
    (0, b"\x1f\x8b", Kind("a gzip archive", "unpack it first")),
    (0, b"BZh", Kind("a bzip2 archive", "unpack it first")),
    (0, b"\xfd7zXZ\x00", Kind("an xz archive", "unpack it first")),
    (0, b"\x28\xb5\x2f\xfd", Kind("a zstd archive", "unpack it first")),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", "unpack it first")),
    (257, b"ustar", Kind("a tar archive", "unpack it first")),
    (0, b"\x89PNG", Kind("a PNG picture", "this is no model")),
    (0, b"\xff\xd8\xff", Kind("a JPEG picture", "this is no model")),
    (0, b"%PDF", Kind("a PDF document", "this is no model")),
)  # fmt: skip


def _safetensors(head: bytes, size: int) -> Kind | None:
    length = int.from_bytes(head[:8], "little")
    if len(head) > 9 and head[8:9] == b"{" and 2 <= length <= min(size - 8, 100_000_000):
        return Kind("safetensors (weights without a graph)", f"load it in its framework and {_TO_ONNX}")
    return None


def _pickle(head: bytes, size: int) -> Kind | None:
    return (
        _PICKLE
        if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and size > 3
        else None
    )


def _text(head: bytes, size: int) -> Kind | None:
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = start[:64].lower()
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        return Kind("a Git LFS pointer, not the model itself", "fetch the model: git lfs pull")
    if lower.startswith((b"<!doctype html", b"<html")):
        return Kind("a web page", "the download went wrong: fetch the model again")
    if b"<net " in start:
        return Kind("OpenVINO IR", "deploy the ONNX file that it was converted from")
    if start.startswith(b"<?xml"):
        return Kind("an XML file", "this is no model that we know")
    if start.startswith(b"tree\n") and b"version=" in start:
        return Kind("LightGBM text model", "convert it with onnxmltools")
    if start[:1] in (b"{", b"["):
        return Kind("JSON (perhaps XGBoost)", "convert it with onnxmltools")
    if head and size < 10_000_000 and _is_text(head[:512]):
        return Kind("a text file", "this is no model that we know")
    return None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a character was cut in its middle
            return False
        text = head[: error.start].decode("utf-8")
    return all(char in "\t\r\n\f" or char >= " " for char in text)


_RULES: tuple[Callable[[bytes, int], Kind | None], ...] = (_safetensors, _pickle)


def by_magic(head: bytes, size: int) -> Kind | None:
    """The format that the first bytes prove, None when they prove none (ONNX has no magic bytes)."""
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    for rule in _RULES:
        if (found := rule(head, size)) is not None:
            return found
    return None


def by_text(head: bytes, size: int) -> Kind | None:
    """What a file of text is; asked after the ONNX test, because a short ONNX file may look like text."""
    return _text(head, size)


def of_zip(path: int | str) -> Kind:
    """What a zip holds, by the names in its directory; nothing is unpacked."""
    try:
        with zipfile.ZipFile(_opened(path)) as archive:
            names = archive.namelist()[:10_000]
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError):  # Runtime: a version it does not read
        return Kind("a broken zip archive", "fetch it again")
    ends = tuple("/" + name for name in names)
    if any(name.endswith(("/models/model.json", "/archive_format")) for name in ends):
        return Kind("PyTorch export (.pt2)", _TO_ONNX, _NEEDS)
    if any("/code/" in name for name in ends) and any(name.endswith("/constants.pkl") for name in ends):
        return Kind("TorchScript", _TO_ONNX, _CODE)
    if any(name.endswith("/data.pkl") for name in ends):
        return Kind("PyTorch zip (torch.save)", f"{_TO_ONNX}; loading it runs its code", _NEEDS)
    if "model.weights.h5" in names and "config.json" in names:
        return Kind("Keras (.keras)", _KERAS, _NEEDS)
    if any(name.endswith(".npy") for name in names):
        return Kind("NumPy arrays (.npz)", "this is data, no model")
    if any(name.endswith(".onnx") for name in names):
        return Kind("a zip archive with an ONNX file in it", "unpack it first")
    return Kind("a zip archive", "unpack it first")


def _opened(path: int | str) -> str:
    return f"/proc/self/fd/{path}" if isinstance(path, int) else path


def protobuf_but_not_onnx(wire: Wire) -> Kind | None:
    """A protocol buffer without an ONNX graph."""
    if looks_readable(wire):
        return Kind("a protocol buffer without an ONNX graph (perhaps a TensorFlow SavedModel)", _KERAS)
    return None
