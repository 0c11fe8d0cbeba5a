"""The demo's models: small ONNX graphs of different shapes and really different cost.

Run as a process (``python -m nimify_tui.demo.zoo FOLDER``), so that only it pays for importing onnx.
Weights come from a seed made of the model's name: the same bytes on every machine.

Each model also exists in revisions that went wrong, for roll-outs: ``NAME.slow.onnx`` (the same with
a costly tail), ``NAME.op.onnx`` (needs an operator that no runtime has) and, where the inputs are
token numbers, ``NAME.vocabulary.onnx`` (its table is smaller than the clients' vocabulary).
"""

from __future__ import annotations

import dataclasses
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from nimify_tui.demo.menu import Dish, Input

OPSET = 17
#: Read by every onnxruntime that we support.
IR_VERSION = 8
VOCABULARY = 1000
#: What is left of it in the revision that forgot some.
SHORT_VOCABULARY = 400
#: Steps of the costly tail; one is a product of two 256 x 256 matrices, some 0.3 to 1 ms on one core.
TAIL_STEPS = 90
#: What is costly already needs more to become several times as costly.
LONG_TAILS = {"vision-l14": 300, "asr-large": 200}


@dataclasses.dataclass
class Sketch:
    """A graph being drawn."""

    name: str
    nodes: list[NodeProto] = dataclasses.field(default_factory=list)
    weights: list[TensorProto] = dataclasses.field(default_factory=list)
    inputs: list[Input] = dataclasses.field(default_factory=list)
    output: tuple[str, str, tuple[str | int, ...]] = ("", "", ())
    vocabulary: int = VOCABULARY

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(zlib.crc32(self.name.encode()))

    def take(self, name: str, dtype: str, *shape: str | int, high: int = 0) -> str:
        """An input; ``high`` bounds the whole numbers that clients send."""
        self.inputs.append(Input(name, dtype, shape, high))
        return name

    def weight(self, *shape: int) -> str:
        """Weights that keep the size of what goes through them."""
        values = self.rng.standard_normal(shape) / np.sqrt(max(1, int(np.prod(shape[1:]))))
        return self.constant(values.astype(np.float32))

    def constant(self, values: Any) -> str:
        """A constant tensor."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def do(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """One node with one output; its name is returned."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def give(self, source: str, name: str, dtype: str, *shape: str | int) -> None:
        """Name the output."""
        self.nodes.append(helper.make_node("Identity", [source], [name]))
        self.output = (name, dtype, shape)


_TYPES = {"FP32": TensorProto.FLOAT, "INT64": TensorProto.INT64}


def model_of(sketch: Sketch, tree: bool = False) -> ModelProto:
    """The finished model."""
    opsets = [helper.make_opsetid("", OPSET)]
    if tree:
        opsets.append(helper.make_opsetid("ai.onnx.ml", 3))
    if any(node.domain == "acme.fused" for node in sketch.nodes):
        opsets.append(helper.make_opsetid("acme.fused", 1))
    name, dtype, shape = sketch.output
    graph = helper.make_graph(
        sketch.nodes,
        sketch.name,
        [helper.make_tensor_value_info(one.name, _TYPES[one.dtype], list(one.shape)) for one in sketch.inputs],
        [helper.make_tensor_value_info(name, _TYPES[dtype], list(shape))],
        sketch.weights,
    )
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="nimify-tui demo", producer_version="1"
    )


def embed_e5(s: Sketch) -> None:
    """Token numbers to one unit vector: table, mean, projection."""
    ids = s.take("input_ids", "INT64", "batch", 32, high=VOCABULARY)
    mean = s.do("ReduceMean", s.do("Gather", s.weight(s.vocabulary, 96), ids), axes=[1], keepdims=0)
    s.give(s.do("LpNormalization", s.do("MatMul", mean, s.weight(96, 64)), p=2), "embedding", "FP32", "batch", 64)


def toxicity(s: Sketch) -> None:
    """A small perceptron with two classes."""
    x = s.take("features", "FP32", "batch", 64)
    hidden = s.do("Relu", s.do("MatMul", x, s.weight(64, 128)))
    s.give(s.do("Softmax", s.do("MatMul", hidden, s.weight(128, 2))), "scores", "FP32", "batch", 2)


