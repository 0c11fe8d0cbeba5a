"""Arrays to Open Inference Protocol v2 responses, JSON and the binary tensor extension.

NaN and infinity have no JSON: an output that holds them is answered with 422 and the advice to ask for
binary data, never with a silent null; so is BF16. FP16 is written as JSON numbers unless binary data was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from nimify_tui.serving.datatypes import BF16, PROTOCOL_NAMES, Array, InferRequest
from nimify_tui.serving.decode import all_finite
from nimify_tui.serving.replies import Refusal

#: So many beginnings of answers are kept for each model version; shapes rarely differ by more.
MAX_KEPT = 256


class Encoder:
    """Answers of one model version. All of an answer but its numbers follows from names and shapes, and is kept."""

    def __init__(self, model: str, version: str) -> None:
        names = orjson.dumps({"model_name": model, "model_version": version})
        self._opening = names[:-1] + b',"outputs":['
        self._entries: dict[Any, bytes] = {}

    def encode(self, request: InferRequest, arrays: Sequence[Array]) -> tuple[bytes, int | None]:
        """(body, length of its JSON part; None when the body is JSON alone). Raises Refusal 422."""
        if len(arrays) == 1 and not request.id:
            (name, as_binary), array = request.wanted[0], arrays[0]
            if as_binary:
                raw = _to_bytes(array)
                head = self._opening + self._entry(name, array, len(raw)) + b"]}"
                return head + raw, len(head)
            return b"%b%b%b}]}" % (self._opening, self._entry(name, array, None), _json_data(name, array)), None
        pieces = [self._opening]
        binary: list[bytes] = []
        for (name, as_binary), array in zip(request.wanted, arrays, strict=True):
            if binary or len(pieces) > 1:
                pieces.append(b",")
            if as_binary:
                raw = _to_bytes(array)
                binary.append(raw)
                pieces.append(self._entry(name, array, len(raw)))
            else:
                pieces.append(self._entry(name, array, None))
                pieces.append(_json_data(name, array))
                pieces.append(b"}")
        pieces.append(b'],"id":%s}' % orjson.dumps(request.id) if request.id else b"]}")
        head = b"".join(pieces)
        return (b"".join((head, *binary)), len(head)) if binary else (head, None)

    def _entry(self, name: str, array: Array, raw_bytes: int | None) -> bytes:
        """The JSON of one output up to its data: whole for binary data of ``raw_bytes``, open for JSON."""
        key = (name, array.shape, raw_bytes)  # a model's output has one type
        made = self._entries.get(key)
        if made is None:
            entry: dict[str, Any] = {
                "name": name, "datatype": PROTOCOL_NAMES.get(array.dtype, "BYTES"), "shape": array.shape,
            }  # fmt: skip
            if raw_bytes is not None:
                entry["parameters"] = {"binary_data_size": raw_bytes}
            made = orjson.dumps(entry)
            if raw_bytes is None:
                made = made[:-1] + b',"data":'
            if len(self._entries) >= MAX_KEPT:
                self._entries.clear()
            self._entries[key] = made
        return made


def _json_data(name: str, array: Array) -> bytes:
    flat = array.ravel()
    if array.dtype == BF16:
        words = f"output {name!r} is BF16, which JSON cannot carry; ask for it with binary_data: true"
        raise Refusal(422, words, "not_finite")
    if array.dtype == object:
        return orjson.dumps([_text(value) for value in flat])
    if array.dtype.kind == "f" and not all_finite(flat):
        raise Refusal(
            422,
            f"output {name!r} holds NaN or infinity, which JSON cannot carry; ask for it with binary_data: true",
            "not_finite",
        )
    return orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")


def _to_bytes(array: Array) -> bytes:
    if array.dtype == object:
        encoded = [value.encode() if isinstance(value, str) else bytes(value) for value in array.ravel()]
        return b"".join(len(item).to_bytes(4, "little") + item for item in encoded)
    return array.tobytes()
