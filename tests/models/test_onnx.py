"""The wire reader against the onnx package: the same names, shapes and counts; hostile bytes end in words."""

from __future__ import annotations

import contextlib
import functools
import math
import mmap
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from nimify_tui.domain.models import FindingLevel, ModelReport, ModelVerdict
from nimify_tui.models import onnx_file
from nimify_tui.models.analysis import analyse
from nimify_tui.models.judge import judge_onnx
from nimify_tui.models.onnx_file import DTYPES, OnnxFile, looks_like_onnx, read_onnx
from nimify_tui.models.probe import report
from nimify_tui.models.wire import Malformed, Wire
from tests.support import run_python

FOLDER = Path(os.path.dirname(onnx.__file__)) / "backend" / "test" / "data"


@functools.cache
def samples() -> tuple[Path, ...]:
    return tuple(sorted(FOLDER.rglob("*.onnx")))


def dims_of(value: Any) -> tuple[int | str | None, ...] | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    axes: list[int | str | None] = []
    for axis in kind.shape.dim:
        which = axis.WhichOneof("value")
        size = axis.dim_value if which == "dim_value" else axis.dim_param or None if which else None
        axes.append(None if isinstance(size, int) and size < 0 else size)
    return tuple(axes)


def all_tensors(graph: Any) -> list[Any]:
    found = list(graph.initializer)
    for sparse in graph.sparse_initializer:
        found += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += attribute.tensors
            for inner in [attribute.g] if attribute.HasField("g") else []:
                found += all_tensors(inner)
            for inner in attribute.graphs:
                found += all_tensors(inner)
    return found


def all_nodes(graph: Any) -> int:
    count = len(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            count += all_nodes(attribute.g) if attribute.HasField("g") else 0
            count += sum(all_nodes(inner) for inner in attribute.graphs)
    return count


def agree(path: Path, facts: OnnxFile) -> None:
    """The onnx package is the judge."""
    model = onnx.load(path, load_external_data=False)
    assert facts.ir_version == model.ir_version
    assert facts.opsets == {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    for ours, theirs in ((facts.inputs, model.graph.input), (facts.outputs, model.graph.output)):
        assert [item.name for item in ours] == [item.name for item in theirs]
        for mine, other in zip(ours, theirs, strict=True):
            if other.type.WhichOneof("value") == "tensor_type":
                assert mine.shape == dims_of(other), mine
                assert mine.dtype == DTYPES[other.type.tensor_type.elem_type][0]
    assert facts.initialised >= {item.name for item in model.graph.initializer}
    if not model.functions:
        assert facts.tensors == len(all_tensors(model.graph))
        assert facts.parameters == sum(math.prod(tensor.dims) for tensor in all_tensors(model.graph))
        assert sum(facts.operators.values()) == all_nodes(model.graph)


def test_every_sample_of_the_onnx_package_reads_as_the_package_reads_it() -> None:
    assert len(samples()) > 100
    for path in samples():
        facts = read_onnx(Wire(path.read_bytes()))
        agree(path, facts)
        assert not facts.wrong_sizes, path


def test_sabotage_a_reader_that_drops_symbolic_names_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnx_file._Reader._dim

    def forgetful(self: Any, start: int, end: int) -> int | str | None:
        size = real(self, start, end)
        return None if isinstance(size, str) else size

    monkeypatch.setattr(onnx_file._Reader, "_dim", forgetful)
    with pytest.raises(AssertionError):
        test_every_sample_of_the_onnx_package_reads_as_the_package_reads_it()


# -- made models -----------------------------------------------------------------------


def mlp(batch: Any = "batch", **changes: Any) -> Any:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], [0.5] * 12)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], **changes)],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        [weights],
    )
    model = helper.make_model(graph, producer_name="tests", opset_imports=[helper.make_opsetid("", 17)])
    model.metadata_props.add(key="author", value="ops")
    return model


