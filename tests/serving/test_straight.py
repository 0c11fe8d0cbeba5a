"""The straight way and the application's way answer alike; compressed bodies; one run for equal questions."""

from __future__ import annotations

import gzip
import json
import re
import threading
import zlib

import pytest

from tests import models_factory
from tests.serving.servers import Answer, Server, read_answer, running, tensor

ROW = json.dumps({"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]}).encode()
WAYS = {
    "good": ROW,
    "an id": ROW[:-1] + b',"id":"q-7"}',
    "not JSON": b"{",
    "empty object": b"{}",
    "a bool among numbers": ROW.replace(b"0.5", b"true", 1),
    "a string among numbers": ROW.replace(b"0.5", b'"1"', 1),
    "null among numbers": ROW.replace(b"0.5", b"null", 1),
    "too large for FP32": ROW.replace(b"0.5", b"1e39", 1),
    "one number too few": ROW.replace(b"0.5, ", b"", 1),
    "nested": json.dumps({"inputs": [{**tensor("x", [1, 8], "FP32", []), "data": [[0.5] * 8]}]}).encode(),
    "a wrong shape": ROW.replace(b"[1, 8]", b"[1, 9]"),
    "a negative size": ROW.replace(b"[1, 8]", b"[-1, 8]"),
    "no rows": json.dumps({"inputs": [tensor("x", [0, 8], "FP32", [])]}).encode(),
}


def ask(server: Server, body: bytes, *, pieces: int, more: bytes = b"") -> Answer:
    """One piece takes the straight way, several the application's."""
    trace = b"Traceparent: 00-%b-%b-01\r\n" % (b"a" * 32, b"b" * 16)
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: t\r\nX-Request-Id: same\r\n" + trace + more
    data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with server.connect() as connection:
        if pieces == 1:
            connection.sendall(data)
        else:
            # Expect is never straight, and keeps the pieces apart for certain.
            connection.sendall(data[: -len(body)].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
            while b"\r\n\r\n" not in connection.recv(200):
                pass
            connection.sendall(body)
        return read_answer(connection)


@pytest.mark.parametrize("name", WAYS)
def test_both_ways_say_the_same(small: Server, name: str) -> None:
    straight, other = (ask(small, WAYS[name], pieces=pieces) for pieces in (1, 2))
    assert (straight.status, straight.headers, straight.body) == (other.status, other.headers, other.body)
    assert straight.status in (200, 400)
    assert straight.headers["traceparent"].startswith("00-aaaa")


def test_both_ways_count_the_same(small: Server) -> None:
    def counts() -> dict[str, float]:
        page = small.metrics()
        return {name: value for name, value in page.items() if re.search("_total|_count", name) and "nimify" in name}

    changes = []
    for pieces in (1, 2):
        before = counts()
        for body in WAYS.values():
            ask(small, body, pieces=pieces)
        changes.append({name: value - before.get(name, 0) for name, value in counts().items()})
    assert changes[0] == changes[1]
    assert sum(changes[0].values()) > len(WAYS)


def test_hostile_headers_are_refused_on_the_way_that_others_take(small: Server) -> None:
    """The straight way remembers the headers it has seen: a good request before must not open the way."""
    assert ask(small, ROW, pieces=1).status == 200
    assert ask(small, ROW, pieces=1, more=b"Referer: ${jndi:ldap://x}\r\n").status == 400
    assert ask(small, ROW, pieces=1, more=b"Content-Type: multipart/form-data\r\n").status == 415
    assert ask(small, ROW, pieces=1, more=b"Inference-Header-Content-Length: 9999\r\n").status == 400
    assert ask(small, ROW, pieces=1).status == 200


PACKED = {"gzip": gzip.compress(ROW), "deflate": zlib.compress(ROW), "x-gzip": gzip.compress(ROW)}


@pytest.mark.parametrize("name", PACKED)
def test_a_compressed_body_is_read(small: Server, name: str) -> None:
    packed = PACKED[name]
    answer = ask(small, packed, pieces=1, more=b"Content-Encoding: %s\r\n" % name.encode())
    assert answer.status == 200
    assert answer.body == ask(small, ROW, pieces=1).body


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    """600 MB of zeros in 600 kB: neither the answer nor the memory may follow the inflated size."""
    bomb = gzip.compress(b"\0" * 600_000_000, 9)
    with running(models_factory.mlp((8, 16, 4))) as server:
        before = server.metric("process_resident_memory_bytes")
        answer = ask(server, bomb, pieces=1, more=b"Content-Encoding: gzip\r\n")
        assert answer.status == 413
        assert "decompressed" in answer.error
        assert server.metric("process_resident_memory_bytes") - before < 60_000_000
    cut = gzip.compress(ROW)[:-6]
    with running(models_factory.mlp((8, 16, 4))) as server:
        assert ask(server, cut, pieces=1, more=b"Content-Encoding: gzip\r\n").status == 400


def test_equal_questions_at_once_are_run_once() -> None:
    """Sabotage: without the flights in infer.py the model runs once for each of the eight."""
    body = json.dumps({"inputs": [tensor("x", [1, 512], "FP32", [1.0] * 512)]}).encode()
    with running(models_factory.slow(120), "--cache-bytes", "1000000") as server:
        answers: list[Answer] = []
        threads = [threading.Thread(target=lambda: answers.append(ask(server, body, pieces=1))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer.status for answer in answers] == [200] * 8
        assert len({answer.body for answer in answers}) == 1
        assert sorted(answer.headers["x-cache"] for answer in answers) == ["HIT"] * 7 + ["MISS"]
        runs = 'nimify_inference_compute_duration_seconds_count{model="m",version="1"}'
        assert server.metrics()[runs] == 1


def test_a_repeated_header_is_only_taken_for_itself(small: Server) -> None:
    """After a straight answer the same header bytes are not parsed again; anything else is."""
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(ROW)
    good, other = head + ROW, head + ROW.replace(b"0.5", b"1.5")
    with small.connect() as connection:
        answers = []
        for data in (good, good, other, good):
            connection.sendall(data)
            answers.append(read_answer(connection))
        assert [answer.status for answer in answers] == [200] * 4
        assert answers[0].body == answers[1].body == answers[3].body != answers[2].body
        connection.sendall(good + good)  # two in one piece
        assert [read_answer(connection).status for _ in range(2)] == [200] * 2
        connection.sendall(good[:-1])  # one in two pieces
        connection.sendall(good[-1:])
        assert read_answer(connection).status == 200
        connection.sendall(head + b"{" * len(ROW))
        assert read_answer(connection).status == 400
        connection.sendall(good.replace(b"Host: t", b"Host: \x00"))
        assert read_answer(connection).status == 400


def test_the_middle_of_a_header_is_never_taken_for_one(small: Server) -> None:
    """Sabotage: learned without ``before == _IDLE`` (protocol.py), the second piece alone is answered with 200."""
    tail = b"POST nowhere\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(ROW) + ROW
    with small.connect() as connection:
        connection.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nX-Note: ")
        threading.Event().wait(0.05)  # two pieces, as the server sees them
        connection.sendall(tail)
        assert read_answer(connection).status == 200
        connection.sendall(tail)
        assert read_answer(connection).status == 400


def test_the_way_closes_with_the_model() -> None:
    """A connection that knows a header must not reach a model that was unloaded meanwhile."""
    with running(models_factory.mlp((8, 16, 4))) as server:
        head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(ROW)
        with server.connect() as connection:
            for _ in range(2):
                connection.sendall(head + ROW)
                assert read_answer(connection).status == 200
            assert server.ask("POST", "/v2/repository/models/m/unload", admin=True).status in (200, 422)
            connection.sendall(head + ROW)
            assert read_answer(connection).status in (404, 503)
