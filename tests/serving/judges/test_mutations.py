"""20,000 mutated requests on keep-alive connections: an answer in time, never a 5xx, and what is accepted is right.

The model gives back what it gets, so every 200 can be judged: its outputs must be the inputs of the mutated body as
Python's own json reads them. The mutations come from a seed; a failure names its number.
"""

from __future__ import annotations

import copy
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from tests import models_factory
from tests.serving.servers import Server, binary_body, read_answer, running, tensor

JSON_CASES, BINARY_CASES = 12_000, 8_000
NUMPY = {"x": np.float32, "k": np.int64, "b": np.bool_}
GOOD = [
    tensor("x", [3], "FP32", [1.5, -2, 3e3]), tensor("k", [3], "INT64", [1, -2, 2**62]),
    tensor("b", [3], "BOOL", [True, False, True]), tensor("s", [3], "BYTES", ["a", "zwölf", ""]),
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64, 10**40, 0.5, 1e39, 1e-46, -0.0, "",
    "x", "k", "FP32", "INT64", "BOOL", "BYTES", "fp32", "\ud83d\ude00", "\0", [], [0], [3], [1, 3], [[1, 2, 3]],
    [[1], [2], [3]], [[1, 2], [3]], [None], {},
    {"binary_data_size": 0}, {"binary_data_size": 12}, {"binary_data_size": -1},
    {"binary_data": True}, {"shared_memory_region": "r"}, {"timeout": 0}, {"timeout": -1}, {"classification": 3},
]  # fmt: skip
TOKENS = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"null", b"1e999", b"-", b"\xff",
          b"\0", b"NaN", b"0" * 400, b"[" * 300, b" "]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """An identity of four types."""
    kinds = {"x": TensorProto.FLOAT, "k": TensorProto.INT64, "b": TensorProto.BOOL, "s": TensorProto.STRING}
    with running(models_factory.identity(**kinds)) as made:
        yield made


def somewhere(rng: random.Random, node: Any) -> tuple[Any, Any]:
    """A random place in a document: its holder and its key."""
    places: list[tuple[Any, Any]] = []
    todo = [node]
    while todo:
        each = todo.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        for key in keys:
            places.append((each, key))
            todo.append(each[key])
    return rng.choice(places)


def fresh(rng: random.Random) -> Any:
    """One of the values, for this document alone."""
    return copy.deepcopy(rng.choice(VALUES))


def mutate(rng: random.Random, document: Any) -> None:
    """Change one place: another value, gone, twice, or one that nobody knows."""
    holder, key = somewhere(rng, document)
    what = rng.randrange(6)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
    elif what == 2 and isinstance(holder, dict):
        holder[rng.choice(["id", "parameters", "outputs", "data", "name", "zz"])] = fresh(rng)
    elif what == 3:
        document["outputs"] = [{"name": f"{rng.choice('xkbsq')}_out"} for _ in range(rng.randrange(3))]
    else:
        holder[key] = fresh(rng)


def scratch(rng: random.Random, body: bytes) -> bytes:
    """Change a few bytes."""
    raw = bytearray(body)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(raw) + 1)
        raw[at : at + rng.randrange(4)] = rng.choice(TOKENS)
    return bytes(raw)


def json_case(number: int) -> tuple[bytes, dict[str, str]]:
    """One JSON body: a changed document, changed bytes, or both."""
    rng = random.Random(number)
    document = json.loads(json.dumps({"inputs": GOOD}))
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        if document:
            mutate(rng, document)
    body = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return (scratch(rng, body) if rng.random() < 0.3 else body), {}