def write(tmp_path: Path, model: Any, name: str = "My Model v2.onnx") -> Path:
    path = tmp_path / name
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def errors(made: ModelReport) -> str:
    return " | ".join(item.text for item in made.findings if item.level is FindingLevel.ERROR)


def test_a_plain_model_from_file_to_report(tmp_path: Path) -> None:
    path = write(tmp_path, mlp())
    made = analyse(path)
    assert made == report(path)
    assert (made.format, made.producer, made.opsets) == ("ONNX", "tests", (("ai.onnx", 17),))
    assert [(item.name, item.dtype, item.shape) for item in (*made.inputs, *made.outputs)] == [
        ("x", "float32", ("batch", 4)),
        ("y", "float32", ("batch", 3)),
    ]
    assert (made.parameters, made.weights_bytes, made.nodes, made.operators) == (12, 48, 1, (("MatMul", 1),))
    assert made.deployable
    assert made.verdict is ModelVerdict.DATA_ONLY
    assert made.suggested_name == "my-model-v2"
    assert made.metadata == (("author", "ops"),)
    assert made.size_bytes == path.stat().st_size
    assert len(made.sha256) == 64
    assert made.not_checked


@pytest.mark.parametrize(
    ("batch", "guess", "words"),
    [
        ("batch", True, "first axis 'batch' is symbolic in all inputs and outputs (a guess until measured)"),
        (None, True, "the first axis is open"),
        (1, False, "the first axis of input 'x' is fixed at 1"),
    ],
)
def test_the_batch_guess_has_its_reason(tmp_path: Path, batch: Any, guess: bool, words: str) -> None:
    made = report(write(tmp_path, mlp(batch)))
    assert made.batchable is guess
    assert words in made.batch_reason


def test_a_scalar_and_an_unknown_shape_are_told_apart(tmp_path: Path) -> None:
    model = mlp()
    model.graph.input[0].type.tensor_type.shape.ClearField("dim")
    assert "is a scalar" in report(write(tmp_path, model)).batch_reason
    model.graph.input[0].type.tensor_type.ClearField("shape")
    made = report(write(tmp_path, model))
    assert (made.batchable, made.inputs[0].shape) == (None, None)


def test_foreign_operators_need_code_unless_the_file_defines_them(tmp_path: Path) -> None:
    model = mlp(domain="my.ops")
    made = report(write(tmp_path, model))
    assert made.verdict is ModelVerdict.NEEDS_CODE
    assert "my.ops need native code" in errors(made)
    node = helper.make_node("Identity", ["a"], ["b"])
    function = helper.make_function("my.ops", "MatMul", ["a"], ["b"], [node], [helper.make_opsetid("", 17)])
    model.functions.append(function)
    assert report(write(tmp_path, model)).verdict is ModelVerdict.DATA_ONLY


def test_a_compiled_context_contains_code(tmp_path: Path) -> None:
    model = mlp()
    model.graph.node[0].op_type = "EPContext"
    model.graph.node[0].domain = "com.microsoft"
    made = report(write(tmp_path, model))
    assert made.verdict is ModelVerdict.CONTAINS_CODE
    assert not made.deployable


def test_what_http_cannot_carry_cannot_be_deployed(tmp_path: Path) -> None:
    model = mlp()
    model.graph.output.append(
        helper.make_value_info("z", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [1])))
    )
    made = report(write(tmp_path, model))
    assert "output 'z' is a sequence" in errors(made)
    assert not made.deployable


def test_weights_that_are_not_what_they_say_are_found(tmp_path: Path) -> None:
    model = mlp()
    model.graph.initializer[0].ClearField("float_data")
    model.graph.initializer[0].raw_data = b"\0" * 40
    assert "needs 48 bytes by its shape and carries 40" in errors(report(write(tmp_path, model)))


@pytest.mark.parametrize("dims", [[-1], [2**31, 2**31], [2**62], [1] * 65])
def test_impossible_tensors_are_malformed(tmp_path: Path, dims: list[int]) -> None:
    model = mlp()
    model.graph.initializer[0].dims[:] = dims
    made = report(write(tmp_path, model))
    assert made.verdict is ModelVerdict.MALFORMED
    assert "malformed: " in errors(made)