def rank_lgbm(s: Sketch, trees: int = 24, depth: int = 5) -> None:
    """Boosted trees on twelve columns."""
    x = s.take("columns", "FP32", "batch", 12)
    inner, size = 2**depth - 1, 2 ** (depth + 1) - 1
    tree_ids = [tree for tree in range(trees) for _ in range(size)]
    node_ids = list(range(size)) * trees
    leaf = [node >= inner for node in node_ids]
    leaves = [(tree, node) for tree, node in zip(tree_ids, node_ids, strict=True) if node >= inner]
    scores = s.do(
        "TreeEnsembleRegressor", x, domain="ai.onnx.ml", n_targets=1, post_transform="NONE",
        nodes_treeids=tree_ids, nodes_nodeids=node_ids,
        nodes_featureids=[0 if end else int(s.rng.integers(12)) for end in leaf],
        nodes_values=[0.0 if end else float(s.rng.standard_normal()) for end in leaf],
        nodes_modes=["LEAF" if end else "BRANCH_LEQ" for end in leaf],
        nodes_truenodeids=[0 if end else 2 * node + 1 for end, node in zip(leaf, node_ids, strict=True)],
        nodes_falsenodeids=[0 if end else 2 * node + 2 for end, node in zip(leaf, node_ids, strict=True)],
        target_treeids=[tree for tree, _ in leaves], target_nodeids=[node for _, node in leaves],
        target_ids=[0] * len(leaves), target_weights=[float(s.rng.standard_normal()) for _ in leaves],
    )  # fmt: skip
    s.give(scores, "score", "FP32", "batch", 1)


def fraud_score(s: Sketch) -> None:
    """Logistic regression on normalised columns."""
    x = s.take("transaction", "FP32", "batch", 30)
    scaled = s.do("Div", s.do("Sub", x, s.weight(30)), s.constant(np.full(30, 1.5, np.float32)))
    s.give(s.do("Sigmoid", s.do("MatMul", scaled, s.weight(30, 1))), "risk", "FP32", "batch", 1)


def spell_fix(s: Sketch) -> None:
    """Characters in, characters out: table, convolution along the line, best class."""
    ids = s.take("characters", "INT64", "batch", 24, high=VOCABULARY)
    rows = s.do("Transpose", s.do("Gather", s.weight(s.vocabulary, 32), ids), perm=[0, 2, 1])
    wide = s.do("Relu", s.do("Conv", rows, s.weight(64, 32, 3), pads=[1, 1]))
    s.give(s.do("ArgMax", s.do("Conv", wide, s.weight(96, 64, 1)), axis=1, keepdims=0), "fixed", "INT64", "batch", 24)


def rerank_v2(s: Sketch) -> None:
    """One query against sixteen documents."""
    query, documents = s.take("query", "FP32", "batch", 64), s.take("documents", "FP32", "batch", 16, 64)
    mixed = s.do("Tanh", s.do("MatMul", documents, s.weight(64, 64)))
    column = s.do("Unsqueeze", query, s.constant(np.array([2], np.int64)))
    flat = s.do("Squeeze", s.do("MatMul", mixed, column), s.constant(np.array([2], np.int64)))
    s.give(s.do("Softmax", flat), "relevance", "FP32", "batch", 16)


def guard_mini(s: Sketch) -> None:
    """Two layers of attention-like mixing over 24 positions."""
    x = s.take("states", "FP32", "batch", 24, 48)
    for _ in range(2):
        keys = s.do("Transpose", s.do("MatMul", x, s.weight(48, 48)), perm=[0, 2, 1])
        mixed = s.do("MatMul", s.do("Softmax", s.do("MatMul", x, keys), axis=-1), s.do("MatMul", x, s.weight(48, 48)))
        x = s.do("Add", x, s.do("Tanh", mixed))
    pooled = s.do("ReduceMax", x, axes=[1], keepdims=0)
    s.give(s.do("Sigmoid", s.do("MatMul", pooled, s.weight(48, 4))), "verdict", "FP32", "batch", 4)


def ocr_lines(s: Sketch) -> None:
    """A picture of a line to classes along it."""
    x = s.take("line", "FP32", "batch", 1, 32, 96)
    for channels, before in ((24, 1), (48, 24), (64, 48)):
        x = s.do("Relu", s.do("Conv", x, s.weight(channels, before, 3, 3), pads=[1] * 4, strides=[2, 2]))
    row = s.do("ReduceMean", x, axes=[2], keepdims=0)
    s.give(s.do("Softmax", s.do("Conv", row, s.weight(80, 64, 1)), axis=1), "letters", "FP32", "batch", 80, 12)


def tts_multi(s: Sketch) -> None:
    """Phonemes to a spectrogram, in the voice of a speaker."""
    ids, speaker = s.take("phonemes", "INT64", 1, 32, high=VOCABULARY), s.take("speaker", "FP32", 1, 16)
    x = s.do("Transpose", s.do("Gather", s.weight(s.vocabulary, 64), ids), perm=[0, 2, 1])
    voice = s.do("Unsqueeze", s.do("MatMul", speaker, s.weight(16, 64)), s.constant(np.array([2], np.int64)))
    x = s.do("Add", x, voice)
    for channels, before in ((128, 64), (192, 128), (192, 192)):
        x = s.do("Relu", s.do("ConvTranspose", x, s.weight(before, channels, 4), strides=[2], pads=[1, 1]))
    s.give(s.do("Conv", x, s.weight(80, 192, 3), pads=[1, 1]), "spectrogram", "FP32", 1, 80, 256)


