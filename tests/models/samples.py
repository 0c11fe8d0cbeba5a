"""The onnx package's own test models, and the reader that takes any bytes."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import onnx

from nimify_tui.models.onnx_file import OnnxFile, read_onnx
from nimify_tui.models.wire import Malformed, Wire

FOLDER = Path(os.path.dirname(onnx.__file__)) / "backend" / "test" / "data"


@functools.cache
def samples() -> tuple[Path, ...]:
    return tuple(sorted(FOLDER.rglob("*.onnx")))


def quietly(raw: bytes) -> OnnxFile | None:
    """The facts, None where the reader says in words what is wrong."""
    try:
        return read_onnx(Wire(raw, max_fields=100_000))
    except Malformed:
        return None