# -- external data ---------------------------------------------------------------------


def external(
    tmp_path: Path, location: str = "w.bin", length: str = "48", offset: str = "0", size: int = 48
) -> Path:
    model = mlp()
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "w.bin").write_bytes(b"\0" * size)
    return write(tmp_path, model)


def linked(tmp_path: Path) -> Path:
    path = external(tmp_path, "link.bin")
    (tmp_path / "link.bin").symlink_to("/etc/hostname")
    return path


def hard_linked(tmp_path: Path) -> Path:
    path = external(tmp_path)
    os.link(tmp_path / "w.bin", tmp_path / "second-name")
    return path


def linked_folder(tmp_path: Path) -> Path:
    path = external(tmp_path, "sub/hostname")
    (tmp_path / "sub").symlink_to("/etc")
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: external(p, "../w.bin"), "leads out of the model's folder"),
        (lambda p: external(p, "/etc/passwd"), "no relative path"),
        (lambda p: external(p, "a\\b"), "no relative path"),
        (lambda p: external(p, ""), "names no file"),
        (lambda p: external(p, "missing.bin"), "the file is missing"),
        (lambda p: external(p, "."), "no regular file"),
        (linked, "symbolic link"),
        (linked_folder, "symbolic link"),
        (hard_linked, "hard link"),
        (lambda p: external(p, size=47), "ends at byte 48"),
        (lambda p: external(p, offset="1"), "ends at byte 49"),
        (lambda p: external(p, length="44"), "needs 48 bytes and names 44"),
        (lambda p: external(p, length="-4"), "no number"),
        (lambda p: external(p, offset="9" * 30), "no number"),
    ],
)
def test_external_data_may_only_name_its_own_folder(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    assert words in errors(report(make(tmp_path)))


def test_good_external_data_is_counted_and_said(tmp_path: Path) -> None:
    made = report(external(tmp_path))
    assert made.weights_bytes == 48
    assert (
        errors(made)
        == "its weights lie in other files ('w.bin'): this version deploys single-file models only"
    )


# -- hostile bytes ---------------------------------------------------------------------


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def nested(depth: int) -> bytes:
    graph = b""
    for _ in range(depth):
        graph = field(1, field(4, b"If") + field(5, field(6, graph)))
    return b"\x08\x08" + field(7, graph)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (nested(40), "nested more than 32 deep"),
        (b"\x08\x08" + b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "bytes"),
        (b"\x08" + b"\xff" * 11, "does not end"),
        (b"\x08\x08\x3a\x04\x0b\x0c\x0b\x0c", "wire type 3"),
        (b"\x08\x08\x3a\x02\x00\x00", "field number 0"),
        (b"\x08\x08\x3a\x02\x08\x01", "wrong type"),
        (b"\x08\x08" + field(7, b"") * 2 + field(8, b"\x10"), "does not end"),
        (b"\x08\x08\x72\x00", "there is no graph"),
    ],
)
def test_broken_bytes_are_malformed_and_say_where(raw: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read_onnx(Wire(raw))


def test_the_budget_of_fields_ends_a_flood() -> None:
    flood = b"\x08\x08" + field(7, b"\x12\x00" * 5000)
    assert read_onnx(Wire(flood, max_fields=6000)).graphs == 1
    with pytest.raises(Malformed, match="too many fields"):
        read_onnx(Wire(flood, max_fields=4000))


def quietly(raw: bytes) -> OnnxFile | None:
    try:
        return read_onnx(Wire(raw, max_fields=100_000))
    except Malformed:
        return None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutants_of_real_models_end_in_words_or_facts(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(samples()))
    raw = bytearray(path.read_bytes()[:20_000])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["flip", "drop", "insert", "huge", "cut"])):
            case "flip":
                raw[at] = data.draw(st.integers(0, 255))
            case "drop" if len(raw) > 9:
                del raw[at : at + 4]
            case "insert":
                raw[at:at] = data.draw(st.binary(max_size=6))
            case "huge":
                raw[at : at + 9] = b"\xff" * 8 + b"\x7f"
            case "cut" if at > 0:
                del raw[at:]
    quietly(bytes(raw))
    looks_like_onnx(Wire(bytes(raw), max_fields=100_000))