def asr_large(s: Sketch) -> None:
    """A spectrogram to letters: a stack of convolutions along time."""
    x = s.take("mel", "FP32", "batch", 80, 100)
    x = s.do("Relu", s.do("Conv", x, s.weight(192, 80, 3), pads=[1, 1]))
    for _ in range(8):
        x = s.do("Add", x, s.do("Relu", s.do("Conv", x, s.weight(192, 192, 5), pads=[2, 2])))
    s.give(s.do("Softmax", s.do("Conv", x, s.weight(40, 192, 1)), axis=1), "letters", "FP32", "batch", 40, 100)


def vision_l14(s: Sketch) -> None:
    """A picture to ten classes; the costly one."""
    x = s.take("picture", "FP32", "batch", 3, 64, 64)
    x = s.do("Relu", s.do("Conv", x, s.weight(48, 3, 3, 3), pads=[1] * 4))
    for _ in range(9):
        x = s.do("Add", x, s.do("Relu", s.do("Conv", x, s.weight(48, 48, 3, 3), pads=[1] * 4)))
    pooled = s.do("Flatten", s.do("GlobalAveragePool", x))
    s.give(s.do("Softmax", s.do("MatMul", pooled, s.weight(48, 10))), "classes", "FP32", "batch", 10)


MODELS: dict[str, Callable[[Sketch], None]] = {
    "embed-e5": embed_e5, "toxicity": toxicity, "rank-lgbm": rank_lgbm, "fraud-score": fraud_score,
    "spell-fix": spell_fix, "rerank-v2": rerank_v2, "guard-mini": guard_mini, "ocr-lines": ocr_lines,
    "tts-multi": tts_multi, "asr-large": asr_large, "vision-l14": vision_l14,
}  # fmt: skip


def _draw(name: str, vocabulary: int = VOCABULARY) -> Sketch:
    sketch = Sketch(name, vocabulary=vocabulary)
    MODELS[name](sketch)
    return sketch


def _with_tail(sketch: Sketch, tail: Callable[[Sketch, str], str]) -> Sketch:
    """The same interface, with more work before the output; ``tail`` gets and returns a scalar."""
    last = sketch.nodes.pop()
    name, dtype, shape = sketch.output
    first = sketch.inputs[0]
    source = first.name if first.dtype == "FP32" else sketch.do("Cast", first.name, to=TensorProto.FLOAT)
    scalar = tail(sketch, sketch.do("ReduceMean", source, keepdims=0))
    tiny = sketch.do("Mul", scalar, sketch.constant(np.float32(1e-9)))
    if dtype == "INT64":
        tiny = sketch.do("Cast", tiny, to=TensorProto.INT64)
    sketch.give(sketch.do("Add", last.input[0], tiny), name, dtype, *shape)
    return sketch


def _costly(sketch: Sketch, scalar: str) -> str:
    weight = sketch.weight(256, 256)
    state = sketch.do("Tanh", sketch.do("Add", sketch.weight(256, 256), scalar))
    for _ in range(LONG_TAILS.get(sketch.name, TAIL_STEPS)):
        state = sketch.do("Tanh", sketch.do("MatMul", state, weight))
    return sketch.do("ReduceMean", state, keepdims=0)


def _unknown(sketch: Sketch, scalar: str) -> str:
    return sketch.do("FusedGate", scalar, domain="acme.fused")


def _write(folder: Path, file: str, sketch: Sketch) -> None:
    tree = any(node.domain == "ai.onnx.ml" for node in sketch.nodes)
    temporary = folder / f".{file}"
    temporary.write_bytes(model_of(sketch, tree).SerializeToString())
    temporary.rename(folder / file)  # whoever waits for the name finds a whole file


def build(folder: Path, names: Sequence[str] = tuple(MODELS)) -> None:
    """Write the models, then ``menu.json``, then the revisions that went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    sketches = {name: _draw(name) for name in names}
    for name, sketch in sketches.items():
        _write(folder, f"{name}.onnx", sketch)
    dishes = [Dish(name, f"{name}.onnx", tuple(sketch.inputs)) for name, sketch in sketches.items()]
    temporary = folder / ".menu.json"
    temporary.write_bytes(msgspec.json.encode(dishes))
    temporary.rename(folder / "menu.json")
    for name, sketch in sketches.items():
        _write(folder, f"{name}.op.onnx", _with_tail(_draw(name), _unknown))
        _write(folder, f"{name}.slow.onnx", _with_tail(_draw(name), _costly))
        if any(one.high for one in sketch.inputs):
            _write(folder, f"{name}.vocabulary.onnx", _draw(name, SHORT_VOCABULARY))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
