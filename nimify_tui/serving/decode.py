"""Open Inference Protocol v2 requests to arrays: JSON, the binary tensor extension, and both mixed.

Rules: https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/ and Triton's binary
tensor data extension. BYTES elements are a little-endian u32 length and that many bytes. Two freedoms
beyond the rules: FP16 is also taken as JSON numbers, and unknown parameters are ignored. BF16 is binary only.
Every function here raises ValidationError for a client's mistake, in words that say what was expected.
"""

from __future__ import annotations

import math
import struct
from itertools import chain
from typing import Any

import numpy as np
import orjson

from nimify_tui.base.errors import ValidationError
from nimify_tui.serving.datatypes import FLOATS, INTEGERS, NUMPY_NAMES, Array, InferRequest, Slot
from nimify_tui.serving.screen import suspicious_text

#: No axis is longer; keeps products of sizes small even where another axis is 0.
MAX_AXIS = 1 << 31
MAX_ID_CHARS = 256
#: So many JSON parts of binary requests are remembered for each model version, each of at most so many bytes.
MAX_PLANS = 256
MAX_PLAN_BYTES = 2048
_NUMBER = frozenset((int, float))
_TYPES = {"BOOL": frozenset((bool,)), "BYTES": frozenset((str,))}
_TYPES |= dict.fromkeys(INTEGERS, frozenset((int,))) | dict.fromkeys(FLOATS, _NUMBER)
_DTYPES = {name: np.dtype(numpy) for name, numpy in NUMPY_NAMES.items()}
#: struct's letters for the types whose JSON numbers it takes and refuses exactly as the protocol wants.
_CODES = {
    "FP32": "f", "FP64": "d", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
}  # fmt: skip
#: More numbers than that are turned into an array of Python's by numpy, in blocks.
MAX_PACKED = 4096
_WORDS = {"BOOL": "true or false", "BYTES": "strings"}
_WORDS |= dict.fromkeys(INTEGERS, "whole numbers") | dict.fromkeys(FLOATS, "numbers")


def bad(text: str) -> ValidationError:
    """The client's mistake."""
    return ValidationError(text)


class _Plan:
    """What the JSON part of a wholly binary request says. A client's requests mostly differ in their numbers only."""

    __slots__ = ("_at", "_like", "body_bytes")

    def __init__(self, request: InferRequest, body_bytes: int) -> None:
        self._like, self.body_bytes = request, body_bytes
        sizes = [(name, array.dtype, array.size, array.shape) for name, array in request.inputs.items()]
        start = body_bytes - sum(dtype.itemsize * size for _, dtype, size, _ in sizes)
        self._at = []
        for name, dtype, size, shape in sizes:
            self._at.append((name, dtype, size, start, shape))
            start += dtype.itemsize * size

    def request(self, body: bytes) -> InferRequest:
        """The same request with the numbers of ``body``."""
        inputs: dict[str, Array] = {}
        for name, dtype, size, start, shape in self._at:
            array = np.frombuffer(body, dtype, size, start)
            inputs[name] = (array if array.flags.aligned else array.copy()).reshape(shape)
        like = self._like
        return InferRequest("", inputs, like.wanted, like.batch, like.elements, like.timeout_s)


def _plain(array: Array) -> bool:
    """Whether any bytes of the right number are a tensor of this type."""
    return array.dtype.kind in "iuf" and array.size > 0