def binary_case(number: int) -> tuple[bytes, dict[str, str]]:
    """One body with some inputs in bytes: lengths, sizes and bytes changed."""
    rng = random.Random(1_000_000 + number)
    inputs, raw = json.loads(json.dumps(GOOD)), []
    for item in inputs:
        if rng.random() < 0.6:
            data, name = item.pop("data"), item["name"]
            packed = (
                b"".join(struct.pack("<I", len(each.encode())) + each.encode() for each in data)
                if name == "s"
                else np.array(data, NUMPY[name]).tobytes()
            )
            if rng.random() < 0.15:
                packed = scratch(rng, packed)
            size = len(packed)
            if rng.random() < 0.1:
                size = rng.choice([0, 1, -1, 2**40, size - 1, size + 1])
            item["parameters"] = {"binary_data_size": size}
            raw.append(packed)
    document: dict[str, Any] = {"inputs": inputs}
    if rng.random() < 0.3:
        document["parameters"] = {"binary_data_output": rng.random() < 0.5}
    if rng.random() < 0.2:
        mutate(rng, document)
    body, headers = binary_body(document, *raw)
    if rng.random() < 0.1:
        length = len(body) - sum(map(len, raw)) + rng.choice([-1, 1, -9, 9, 10**6])
        headers["Inference-Header-Content-Length"] = str(length)
    return body, headers


def ask_all(
    server: Server, cases: Iterator[tuple[bytes, dict[str, str]]]
) -> Iterator[tuple[int, bytes, Any]]:
    """(number, body, answer), on one connection until the server closes it."""
    connection: socket.socket | None = None
    for number, (body, headers) in enumerate(cases):
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        if connection is None:
            connection = server.connect(timeout_s=5)
        connection.sendall(
            b"POST /v2/models/m/infer HTTP/1.1\r\nHost: t\r\n"
            + head
            + b"Content-Length: %d\r\n\r\n" % len(body)
            + body
        )
        answer = read_answer(connection)
        if answer.headers.get("connection") == "close":
            connection.close()
            connection = None
        yield number, body, answer
    if connection is not None:
        connection.close()


def flat(data: Any) -> list[Any]:
    """Nested rows as one list."""
    return [leaf for each in data for leaf in flat(each)] if isinstance(data, list) else [data]


def right(body: bytes, answer: Any) -> bool:
    """Whether an accepted body was given back."""
    given = {each["name"]: each for each in json.loads(body)["inputs"]}
    for output in answer.json["outputs"]:
        name = output["name"].removesuffix("_out")
        sent = flat(given[name]["data"])
        if name == "s":
            if output["data"] != sent:
                return False
        elif not np.array_equal(np.array(output["data"], NUMPY[name]), np.array(sent, NUMPY[name])):
            return False
    return len(given) == 4


def test_mutated_json(server: Server) -> None:
    seen: Counter[int] = Counter()
    for number, body, answer in ask_all(server, map(json_case, range(JSON_CASES))):
        seen[answer.status] += 1
        assert answer.status == 200 or 400 <= answer.status < 500, (number, body, answer)
        assert right(body, answer) if answer.status == 200 else answer.error, (number, body, answer)
    assert sum(seen.values()) == JSON_CASES
    assert min(seen[200], seen[400]) > JSON_CASES // 10, seen


def test_mutated_binary(server: Server) -> None:
    seen: Counter[int] = Counter()
    for number, body, answer in ask_all(server, map(binary_case, range(BINARY_CASES))):
        seen[answer.status] += 1
        assert answer.status == 200 or 400 <= answer.status < 500, (number, body, answer)
        assert answer.status == 200 or answer.error, (number, body, answer)
    assert sum(seen.values()) == BINARY_CASES
    assert min(seen[200], seen[400]) > BINARY_CASES // 10, seen


def test_the_server_is_well_after_all_that(server: Server) -> None:
    answer = server.infer({"inputs": GOOD})
    assert answer.status == 200
    assert right(json.dumps({"inputs": GOOD}).encode(), answer)
    assert server.metric("nimify_inference_requests_in_flight") == 0
    assert server.metric('nimify_inference_requests_total{code="5') == 0
    assert [entry for entry in server.log() if entry["level"] == "error"] == []
