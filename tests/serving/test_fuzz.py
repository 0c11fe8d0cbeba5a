"""Thousands of odd requests: every one gets a 2xx or a 4xx with words in time, and the server stays well."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import models_factory
from tests.serving.servers import Answer, Server, read_answer, running, tensor

#: Stated numbers of inputs; together 2,000 a run.
JSON_EXAMPLES, BINARY_EXAMPLES, RAW_EXAMPLES = 800, 800, 400
SETTINGS = {
    "deadline": None, "derandomize": True, "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
}  # fmt: skip
GOOD = {"inputs": [tensor("x", [2, 3], "FP32", [1, 2, 3, 4, 5, 6]), tensor("k", [2], "INT64", [1, 2])]}
NAMES = ["x", "k", "x_out", "k_out", "", "y"]


@pytest.fixture(scope="module")
def target() -> Iterator[Server]:
    """Two inputs of different types."""
    import onnx
    from onnx import TensorProto, helper

    info = helper.make_tensor_value_info
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("x", "k")]
    kinds: dict[str, tuple[int, list[Any]]] = {"x": (TensorProto.FLOAT, ["n", 3]), "k": (TensorProto.INT64, ["m"])}
    inputs = [info(name, *kind) for name, kind in kinds.items()]
    outputs = [info(f"{name}_out", *kind) for name, kind in kinds.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=[helper.make_opsetid("", models_factory.OPSET)]
    )
    model.ir_version = models_factory.IR_VERSION
    onnx.checker.check_model(model)
    with running(model.SerializeToString(), "--header-timeout-s", "1", "--body-timeout-s", "1") as server:
        yield server


class Line:
    """One connection, renewed when the server closes it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: socket.socket | None = None

    def post(self, body: bytes, more: bytes = b"") -> Answer:
        head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: t\r\n" + more
        data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        if self._connection is None:
            self._connection = self._server.connect(timeout_s=5)
        self._connection.sendall(data)
        answer = read_answer(self._connection)
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@pytest.fixture(scope="module")
def line(target: Server) -> Iterator[Line]:
    made = Line(target)
    yield made
    made.close()


def check(answer: Answer) -> None:
    """A good answer, or a refusal with words."""
    assert answer.status == 200 or 400 <= answer.status < 500, answer
    if answer.status != 200:
        assert answer.error


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8), st.sampled_from(["FP32", "INT64", "BOOL", "BYTES", *NAMES]),
)  # fmt: skip
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=12)  # noqa: E501  # one expression
numbers = st.lists(st.one_of(st.integers(-(2**65), 2**65), st.floats(), st.booleans(), st.none()), max_size=8)


@st.composite
def documents(draw: Callable[[Any], Any]) -> Any:
    """The good document with some places changed."""
    document = json.loads(json.dumps(GOOD))
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(["input", "input", "input", "top", "outputs", "more"]))
        if where == "input" and isinstance(document.get("inputs"), list) and document["inputs"]:
            field = draw(st.sampled_from(["name", "shape", "datatype", "data", "parameters"]))
            item = draw(st.sampled_from(document["inputs"]))
            if isinstance(item, dict):
                small = st.lists(st.integers(-1, 7), max_size=4)
                sizes = st.dictionaries(st.just("binary_data_size"), st.integers(-1, 60), max_size=1)
                item[field] = draw(st.one_of(anything, numbers, small, sizes))
        elif where == "top":
            field = draw(st.sampled_from(["inputs", "outputs", "id", "parameters"]))
            document[field] = draw(anything)
        elif where == "outputs":
            outputs = st.fixed_dictionaries({"name": st.sampled_from(NAMES)}, optional={"parameters": anything})
            document["outputs"] = draw(st.lists(outputs, max_size=3))
        elif isinstance(document.get("inputs"), list):
            document["inputs"].append(draw(anything))
    return document


@settings(max_examples=JSON_EXAMPLES, **SETTINGS)  # type: ignore[arg-type]  # a dictionary of settings of several types
@given(document=st.one_of(documents(), anything))
def test_odd_json(line: Line, document: Any) -> None:
    check(line.post(json.dumps(document).encode()))


@settings(max_examples=BINARY_EXAMPLES, **SETTINGS)  # type: ignore[arg-type]  # as above
@given(
    tail=st.binary(max_size=80), size=st.integers(-3, 90), rows=st.integers(0, 6), count=st.integers(0, 12),
    shift=st.integers(-40, 40), second=st.booleans(), out=st.booleans(),
)  # fmt: skip
def test_odd_binary(
    line: Line, tail: bytes, size: int, rows: int, count: int, shift: int, second: bool, out: bool
) -> None:
    x = {"name": "x", "shape": [rows, 3], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    k: dict[str, Any] = {"name": "k", "shape": [count], "datatype": "INT64"}
    k |= {"parameters": {"binary_data_size": 8 * count}} if second else {"data": [0] * count}
    head = json.dumps({"inputs": [x, k], "parameters": {"binary_data_output": out}}).encode()
    answer = line.post(head + tail, b"Inference-Header-Content-Length: %d\r\n" % max(0, len(head) + shift))
    check(answer)
    if shift == 0 and size == 12 * rows and len(tail) == size + (8 * count if second else 0) and out:
        assert answer.status == 200


RAW = (
    b"POST /v2/models/m/infer HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    b"GET /v2/models/m HTTP/1.1\r\nHost: t\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n"
)


@settings(max_examples=RAW_EXAMPLES, **SETTINGS)  # type: ignore[arg-type]  # as above
@given(data=st.data())
def test_odd_bytes_on_the_wire(target: Server, data: st.DataObject) -> None:
    raw = bytearray(RAW)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        until = data.draw(st.integers(at, min(len(raw), at + 12)))
        pieces = st.sampled_from([b"\r\n", b"\r\n\r\n", b":", b"0", b" "])
        raw[at:until] = data.draw(st.one_of(st.binary(max_size=6), pieces))
        if not raw:
            return
    with target.connect(timeout_s=6) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                answer += piece
    for part in answer.split(b"HTTP/1.1 ")[1:]:
        assert part[:1] in b"1245", answer
        assert not part.startswith(b"500"), answer


def test_the_server_is_well_after_all_that(target: Server) -> None:
    answer = target.infer(GOOD)
    assert answer.status == 200
    assert answer.json["outputs"][0]["data"] == [1, 2, 3, 4, 5, 6]
    assert target.metric('nimify_inference_requests_total{code="5') == 0
    assert [entry for entry in target.log() if entry["level"] == "error"] == []
    assert target.metric("nimify_inference_requests_in_flight") == 0
