"""The wire reader against the onnx package: the same names, shapes and counts."""

from __future__ import annotations

import contextlib
import math
import random
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types

from nimify_tui.models import onnx_file
from nimify_tui.models.onnx_file import DTYPES, OnnxFile, read_onnx
from nimify_tui.models.wire import Wire
from tests.models.samples import quietly, samples


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
