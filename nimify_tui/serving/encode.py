"""Arrays to Open Inference Protocol v2 responses, JSON and the binary tensor extension.

NaN and infinity have no JSON: an output that holds them is answered with 422 and the advice to ask for
binary data, never with a silent null. FP16 is written as JSON numbers unless binary data was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from nimify_tui.serving.datatypes import FLOATS, PROTOCOL_NAMES, Array, InferRequest
from nimify_tui.serving.decode import all_finite
from nimify_tui.serving.replies import Refusal


def encode(model: str, version: str, request: InferRequest, arrays: Sequence[Array]) -> tuple[bytes, int | None]:
    """(body, length of its JSON part; None when the body is JSON alone). Raises Refusal 422."""
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for (name, as_binary), array in zip(request.wanted, arrays, strict=True):
        datatype = PROTOCOL_NAMES.get(array.dtype, "BYTES")
        entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": array.shape}
        if as_binary:
            raw = _to_bytes(array)
            entry["parameters"] = {"binary_data_size": len(raw)}
            binary.append(raw)
        else:
            entry["data"] = _json_data(name, datatype, array)
        outputs.append(entry)
    document: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": outputs}
    if request.id:
        document["id"] = request.id
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((head, *binary)), len(head)) if binary else (head, None)


def _json_data(name: str, datatype: str, array: Array) -> Any:
    flat = np.ascontiguousarray(array).ravel()
    if datatype == "BYTES":
        return [_text(value) for value in flat]
    if datatype in FLOATS and not all_finite(flat):
        raise Refusal(
            422,
            f"output {name!r} holds NaN or infinity, which JSON cannot carry; ask for it with binary_data: true",
            "not_finite",
        )
    return flat


def _text(value: Any) -> str:
    return value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")


def _to_bytes(array: Array) -> bytes:
    if array.dtype == object:
        encoded = [value.encode() if isinstance(value, str) else bytes(value) for value in array.ravel()]
        return b"".join(len(item).to_bytes(4, "little") + item for item in encoded)
    return array.tobytes()