@given(st.binary(max_size=300))
def test_any_bytes_end_in_words_or_facts(raw: bytes) -> None:
    quietly(raw)


def as_package(raw: bytes) -> Any:
    """What the onnx package reads, None where it refuses."""
    model = onnx.ModelProto()
    with contextlib.suppress(DecodeError):
        model.ParseFromString(raw)
        return model
    return None


def as_text(name: Any) -> str:
    """The package hands out bytes where a name is no UTF-8."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def test_thousands_of_seeded_mutants_agree_with_the_package_where_both_read_them() -> None:
    rng = random.Random(20261124)
    both = 0
    small = [path for path in samples() if path.stat().st_size < 4000]
    for _ in range(1500):
        raw = bytearray(rng.choice(small).read_bytes())
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        facts = quietly(bytes(raw))
        model = as_package(bytes(raw))
        if facts is not None and model is not None and model.HasField("graph"):
            both += 1
            for ours, theirs in ((facts.inputs, model.graph.input), (facts.outputs, model.graph.output)):
                assert [item.name for item in ours] == [as_text(item.name) for item in theirs]
    assert both > 200


# -- the child -------------------------------------------------------------------------


def test_a_file_larger_than_two_gigabytes_is_read_without_its_weights(tmp_path: Path) -> None:
    """A sparse file of 2.4 GB: what describes the model is read, the weights are not touched."""
    size = 2_400_000_000
    weights = field(8, b"w") + b"\x08" + varint(size // 4) + b"\x10\x01" + varint(9 << 3 | 2) + varint(size)
    value = field(1, b"x") + field(2, field(1, b"\x08\x01" + field(2, field(1, b"\x08\x04"))))
    graph_rest = field(11, value) + field(12, value)
    initializer_head = varint(5 << 3 | 2) + varint(len(weights) + size) + weights
    graph_size = len(graph_rest) + len(initializer_head) + size
    path = tmp_path / "big.onnx"
    with open(path, "wb") as file:
        file.write(b"\x08\x08" + varint(7 << 3 | 2) + varint(graph_size) + graph_rest + initializer_head)
        file.truncate(file.tell() + size)
    with open(path, "rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        facts = read_onnx(Wire(data))
    made = judge_onnx(path, path.stat().st_size, "", facts)
    assert (made.weights_bytes, made.parameters) == (size, size // 4)
    assert "larger than 2 GB" in errors(made)
    assert [item.name for item in made.inputs] == ["x"]


def test_names_that_would_fill_the_memory_are_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_NAME_BYTES", 1_000_000)
    names = b"".join(field(5, field(8, b"%08d" % number * 500)) for number in range(400))
    with pytest.raises(Malformed, match="names in it take more memory"):
        read_onnx(Wire(b"\x08\x08" + field(7, names)))


BOMB = """
from nimify_tui.models import probe
probe.DATA_BYTES = 1 << 27
probe.limit_self(10)
try:
    held = [b"x" * (1 << 20) for _ in range(1 << 10)]
except MemoryError:
    print("stopped")
"""


def test_the_child_cannot_take_more_memory_than_it_may() -> None:
    assert run_python("-c", BOMB).stdout == "stopped\n"


def test_sabotage_without_the_limit_the_memory_is_taken() -> None:
    assert run_python("-c", BOMB.replace("probe.limit_self(10)", "")).stdout == ""


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    made = analyse(write(tmp_path, mlp()), deadline_s=0.0)
    assert made.verdict is ModelVerdict.MALFORMED
    assert "longer than 0 s" in errors(made)
