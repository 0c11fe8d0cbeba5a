"""Small ONNX models for tests, as bytes: made with onnx.helper, weights from a seed, nothing downloaded."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
#: Readable by every onnxruntime that the project allows.
IR_VERSION = 8


def _model(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, Any] | None = None
) -> bytes:
    made = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tests")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _info(name: str, kind: int, shape: list[int | str]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def mlp(sizes: tuple[int, ...] = (64, 256, 256, 10), *, batch: int | str = "batch", seed: int = 7) -> bytes:
    """A perceptron, input ``x`` and output ``y`` FP32; ``batch`` a number for a fixed batch, a name for a free one."""
    rng = np.random.default_rng(seed)
    nodes, weights, last = [], {}, "x"
    for index, (inner, outer) in enumerate(pairwise(sizes)):
        final = index == len(sizes) - 2
        weights[f"w{index}"] = (rng.standard_normal((inner, outer)) / np.sqrt(inner)).astype(np.float32)
        weights[f"b{index}"] = rng.standard_normal(outer).astype(np.float32)
        gemm = "y" if final else f"g{index}"
        nodes.append(helper.make_node("Gemm", [last, f"w{index}", f"b{index}"], [gemm]))
        if not final:
            nodes.append(helper.make_node("Relu", [gemm], [f"r{index}"]))
            last = f"r{index}"
    shapes = (
        [_info("x", TensorProto.FLOAT, [batch, sizes[0]])],
        [_info("y", TensorProto.FLOAT, [batch, sizes[-1]])],
    )
    return _model(nodes, *shapes, weights)


def fixed_batch(batch: int = 2) -> bytes:
    """An MLP that takes exactly ``batch`` rows of 8 numbers."""
    return mlp((8, 16, 4), batch=batch)


def cnn(size: int = 32, seed: int = 7) -> bytes:
    """Two convolutions and a classifier: ``image`` FP32 [batch, 3, size, size] to ``scores`` [batch, 10]."""
    rng = np.random.default_rng(seed)
    weights = {
        "c1": (rng.standard_normal((16, 3, 3, 3)) / 5).astype(np.float32),
        "c2": (rng.standard_normal((32, 16, 3, 3)) / 12).astype(np.float32),
        "w": (rng.standard_normal((32, 10)) / 6).astype(np.float32),
        "b": rng.standard_normal(10).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "c1"], ["h1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["h1"], ["r1"]),
        helper.make_node("Conv", ["r1", "c2"], ["h2"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["h2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["scores"]),
    ]
    inputs = [_info("image", TensorProto.FLOAT, ["batch", 3, size, size])]
    return _model(nodes, inputs, [_info("scores", TensorProto.FLOAT, ["batch", 10])], weights)


def embedding(vocabulary: int = 1000, width: int = 16, seed: int = 7) -> bytes:
    """``ids`` INT64 [batch, length] to mean vectors ``vectors`` FP32; an unknown id fails at run time."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], axis=0),
        helper.make_node("ReduceMean", ["rows"], ["vectors"], axes=[1], keepdims=0),
    ]
    inputs = [_info("ids", TensorProto.INT64, ["batch", "length"])]
    table = rng.standard_normal((vocabulary, width)).astype(np.float32)
    return _model(nodes, inputs, [_info("vectors", TensorProto.FLOAT, ["batch", width])], {"table": table})


def identity(**kinds: int) -> bytes:
    """For each name an input of that ONNX type and any length, and the output ``name_out`` equal to it."""
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds]
    inputs = [_info(name, kind, ["n_" + name]) for name, kind in kinds.items()]
    outputs = [_info(f"{name}_out", kind, ["n_" + name]) for name, kind in kinds.items()]
    return _model(nodes, inputs, outputs)


def strings() -> bytes:
    """``text`` BYTES of any length, returned as it is."""
    return identity(text=TensorProto.STRING)


#: Every type of the protocol that ONNX has, by protocol name in lower case.
ALL_TYPES = {
    "bool": TensorProto.BOOL, "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64, "int8": TensorProto.INT8, "int16": TensorProto.INT16, "int32": TensorProto.INT32,
    "int64": TensorProto.INT64, "fp16": TensorProto.FLOAT16, "fp32": TensorProto.FLOAT, "fp64": TensorProto.DOUBLE,
    "bytes": TensorProto.STRING,
}  # fmt: skip


def every_type() -> bytes:
    """One identity for each type of the protocol."""
    return identity(**ALL_TYPES)


def bfloat16() -> bytes:
    """``x`` BF16 [n] and ``k`` INT64 [1] to ``y = 2 x`` BF16 and ``k_out``."""
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "wide"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["y"], to=TensorProto.BFLOAT16),
        helper.make_node("Identity", ["k"], ["k_out"]),
    ]
    inputs = [_info("x", TensorProto.BFLOAT16, ["n"]), _info("k", TensorProto.INT64, [1])]
    outputs = [_info("y", TensorProto.BFLOAT16, ["n"]), _info("k_out", TensorProto.INT64, [1])]
    return _model(nodes, inputs, outputs)