class Decoder:
    """Checks and decodes requests for one model."""

    def __init__(self, inputs: tuple[Slot, ...], outputs: tuple[Slot, ...]) -> None:
        self._inputs = {slot.name: slot for slot in inputs}
        self._outputs = {slot.name: slot for slot in outputs}
        self._all_json = tuple((slot.name, False) for slot in outputs)
        self._all_binary = tuple((slot.name, True) for slot in outputs)
        self._names = [slot.name for slot in outputs]
        self._words = ", ".join(slot.words for slot in inputs)
        self._plans: dict[bytes, _Plan] = {}

    def decode(self, body: bytes, json_length: int | None) -> InferRequest:
        """One infer request; ``json_length`` is what Inference-Header-Content-Length says."""
        if json_length is None:
            return self._decode(body, memoryview(b""))
        if not 0 < json_length <= len(body):
            raise bad(f"Inference-Header-Content-Length is {json_length}, but the body has {len(body)} bytes")
        head = body[:json_length]
        plan = self._plans.get(head)
        if plan is not None and len(body) == plan.body_bytes:
            return plan.request(body)
        request = self._decode(head, memoryview(body)[json_length:])
        arrays = request.inputs.values()
        whole = sum(array.nbytes for array in arrays) == len(body) - json_length  # nothing of it came as JSON
        if whole and len(head) <= MAX_PLAN_BYTES and not request.id and all(map(_plain, arrays)):
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[head] = _Plan(request, len(body))
        return request

    def names_of(self, wanted: tuple[tuple[str, bool], ...]) -> list[str]:
        """The names alone, in order, for the model."""
        if wanted is self._all_json or wanted is self._all_binary:
            return self._names
        return [name for name, _ in wanted]

    def _decode(self, body: bytes, tail: memoryview) -> InferRequest:
        document = self._document(body)
        inputs, rest = self._tensors(
            document.get("inputs"), tail, b"true" not in body and b"false" not in body
        )
        if rest:
            raise bad(f"{rest} bytes after the last binary tensor belong to no input")
        parameters = document.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise bad("'parameters' must be an object")
        request_id = document.get("id", "")
        if request_id and (not isinstance(request_id, str) or len(request_id) > MAX_ID_CHARS):
            raise bad(f"'id' must be a string of at most {MAX_ID_CHARS} characters")
        if request_id and suspicious_text(request_id):
            raise bad("'id' carries a pattern that no honest request needs")
        batch = elements = 0
        for array in inputs.values():
            elements += array.size
            if array.ndim:
                batch = max(batch, array.shape[0])
            else:
                batch = batch or 1
        wanted, timeout_s = self._wanted(document.get("outputs"), parameters), _timeout_s(parameters)
        return InferRequest(request_id or "", inputs, wanted, batch, elements, timeout_s)

    def _document(self, text: bytes) -> dict[str, Any]:
        if not text or text.isspace():
            raise bad(f"the body is empty; expected a JSON object with 'inputs': {self._words}")
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            hint = (
                ""
                if text.lstrip()[:1] in (b"{", b"[")
                else " (binary tensors need Inference-Header-Content-Length)"
            )
            raise bad(f"the request is not valid JSON: {error}{hint}") from None
        if not isinstance(document, dict):
            raise bad(f"the request must be a JSON object with 'inputs': {self._words}")
        return document

    def _wanted(self, listed: Any, parameters: dict[str, Any] | None) -> tuple[tuple[str, bool], ...]:
        default = parameters.get("binary_data_output", False) if parameters else False
        if not isinstance(default, bool):
            raise bad("parameter 'binary_data_output' must be true or false")
        if listed is None or listed == []:
            return self._all_binary if default else self._all_json
        if not isinstance(listed, list):
            raise bad("'outputs' must be a list of objects with 'name'")
        wanted: dict[str, bool] = {}
        for item in listed:
            name = item.get("name") if isinstance(item, dict) else None
            if not isinstance(name, str) or name not in self._outputs:
                raise bad(f"there is no output {str(name)[:80]!r}; the model has {', '.join(self._outputs)}")
            if name in wanted:
                raise bad(f"output {name!r} is asked for twice")
            own = item.get("parameters") or {}
            if not isinstance(own, dict) or not isinstance(own.get("binary_data", default), bool):
                raise bad(f"parameter 'binary_data' of output {name!r} must be true or false")
            _no_shared_memory(name, own)
            wanted[name] = own.get("binary_data", default)
        return tuple(wanted.items())

    def _tensors(self, listed: Any, tail: memoryview, no_bool: bool) -> tuple[dict[str, Array], int]:
        if not isinstance(listed, list):
            raise bad(f"'inputs' must be a list of tensors; the model takes {self._words}")
        found: dict[str, Array] = {}
        for item in listed:
            name = item.get("name") if isinstance(item, dict) else None
            slot = self._inputs.get(name) if isinstance(name, str) else None
            if slot is None:
                raise bad(f"there is no input {str(name)[:80]!r}; the model takes {self._words}")
            if slot.name in found:
                raise bad(f"input {slot.name!r} is given twice")
            found[slot.name], tail = _tensor(slot, item, tail, no_bool)
        if len(found) != len(self._inputs):
            missing = next(name for name in self._inputs if name not in found)
            raise bad(f"input {missing!r} is missing; the model takes {self._words}")
        return found, len(tail)


