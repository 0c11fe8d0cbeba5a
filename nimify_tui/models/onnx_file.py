"""ONNX: what a ModelProto holds, read from the wire (onnx/onnx.proto, IR version 3 and later)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from nimify_tui.domain.models import TensorInfo
from nimify_tui.models.wire import BYTES, FIXED32, FIXED64, VARINT, Malformed, Wire, message, signed

#: TensorProto.DataType -> (numpy's word, bits of one element).
DTYPES: dict[int, tuple[str, int]] = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16), 6: ("int32", 32),
    7: ("int64", 64), 8: ("string", 0), 9: ("bool", 8), 10: ("float16", 16), 11: ("float64", 64),
    12: ("uint32", 32), 13: ("uint64", 64), 14: ("complex64", 64), 15: ("complex128", 128), 16: ("bfloat16", 16),
    17: ("float8_e4m3fn", 8), 18: ("float8_e4m3fnuz", 8), 19: ("float8_e5m2", 8), 20: ("float8_e5m2fnuz", 8),
    21: ("uint4", 4), 22: ("int4", 4), 23: ("float4_e2m1", 4),
    24: ("float8_e8m0", 8), 25: ("uint2", 2), 26: ("int2", 2),
}  # fmt: skip

MAX_DEPTH = 32
MAX_AXES = 64
MAX_OPERATORS = 10_000
MAX_TENSORS = 1_000_000
MAX_VALUES = 100_000
MAX_ELEMENTS = 1 << 48
MAX_EXTERNAL = 200_000
#: Names that are kept, all together; the million tensors of the largest models have about 60 MB.
MAX_NAME_BYTES = 128 * 1024 * 1024
#: ModelProto's fields with their wire types: what tells an ONNX file, which has no magic bytes.
_TOP = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES, 20: BYTES,
        25: BYTES, 26: BYTES}  # fmt: skip


@dataclass(frozen=True)
class ExternalRef:
    """Weights that lie in another file: ``offset`` and ``length`` None where the model does not say."""

    tensor: str
    location: str
    offset: int | None
    length: int | None
    expected_bytes: int


@dataclass
class OnnxFile:
    """The facts of one file."""

    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    metadata: list[tuple[str, str]] = field(default_factory=list)
    graphs: int = 0
    inputs: list[TensorInfo] = field(default_factory=list)
    outputs: list[TensorInfo] = field(default_factory=list)
    initialised: set[str] = field(default_factory=set)
    operators: Counter[tuple[str, str]] = field(default_factory=Counter)
    functions: set[tuple[str, str]] = field(default_factory=set)
    parameters: int = 0
    weights_bytes: int = 0
    weight_types: Counter[str] = field(default_factory=Counter)
    tensors: int = 0
    external: list[ExternalRef] = field(default_factory=list)
    #: (tensor, bytes its shape needs, bytes it carries) where the two differ.
    wrong_sizes: list[tuple[str, int, int]] = field(default_factory=list)
    subgraphs: int = 0


def looks_like_onnx(wire: Wire) -> bool:
    """Whether the top level reads like a ModelProto with a graph."""
    try:
        seen = set()
        for number, kind, _, _ in wire.fields(0, len(wire)):
            if _TOP.get(number) != kind:
                return False
            seen.add(number)
        return 7 in seen
    except Malformed:
        return False


def read_onnx(wire: Wire) -> OnnxFile:
    """All facts of the file. Raises Malformed."""
    return _Reader(wire).model()


class _Reader:
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.out = OnnxFile()
        self._names_left = MAX_NAME_BYTES

    def _keep(self, name: str) -> str:
        """Account for a name that stays in memory."""
        self._names_left -= len(name) + 64
        if self._names_left < 0:
            raise Malformed("the names in it take more memory than any model's names")
        return name

    def model(self) -> OnnxFile:
        wire, out = self.wire, self.out
        producer = ["", ""]
        for number, kind, a, b in wire.fields(0, len(wire)):
            if number in _TOP and _TOP[number] != kind:
                raise Malformed(f"field {number} of the model has the wrong type")
            if number == 1:
                out.ir_version = signed(a)
            elif number in (2, 3):
                producer[number - 2] = wire.text(kind, a, b)
            elif number == 7:
                out.graphs += 1
                self._graph(a, b, 0)
            elif number == 8:
                domain, version = self._opset(a, b)
                out.opsets[domain] = version
            elif number == 14 and len(out.metadata) < 256:
                out.metadata.append(self._pair(a, b))
            elif number == 25:
                self._function(a, b)
        if not out.graphs:
            raise Malformed("there is no graph in it")
        out.producer = " ".join(part for part in producer if part)
        return out

    def _opset(self, start: int, end: int) -> tuple[str, int]:
        domain, version = "", 0
        for number, kind, a, b in self.wire.fields(start, end):
            if number == 1:
                domain = self.wire.text(kind, a, b)
            elif number == 2 and kind == VARINT:
                version = signed(a)
        return domain or "ai.onnx", version

    def _pair(self, start: int, end: int) -> tuple[str, str]:
        pair = ["", ""]
        for number, kind, a, b in self.wire.fields(start, end):
            if number in (1, 2):
                pair[number - 1] = self.wire.text(kind, a, b)
        return pair[0], pair[1]

    def _graph(self, start: int, end: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Malformed(f"graphs are nested more than {MAX_DEPTH} deep")
        if depth:
            self.out.subgraphs += 1
        for number, kind, a, b in self.wire.fields(start, end):
            if number == 1:
                message(kind)
                self._node(a, b, depth)
            elif number == 5:
                message(kind)
                name = self._tensor(a, b)
                if depth == 0:
                    self.out.initialised.add(self._keep(name))
            elif number == 15:
                message(kind)
                self._sparse(a, b, depth)
            elif number in (11, 12) and depth == 0:
                message(kind)
                values = self.out.inputs if number == 11 else self.out.outputs
                if len(values) >= MAX_VALUES:
                    raise Malformed(f"more than {MAX_VALUES} inputs or outputs")
                values.append(self._value(a, b))

    def _sparse(self, start: int, end: int, depth: int) -> None:
        for number, kind, a, b in self.wire.fields(start, end):
            if number in (1, 2):
                message(kind)
                name = self._tensor(a, b)
                if number == 1 and depth == 0:
                    self.out.initialised.add(self._keep(name))

    def _function(self, start: int, end: int) -> None:
        domain = name = ""
        for number, kind, a, b in self.wire.fields(start, end):
            if number == 1:
                name = self.wire.text(kind, a, b)
            elif number == 10:
                domain = self.wire.text(kind, a, b)
            elif number == 7:
                message(kind)
                self._node(a, b, 1)
        self.out.functions.add((self._keep(domain) or "ai.onnx", self._keep(name)))

    def _node(self, start: int, end: int, depth: int) -> None:
        domain = op = ""
        for number, kind, a, b in self.wire.fields(start, end):
            if number == 4:
                op = self.wire.text(kind, a, b)
            elif number == 7:
                domain = self.wire.text(kind, a, b)
            elif number == 5:
                message(kind)
                self._attribute(a, b, depth)
        self.out.operators[(domain or "ai.onnx", op)] += 1
        if len(self.out.operators) > MAX_OPERATORS:
            raise Malformed(f"more than {MAX_OPERATORS} different operators")

    def _attribute(self, start: int, end: int, depth: int) -> None:
        for number, kind, a, b in self.wire.fields(start, end):
            if number in (6, 11):
                message(kind)
                self._graph(a, b, depth + 1)
            elif number in (5, 10):
                message(kind)
                self._tensor(a, b)

    def _tensor(self, start: int, end: int) -> str:
        out = self.out
        out.tensors += 1
        if out.tensors > MAX_TENSORS:
            raise Malformed(f"more than {MAX_TENSORS} tensors")
        dims: list[int] = []
        dtype, name, raw, typed, external = 0, "", None, 0, dict[str, str]()
        outside = False
        for number, kind, a, b in self.wire.fields(start, end):
            if number == 1:
                dims += self.wire.numbers(kind, a, b)
                if len(dims) > MAX_AXES:
                    raise Malformed(f"a tensor with more than {MAX_AXES} axes")
            elif number == 2 and kind == VARINT:
                dtype = signed(a)
            elif number == 8:
                name = self.wire.text(kind, a, b)
            elif number == 9:
                message(kind)
                raw = b - a
            elif number in (4, 5, 6, 7, 10, 11):
                typed += _size_of(kind, a, b)
            elif number == 13 and len(external) < 16:
                message(kind)
                key, value = self._pair(a, b)
                external[key] = value
            elif number == 14:
                outside = kind == VARINT and a == 1
        self._account(name, dims, dtype, raw, typed, external if outside else None)
        return name

    def _account(
        self,
        name: str,
        dims: list[int],
        dtype: int,
        raw: int | None,
        typed: int,
        external: dict[str, str] | None,
    ) -> None:
        """Add one tensor to the sums, and check that it carries what its shape says."""
        out = self.out
        elements = _product(name, dims)
        word, bits = DTYPES.get(dtype, (f"type {dtype}", 0))
        needs = (elements * bits + 7) // 8
        out.parameters += elements
        out.weight_types[word] += elements
        if out.parameters > MAX_ELEMENTS:
            raise Malformed("its tensors say they have more than 2^48 elements together")
        if external is not None:
            if len(out.external) >= MAX_EXTERNAL:
                raise Malformed(f"more than {MAX_EXTERNAL} external tensors")
            ref = ExternalRef(
                self._keep(name),
                self._keep(external.get("location", "")),
                _count(external.get("offset"), name),
                _count(external.get("length"), name),
                needs,
            )
            out.external.append(ref)
            out.weights_bytes += needs
        else:
            out.weights_bytes += raw if raw is not None else typed
            carries = raw if raw is not None else typed
            short = bits and ((raw is not None and raw != needs) or (raw is None and elements and not typed))
            if short and len(out.wrong_sizes) < 100:
                out.wrong_sizes.append((name, needs, carries))

    def _value(self, start: int, end: int) -> TensorInfo:
        name, dtype, shape = "", "not said", None
        for number, kind, a, b in self.wire.fields(start, end):
            if number == 1:
                name = self.wire.text(kind, a, b)
            elif number == 2:
                message(kind)
                dtype, shape = self._type(a, b)
        return TensorInfo(self._keep(name), dtype, shape)

    def _type(self, start: int, end: int) -> tuple[str, tuple[int | str | None, ...] | None]:
        found: tuple[str, tuple[int | str | None, ...] | None] = ("not said", None)
        words = {4: "sequence", 5: "map", 7: "opaque", 8: "sparse tensor", 9: "optional"}
        for number, kind, a, b in self.wire.fields(start, end):
            if number == 1:
                message(kind)
                found = self._tensor_type(a, b)
            elif number in words:
                found = (words[number], None)
        return found

    def _tensor_type(self, start: int, end: int) -> tuple[str, tuple[int | str | None, ...] | None]:
        dtype, shape = 0, None
        for number, kind, a, b in self.wire.fields(start, end):
            if number == 1 and kind == VARINT:
                dtype = signed(a)
            elif number == 2:
                message(kind)
                shape = tuple(self._each(a, b, 1, self._dim))
        return DTYPES.get(dtype, (f"type {dtype}", 0))[0], shape

    def _each(
        self, start: int, end: int, wanted: int, read: Callable[[int, int], int | str | None]
    ) -> list[int | str | None]:
        values: list[int | str | None] = []
        for number, kind, a, b in self.wire.fields(start, end):
            if number == wanted:
                message(kind)
                values.append(read(a, b))
                if len(values) > MAX_AXES:
                    raise Malformed(f"a tensor with more than {MAX_AXES} axes")
        return values

    def _dim(self, start: int, end: int) -> int | str | None:
        size: int | str | None = None
        for number, kind, a, b in self.wire.fields(start, end):
            if number == 1 and kind == VARINT:
                size = signed(a) if signed(a) >= 0 else None
            elif number == 2:
                size = self.wire.text(kind, a, b) or None
        return size


def _size_of(kind: int, a: int, b: int) -> int:
    if kind == BYTES:
        return b - a
    return {FIXED32: 4, FIXED64: 8}.get(kind, 1)


def _product(name: str, dims: list[int]) -> int:
    elements = 1
    for size in dims:
        if size < 0:
            raise Malformed(f"the tensor {name[:80]!r} has an axis of size {size}")
        elements *= size
        if elements > MAX_ELEMENTS:
            raise Malformed(f"the tensor {name[:80]!r} says it has more than 2^48 elements")
    return elements


def _count(text: str | None, name: str) -> int | None:
    if text is None or text == "":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Malformed(f"the tensor {name[:80]!r} names a place that is no number")
    return int(text)