def reciprocal() -> bytes:
    """``y = 1 / x``: infinity for 0."""
    nodes = [helper.make_node("Reciprocal", ["x"], ["y"])]
    return _model(nodes, [_info("x", TensorProto.FLOAT, ["n"])], [_info("y", TensorProto.FLOAT, ["n"])])


def scalar_and_matrix() -> bytes:
    """``scale`` FP32 [] times ``m`` FP32 [rows, 3]: an input without axes, and several inputs."""
    nodes = [helper.make_node("Mul", ["m", "scale"], ["product"])]
    inputs = [_info("scale", TensorProto.FLOAT, []), _info("m", TensorProto.FLOAT, ["rows", 3])]
    return _model(nodes, inputs, [_info("product", TensorProto.FLOAT, ["rows", 3])])


def reshape() -> bytes:
    """``x`` FP32 [n] in the shape that ``shape`` INT64 [2] says; one that does not fit fails at run time, zeros too."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    inputs = [_info("x", TensorProto.FLOAT, ["n"]), _info("shape", TensorProto.INT64, [2])]
    return _model(nodes, inputs, [_info("y", TensorProto.FLOAT, ["rows", "columns"])])


def slow(cost: int = 20, width: int = 512, seed: int = 7) -> bytes:
    """``cost`` square matrix products of ``width`` in a row, whatever the batch: some ms each, on one thread."""
    rng = np.random.default_rng(seed)
    weights = {"w": (rng.standard_normal((width, width)) / np.sqrt(width)).astype(np.float32)}
    # The products grow out of x, so that nothing can be computed at load time.
    weights["lift"] = np.ones((width, 1), np.float32)
    nodes = [helper.make_node("MatMul", ["lift", "x"], ["m0"])]
    for index in range(cost):
        nodes.append(helper.make_node("MatMul", ["w", f"m{index}"], [f"p{index}"]))
        nodes.append(helper.make_node("Tanh", [f"p{index}"], [f"m{index + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"m{cost}"], ["y"], axes=[0], keepdims=1))
    inputs, outputs = ([_info(name, TensorProto.FLOAT, [1, width])] for name in ("x", "y"))
    return _model(nodes, inputs, outputs, weights)


def not_a_tensor() -> bytes:
    """A valid model with a sequence as output, which the protocol cannot carry."""
    nodes = [helper.make_node("SplitToSequence", ["x"], ["s"], axis=0)]
    output = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    return _model(nodes, [_info("x", TensorProto.FLOAT, ["n", 2])], [output])


def heavy_weights(width: int = 2048, layers: int = 3) -> bytes:
    """A perceptron whose time is the reading of its weights: 16 rows cost less than 4 single ones."""
    return mlp((64, *([width] * layers), 10))


def cumulative_sum() -> bytes:
    """``y`` FP32 [batch, 4]: running sums of ``x`` along the first axis, which only looks like a batch axis."""
    nodes = [helper.make_node("CumSum", ["x", "axis"], ["y"])]
    shapes = [_info("x", TensorProto.FLOAT, ["batch", 4])], [_info("y", TensorProto.FLOAT, ["batch", 4])]
    return _model(nodes, *shapes, {"axis": np.array(0, np.int64)})


def centred() -> bytes:
    """``y = x`` less the mean of the batch, FP32 [batch, 4]: one zero row for one row."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]
    return _model(
        nodes, [_info("x", TensorProto.FLOAT, ["batch", 4])], [_info("y", TensorProto.FLOAT, ["batch", 4])]
    )


def dynamic_quantised(width: int = 32, seed: int = 7) -> bytes:
    """A product in int8 whose scale is that of the whole batch, FP32 [batch, width] both: rows disturb each other."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["p"]),
        helper.make_node("Cast", ["p"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "scale"], ["y"]),
    ]
    weights = {"w": rng.integers(-100, 100, (width, width)).astype(np.int8)}
    shape: list[int | str] = ["batch", width]
    return _model(
        nodes, [_info("x", TensorProto.FLOAT, shape)], [_info("y", TensorProto.FLOAT, shape)], weights
    )


def silent() -> bytes:
    """``y = x * 0``, FP32 [batch, 4]: all rows have the same answer, whatever the model does with them."""
    nodes = [helper.make_node("Mul", ["x", "zero"], ["y"])]
    shapes = [_info("x", TensorProto.FLOAT, ["batch", 4])], [_info("y", TensorProto.FLOAT, ["batch", 4])]
    return _model(nodes, *shapes, {"zero": np.zeros(1, np.float32)})
