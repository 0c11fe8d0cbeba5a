"""CUDA's libraries, when they were installed by pip.

``pip install onnxruntime-gpu[cuda,cudnn]`` puts them into site-packages, where the dynamic loader does not look;
onnxruntime loads them from there only when it is asked to (onnxruntime >= 1.21, ``preload_dlls``), and tells what it
misses by printing to standard output, which is our log.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from typing import Any, TextIO

from nimify_tui.base.text import clean_line

#: The providers that stand on CUDA's libraries.
ON_CUDA = ("CUDAExecutionProvider", "TensorrtExecutionProvider")


class _Heard(io.StringIO):
    """Standard output that keeps what one thread prints; what other threads say goes where it always went."""

    def __init__(self, real: TextIO) -> None:
        super().__init__()
        self._real, self._thread = real, threading.get_ident()

    def write(self, text: str, /) -> int:
        if threading.get_ident() == self._thread:
            return super().write(text)
        return self._real.write(text)

    def flush(self) -> None:
        if threading.get_ident() != self._thread:
            self._real.flush()

    def fileno(self) -> int:
        return self._real.fileno()


def preload(ort: Any) -> str:
    """Load what pip installed of CUDA; "" or, on one line, what ``ort`` misses. Harmless when called again."""
    load = getattr(ort, "preload_dlls", None)
    if load is None:
        return ""
    heard = _Heard(sys.stdout)
    with contextlib.redirect_stdout(heard):
        try:
            load()
        except Exception as error:  # noqa: BLE001  # whatever it is, the session that is tried next decides
            return clean_line(str(error), 200)
    return clean_line(" ".join(heard.getvalue().split()), 200)