def _timeout_s(parameters: dict[str, Any] | None) -> float | None:
    """Triton's ``timeout``: microseconds."""
    value = parameters.get("timeout") if parameters else None
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise bad("parameter 'timeout' must be a whole number of microseconds")
    return value / 1e6 if value else None


def _no_shared_memory(name: str, parameters: dict[str, Any]) -> None:
    if "shared_memory_region" in parameters:
        raise bad(f"{name!r} asks for shared memory, which this server does not have")


def _tensor(slot: Slot, item: dict[str, Any], tail: memoryview, no_bool: bool) -> tuple[Array, memoryview]:
    if item.get("datatype") != slot.datatype:
        raise bad(f"input {slot.name!r} must be {slot.datatype}, got {str(item.get('datatype'))[:40]!r}")
    shape = item.get("shape")
    if not isinstance(shape, list):
        raise bad(f"'shape' of input {slot.name!r} must be a list of sizes that fits {list(slot.shape)}")
    fits = len(shape) == len(slot.shape)
    for want, have in zip(slot.shape, shape, strict=False):
        if type(have) is not int or not 0 <= have < MAX_AXIS:
            raise bad(f"'shape' of input {slot.name!r} must be a list of sizes that fits {list(slot.shape)}")
        if want != have and want != -1:
            fits = False
    if not fits:
        raise bad(f"input {slot.name!r} must have shape {list(slot.shape)} (-1: any size), got {shape[:16]}")
    parameters = item.get("parameters")
    if parameters is None:
        return _from_json(slot, shape, item, no_bool), tail
    if not isinstance(parameters, dict):
        raise bad(f"'parameters' of input {slot.name!r} must be an object")
    _no_shared_memory(slot.name, parameters)
    size = parameters.get("binary_data_size")
    if size is None:
        return _from_json(slot, shape, item, no_bool), tail
    if "data" in item:
        raise bad(f"input {slot.name!r} has both 'data' and 'binary_data_size'")
    if type(size) is not int or not 0 <= size <= len(tail):
        raise bad(
            f"'binary_data_size' of input {slot.name!r} is {str(size)[:40]}, but {len(tail)} bytes are left"
        )
    return _from_bytes(slot, shape, tail[:size]), tail[size:]


def _from_bytes(slot: Slot, shape: list[int], raw: memoryview) -> Array:
    count = math.prod(shape)
    if slot.datatype == "BYTES":
        return _byte_strings(slot, count, raw).reshape(shape)
    dtype = np.dtype(NUMPY_NAMES[slot.datatype])
    if len(raw) != count * dtype.itemsize:
        raise bad(
            f"input {slot.name!r} of shape {shape} needs {count * dtype.itemsize} bytes of {slot.datatype},"
            f" got {len(raw)}"
        )
    if slot.datatype == "BOOL" and count and np.frombuffer(raw, np.uint8).max() > 1:
        raise bad(f"input {slot.name!r} is BOOL: every byte must be 0 or 1")
    array = np.frombuffer(raw, dtype).reshape(shape)
    # The JSON part has any length, so the tensor may begin at an odd address.
    return array if array.flags.aligned else array.copy()


def _byte_strings(slot: Slot, count: int, raw: memoryview) -> Array:
    values: list[str] = []
    at, end = 0, len(raw)
    while at < end:
        start = at + 4
        at = start + int.from_bytes(raw[at:start], "little")
        if at > end or start > end:
            raise bad(f"string {len(values)} of input {slot.name!r} is longer than the bytes that are left")
        if len(values) == count:
            raise bad(f"input {slot.name!r} needs {count} strings, got more")
        try:
            values.append(str(raw[start:at], "utf-8"))
        except UnicodeDecodeError:
            raise bad(f"string {len(values)} of input {slot.name!r} is not UTF-8") from None
    if len(values) != count:
        raise bad(f"input {slot.name!r} needs {count} strings, got {len(values)}")
    return _object_array(values)


