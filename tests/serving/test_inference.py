"""Open Inference Protocol v2: metadata, JSON, binary tensors and both mixed; tritonclient and onnxruntime judge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime as ort
import pytest
import tritonclient.http as triton

from tests import models_factory
from tests.serving.servers import HOST, Server, binary_body, running, tensor

RNG = np.random.default_rng(11)
ROW = [0.5] * 8


def direct(model: bytes, inputs: dict[str, Any]) -> list[Any]:
    """What onnxruntime itself answers."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return list(ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, inputs))


@pytest.fixture
def client(small: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(f"{HOST}:{small.port}") as made:
        yield made


def ask_triton(made: Any, model: str, inputs: dict[str, tuple[str, Any]], *, binary: bool) -> Any:
    """One request with every tensor the same way."""
    sent = []
    for name, (datatype, array) in inputs.items():
        item = triton.InferInput(name, list(array.shape), datatype)
        item.set_data_from_numpy(array, binary_data=binary)
        sent.append(item)
    return made.infer(model, sent)


def test_tritonclient_finds_server_model_and_health(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m")
    assert client.is_model_ready("m", "1")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    about = client.get_model_metadata("m", "1")
    assert about["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}]
    assert about["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]
    assert about["versions"] == ["1"]
    assert about["platform"] == "onnxruntime_onnx"


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_tritonclient_gets_onnxruntimes_numbers(client: Any, batch: int, binary_in: bool, binary_out: bool) -> None:
    x = RNG.standard_normal((batch, 8)).astype(np.float32)
    item = triton.InferInput("x", [batch, 8], "FP32")
    item.set_data_from_numpy(x, binary_data=binary_in)
    asked = [triton.InferRequestedOutput("y", binary_data=binary_out)]
    answer = client.infer("m", [item], outputs=asked, request_id="a-1")
    assert np.array_equal(answer.as_numpy("y"), direct(models_factory.mlp((8, 16, 4)), {"x": x})[0])
    assert answer.get_response()["id"] == "a-1"


@pytest.mark.parametrize(
    ("name", "model", "inputs", "output"),
    [
        ("cnn", models_factory.cnn(),
         {"image": ("FP32", RNG.standard_normal((2, 3, 32, 32)).astype(np.float32))}, "scores"),
        ("embedding", models_factory.embedding(), {"ids": ("INT64", RNG.integers(0, 1000, (4, 7)))}, "vectors"),
        ("fixed", models_factory.fixed_batch(2), {"x": ("FP32", RNG.standard_normal((2, 8)).astype(np.float32))}, "y"),
        ("two", models_factory.scalar_and_matrix(),
         {"scale": ("FP32", np.array(3.0, np.float32)), "m": ("FP32", np.ones((2, 3), np.float32))}, "product"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_models_of_other_shapes(name: str, model: bytes, inputs: dict[str, tuple[str, Any]], output: str) -> None:
    expected = direct(model, {each: array for each, (_, array) in inputs.items()})[0]
    with running(model, name=name) as server, triton.InferenceServerClient(f"{HOST}:{server.port}") as made:
        for binary in (True, False):
            answer = ask_triton(made, name, inputs, binary=binary)
            assert np.allclose(answer.as_numpy(output), expected, rtol=1e-6, atol=1e-7)


VALUES: dict[str, Any] = {
    "bool": [True, False], "uint8": [0, 255], "uint16": [0, 65535], "uint32": [0, 2**32 - 1],
    "uint64": [0, 2**64 - 1], "int8": [-128, 127], "int16": [-(2**15), 2**15 - 1], "int32": [-(2**31), 2**31 - 1],
    "int64": [-(2**63), 2**63 - 1], "fp16": [0.5, -65504.0], "fp32": [1e-30, 3.4e38], "fp64": [1e-300, 1.7e308],
    "bytes": ["", "zwölf 語 \u0000 \x1b[31m"],
}  # fmt: skip
NUMPY = {"bool": "bool", "fp16": "float16", "fp32": "float32", "fp64": "float64", "bytes": "object"}


def array_of(kind: str) -> Any:
    """The values as numpy has them."""
    if kind == "bytes":
        return np.array([value.encode() for value in VALUES[kind]], dtype=object)
    return np.array(VALUES[kind], dtype=NUMPY.get(kind, kind))


def packed_of(kind: str) -> bytes:
    """The values as the binary extension carries them."""
    if kind == "bytes":
        return b"".join(len(value).to_bytes(4, "little") + value for value in array_of(kind))
    return bytes(array_of(kind).tobytes())


def test_every_type_in_json(typed: Server) -> None:
    inputs = [tensor(kind, [2], kind.upper(), VALUES[kind]) for kind in VALUES]
    answer = typed.infer({"inputs": inputs})
    assert answer.status == 200, answer
    outputs = {output["name"]: output for output in answer.json["outputs"]}
    for kind, values in VALUES.items():
        output = outputs[f"{kind}_out"]
        assert output["datatype"] == kind.upper()
        assert output["shape"] == [2]
        exact = kind not in {"fp16", "fp32"}
        assert output["data"] == values if exact else np.allclose(output["data"], values, rtol=1e-3)


def test_every_type_in_binary_by_tritonclient(typed: Server) -> None:
    with triton.InferenceServerClient(f"{HOST}:{typed.port}") as made:
        inputs = {kind: (kind.upper(), array_of(kind)) for kind in VALUES}
        answer = ask_triton(made, "types", inputs, binary=True)
        for kind in VALUES:
            assert np.array_equal(answer.as_numpy(f"{kind}_out"), array_of(kind)), kind
        assert answer.get_output("fp32_out")["parameters"]["binary_data_size"] == 8


def test_bf16_comes_and_goes_as_binary_alone() -> None:
    """ml_dtypes, which onnx brings, doubles them too. The last rounds to even, 3e38 leaves the range."""
    numbers = np.array([1.0, -2.5, 3e38, 0.0, np.inf, 1.00390625], ml_dtypes.bfloat16)
    with running(models_factory.bfloat16(), "--cache-bytes", "10000") as server:
        with triton.InferenceServerClient(f"{HOST}:{server.port}") as made:
            for values in (numbers, numbers[:3], numbers, numbers[:0]):
                x = triton.InferInput("x", [len(values)], "BF16").set_data_from_numpy(values)
                k = triton.InferInput("k", [1], "INT64").set_data_from_numpy(np.array([7]), binary_data=False)
                wanted = [triton.InferRequestedOutput("y"), triton.InferRequestedOutput("k_out", binary_data=False)]
                answer = made.infer("m", [x, k], outputs=wanted)
                assert answer.get_output("y")["datatype"] == "BF16"
                with np.errstate(over="ignore"):
                    expected = (values.astype(np.float32) * 2).astype(ml_dtypes.bfloat16)
                assert np.asarray(answer.as_numpy("y"), ml_dtypes.bfloat16).tobytes() == expected.tobytes()
                assert answer.as_numpy("k_out").tolist() == [7]
        k_in = tensor("k", [1], "INT64", [7])
        refused = server.infer({"inputs": [tensor("x", [1], "BF16", [1.0]), k_in]})
        assert (refused.status, "binary" in refused.error) == (400, True)
        x_in = {"name": "x", "shape": [1], "datatype": "BF16", "parameters": {"binary_data_size": 2}}
        refused = server.infer(*binary_body({"inputs": [x_in, k_in]}, b"\0\0"))
        assert (refused.status, "binary_data: true" in refused.error) == (422, True)
        page = server.ask("GET", "/health", admin=True).json["model"]
        assert "BF16" in page["batch"]["words"]


def test_binary_and_json_mixed_in_both_directions(typed: Server) -> None:
    inputs: list[dict[str, Any]] = []
    raw = []
    for number, kind in enumerate(VALUES):
        if kind == "fp16" or number % 2:
            packed = packed_of(kind)
            raw.append(packed)
            inputs.append({"name": kind, "shape": [2], "datatype": kind.upper(),
                           "parameters": {"binary_data_size": len(packed)}})  # fmt: skip
        else:
            inputs.append(tensor(kind, [2], kind.upper(), VALUES[kind]))
    outputs = [{"name": f"{kind}_out", "parameters": {"binary_data": kind != "int64"}} for kind in reversed(VALUES)]
    body, headers = binary_body({"inputs": inputs, "outputs": outputs}, *raw)
    answer = typed.infer(body, headers)
    assert answer.status == 200, answer
    length = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    document, tail = json.loads(answer.body[:length]), answer.body[length:]
    assert [output["name"] for output in document["outputs"]] == [f"{kind}_out" for kind in reversed(VALUES)]
    for output in document["outputs"]:
        kind = output["name"].removesuffix("_out")
        if kind == "int64":
            assert output["data"] == VALUES[kind]
            continue
        size = output["parameters"]["binary_data_size"]
        piece, tail = tail[:size], tail[size:]
        assert piece == packed_of(kind)
    assert tail == b""


def test_binary_output_for_all_by_one_parameter(small: Server) -> None:
    answer = small.infer({"inputs": [tensor("x", [1, 8], "FP32", ROW)], "parameters": {"binary_data_output": True}})
    length = int(answer.headers["inference-header-content-length"])
    assert len(answer.body) - length == 16


def test_nested_and_flat_data_mean_the_same(small: Server) -> None:
    flat = [float(number) for number in range(16)]
    nested = [flat[:8], flat[8:]]
    answers = [small.infer({"inputs": [tensor("x", [2, 8], "FP32", data)]}) for data in (flat, nested)]
    assert answers[0].status == 200
    assert answers[0].body == answers[1].body


def test_version_path_and_requested_outputs(typed: Server) -> None:
    inputs = [tensor(kind, [2], kind.upper(), VALUES[kind]) for kind in VALUES]
    body = json.dumps({"id": "7", "inputs": inputs, "outputs": [{"name": "int8_out"}]}).encode()
    answer = typed.ask("POST", "/v2/models/types/versions/1/infer", body)
    assert answer.json["outputs"] == [{"name": "int8_out", "datatype": "INT8", "shape": [2], "data": [-128, 127]}]
    assert answer.json["id"] == "7"
    assert answer.json["model_name"] == "types"
    assert answer.json["model_version"] == "1"


def test_nan_and_infinity_are_refused_in_json_and_exact_in_binary() -> None:
    with running(models_factory.reciprocal()) as server:
        refused = server.infer({"inputs": [tensor("x", [2], "FP32", [0.0, 1.0])]})
        assert refused.status == 422
        assert "binary_data" in refused.error
        assert "y" in refused.error
        answer = server.infer(
            {"inputs": [tensor("x", [2], "FP32", [0.0, 1.0])], "parameters": {"binary_data_output": True}}
        )
        assert np.array_equal(np.frombuffer(answer.body[-8:], np.float32), [np.inf, 1.0])
        assert server.infer({"inputs": [tensor("x", [1], "FP32", [2.0])]}).json["outputs"][0]["data"] == [0.5]


def test_a_tensor_at_an_odd_address_is_computed_right(small: Server) -> None:
    x = RNG.standard_normal((1, 8)).astype(np.float32)
    expected = direct(models_factory.mlp((8, 16, 4)), {"x": x})[0]
    for padding in range(9):
        document = {"id": "i" * padding, "inputs": [
            {"name": "x", "shape": [1, 8], "datatype": "FP32", "parameters": {"binary_data_size": 32}}]}  # fmt: skip
        body, headers = binary_body(document, x.tobytes())
        assert np.allclose(small.infer(body, headers).json["outputs"][0]["data"], expected[0], rtol=1e-6)


def test_no_rows_at_all(small: Server) -> None:
    answer = small.infer({"inputs": [tensor("x", [0, 8], "FP32", [])]})
    assert answer.status == 200
    assert answer.json["outputs"][0] == {"name": "y", "datatype": "FP32", "shape": [0, 4], "data": []}
