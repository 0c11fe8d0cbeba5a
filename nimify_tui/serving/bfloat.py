"""BF16 through onnxruntime's Python package, whose ``run`` knows numpy's types only (measured with 1.32).

Here a BF16 tensor is an array of two bytes an element; the other types of such a model go the same way beside it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nimify_tui.base.errors import InferenceError
from nimify_tui.serving.datatypes import BF16, Array

#: TensorProto.DataType.BFLOAT16 (onnx.proto3).
_BFLOAT16 = 16


def run_of(ort: Any, session: Any) -> Callable[[Sequence[str], dict[str, Array], Any], list[Any]]:
    """What stands for the session's ``run``."""

    def run(wanted: Sequence[str], inputs: dict[str, Array], options: Any = None) -> list[Any]:
        # The values hold no copy, so the arrays live in ``kept`` until the run is over.
        kept = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        values = {name: _value(ort, array) for name, array in kept.items()}
        return [_array(value) for value in session.run_with_ort_values(list(wanted), values, options)]

    return run


def _value(ort: Any, array: Array) -> Any:
    if array.dtype == BF16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _array(value: Any) -> Any:
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    if value.device_name().lower() != "cpu":
        raise InferenceError(f"an output in BF16 lies on {value.device_name()}, from where it cannot be read")
    shape, size = value.shape(), value.tensor_size_in_bytes()
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(raw, BF16).reshape(shape)