def _object_array(values: list[str]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _packed(slot: Slot, count: int, data: list[Any]) -> Array | None:
    """Numbers of the right kind, number and size, at a third of the cost of looking at each; None: look at each.

    ``data`` must hold no bool, which Python takes for a number.
    """
    code = _CODES.get(slot.datatype)
    if code is None or len(data) != count or not 0 < count <= MAX_PACKED:
        return None
    try:
        raw = struct.pack(f"<{count}{code}", *data)
    except (struct.error, OverflowError):
        return None
    return np.frombuffer(raw, _DTYPES[slot.datatype])


def _from_json(slot: Slot, shape: list[int], item: dict[str, Any], no_bool: bool) -> Array:
    data = item.get("data")
    if no_bool and type(data) is list and (packed := _packed(slot, math.prod(shape), data)) is not None:
        return packed.reshape(shape)
    if slot.datatype == "BF16":
        raise bad(f"input {slot.name!r} is BF16, which has no JSON: send it as binary data")
    if not isinstance(data, list):
        raise bad(f"input {slot.name!r} has neither a list 'data' nor 'binary_data_size'")
    if data and type(data[0]) is list:
        data = _flat(slot, shape, data)
    if len(data) != math.prod(shape):
        raise bad(f"input {slot.name!r} of shape {shape} needs {math.prod(shape)} elements, got {len(data)}")
    types = set(map(type, data))
    if not types <= _TYPES[slot.datatype]:
        odd = next(value for value in data if type(value) not in _TYPES[slot.datatype])
        raise bad(
            f"input {slot.name!r} is {slot.datatype} and takes {_WORDS[slot.datatype]}, got {str(odd)[:40]!r}"
        )
    if slot.datatype == "BYTES":
        return _object_array(data).reshape(shape)
    if slot.datatype in INTEGERS and data:
        limits = np.iinfo(NUMPY_NAMES[slot.datatype])
        low, high = min(data), max(data)
        if low < limits.min or high > limits.max:
            raise bad(
                f"input {slot.name!r} is {slot.datatype}: {low if low < limits.min else high} does not fit"
            )
    if slot.datatype in FLOATS:
        return _floats(slot, data).reshape(shape)
    return np.array(data, NUMPY_NAMES[slot.datatype]).reshape(shape)


def _floats(slot: Slot, data: list[Any]) -> Array:
    try:
        array = np.array(data, NUMPY_NAMES[slot.datatype])
    except OverflowError as error:
        raise bad(f"input {slot.name!r} is {slot.datatype}: {error}") from None
    if not all_finite(array):  # JSON has no infinity: a number was too large
        largest = max(data, key=abs)
        raise bad(f"input {slot.name!r} is {slot.datatype}: {largest!r} does not fit")
    return array


def all_finite(array: Array) -> bool:
    """Whether a flat array of floats holds neither NaN nor infinity.

    The dot product with itself answers most of the time at a fraction of the cost of a look at each element;
    it may overflow, which the runtime has told numpy not to mention.
    """
    if array.dtype != np.float16 and array.ndim == 1 and math.isfinite(array.dot(array)):
        return True
    return bool(np.isfinite(array).all())


def _flat(slot: Slot, shape: list[int], data: list[Any]) -> list[Any]:
    """Nested rows, which must be nested as ``shape`` says."""
    for depth, size in enumerate(shape[:-1]):
        wrong = len(data) != math.prod(shape[: depth + 1]) or set(map(type, data)) != {list}
        if wrong or set(map(len, data)) != {shape[depth + 1]}:
            where = f"axis {depth} has {size} rows"
            raise bad(f"'data' of input {slot.name!r} is nested, but not as its shape {shape} says: {where}")
        data = list(chain.from_iterable(data))
    return data
