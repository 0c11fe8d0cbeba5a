"""Datatypes of the Open Inference Protocol v2, of numpy and of onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

#: numpy has no such type: two bytes that are only carried, and computed with by onnxruntime alone.
BF16 = np.dtype("V2")
#: Protocol name: numpy name. BYTES are strings (ONNX has no other byte strings).
NUMPY_NAMES: dict[str, str] = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "FP16": "float16", "FP32": "float32", "FP64": "float64", "BYTES": "object", "BF16": "V2",
}  # fmt: skip
#: The other way round, for what comes out of a model.
PROTOCOL_NAMES = {np.dtype(numpy): name for name, numpy in NUMPY_NAMES.items()}
#: onnxruntime's words for a tensor's type: protocol name.
FROM_ORT = {
    "tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64", "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32",
    "tensor(int64)": "INT64", "tensor(float16)": "FP16", "tensor(float)": "FP32", "tensor(double)": "FP64",
    "tensor(string)": "BYTES", "tensor(bfloat16)": "BF16",
}  # fmt: skip
INTEGERS = frozenset(name for name in NUMPY_NAMES if "INT" in name)
FLOATS = frozenset(("FP16", "FP32", "FP64"))


@dataclass(frozen=True, slots=True)
class Slot:
    """One input or output of the model: protocol datatype and shape, -1 where any size will do."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def words(self) -> str:
        """For a client that got it wrong, e.g. ``x FP32 [-1, 64]``."""
        return f"{self.name} {self.datatype} {list(self.shape)}"


class InferRequest(NamedTuple):
    """A checked request. ``wanted`` pairs output names with "as binary"; ``elements`` counts all inputs'.

    A tuple is made in a third of a frozen dataclass's time, and there is one for each request.
    """

    id: str
    inputs: dict[str, Array]
    wanted: tuple[tuple[str, bool], ...]
    batch: int
    elements: int
    timeout_s: float | None = None
