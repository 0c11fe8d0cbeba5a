"""What the tests of models share: a small model, its file, its errors, and protobuf bytes written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnx import TensorProto, helper

from nimify_tui.domain.models import FindingLevel, ModelReport


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


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
