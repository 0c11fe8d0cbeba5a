"""There is no room: said at once, at little cost, alike on both ways, and never instead of an answer that is there."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import models_factory
from tests.serving.servers import Answer, Server, read_answer, running, tensor, until
from tests.serving.test_straight import ask

#: A run of a request (those of the start have no options) waits until the file is there.
HELD = """
import os, threading
from nimify_tui.serving.model import Model
before, pause = Model.run, threading.Event()
def run(self, inputs, wanted, options=None):
    while options is not None and not os.path.exists({go!r}):
        pause.wait(0.005)
    return before(self, inputs, wanted, options)
Model.run = run
"""


def body(value: float) -> bytes:
    """One row for the model."""
    return json.dumps({"inputs": [tensor("x", [1, 256], "FP32", [value] * 256)]}).encode()


@contextmanager
def full(tmp_path: Path, *arguments: str, primed: bytes = b"") -> Iterator[Server]:
    """A server whose only place is taken; ``primed`` was answered before."""
    go = tmp_path / "go"
    code = HELD.format(go=str(go))
    flags = ["--max-queue", "0", "--max-batch", "1", "--sessions", "1", *arguments]
    with running(models_factory.slow(40, 256), *flags, code=code) as server:
        if primed:
            go.touch()
            assert server.infer(primed).status == 200
            go.unlink()
        first: list[Answer] = []
        thread = threading.Thread(target=lambda: first.append(server.infer(body(9.0))))
        thread.start()
        until(lambda: server.metric("nimify_inference_requests_in_flight") == 1)
        try:
            yield server
        finally:
            go.touch()
            thread.join(30)
        assert [answer.status for answer in first] == [200]


def counts(server: Server) -> dict[str, float]:
    """What of the metrics only grows."""
    return {
        name: value
        for name, value in server.metrics().items()
        if re.search("_total|_count", name) and "nimify" in name
    }


def test_both_ways_refuse_and_count_the_same(tmp_path: Path) -> None:
    with full(tmp_path) as server:
        seen, grown = [], []
        for pieces in (1, 2, 1):
            before = counts(server)
            answer = ask(server, body(1.0), pieces=pieces)
            seen.append((answer.status, answer.headers, answer.body))
            grown.append({name: value - before.get(name, 0) for name, value in counts(server).items()})
        assert seen[0] == seen[1] == seen[2]
        assert grown[0] == grown[1] == grown[2]
        status, headers, text = seen[0]
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(text)["category"] == "rate_limit"
        assert grown[0]['nimify_requests_rejected_total{reason="queue_full"}'] == 1


def test_a_refused_connection_is_kept_and_answered_when_there_is_room(tmp_path: Path) -> None:
    raw = body(1.0)
    data = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw
    with full(tmp_path) as server, server.connect(timeout_s=30) as connection:
        for _ in range(3):  # from the second on, the header is known by heart
            connection.sendall(data)
            refused = read_answer(connection)
            assert (refused.status, refused.headers.get("connection")) == (503, None)
        (tmp_path / "go").touch()
        until(lambda: server.metric("nimify_inference_requests_in_flight") == 0)
        for _ in range(3):
            connection.sendall(data)
            assert read_answer(connection).status == 200


@pytest.mark.parametrize("more", [b"Referer: ${jndi:ldap://x}\r\n", b"Inference-Header-Content-Length: x\r\n"])
def test_a_full_queue_hides_no_mistake_of_the_header(tmp_path: Path, more: bytes) -> None:
    with full(tmp_path) as server:
        assert ask(server, body(1.0), pieces=1, more=more).status == 400


def test_a_client_above_its_rate_is_told_that_although_there_is_no_room(tmp_path: Path) -> None:
    with full(tmp_path, "--rate-limit-rps", "0.05") as server:
        assert [ask(server, body(1.0), pieces=1).status for _ in range(3)] == [429] * 3


@pytest.mark.parametrize("pieces", [1, 2])
def test_what_the_cache_has_is_answered_however_long_the_queue(tmp_path: Path, pieces: int) -> None:
    """Sabotage seen failing: asking the scheduler before the cache refuses the known question too."""
    with full(tmp_path, "--cache-bytes", "100000", primed=body(2.0)) as server:
        known = ask(server, body(2.0), pieces=pieces)
        assert (known.status, known.headers["x-cache"]) == (200, "HIT")
        assert ask(server, body(3.0), pieces=pieces).status == 503
