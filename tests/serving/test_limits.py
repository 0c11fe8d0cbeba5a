"""Overload: queue, deadlines, concurrency, rates; health answers whatever the load."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import pytest

from nimify_tui.serving.limits import RateLimit
from tests import models_factory
from tests.serving.servers import Answer, Server, binary_body, read_answer, running, tensor, until

WIDTH = 256
SLOW_BODY = json.dumps({"inputs": [tensor("x", [1, WIDTH], "FP32", [0.1] * WIDTH)]}).encode()
SMALL_BODY = json.dumps({"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]}).encode()


def request(body: bytes) -> bytes:
    """A POST to the model."""
    return b"POST /v2/models/m/infer HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def slow_model(about_ms: float = 400.0) -> bytes:
    """A model whose run takes about so long here, found by measuring onnxruntime itself."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(models_factory.slow(10, WIDTH), options, providers=["CPUExecutionProvider"])
    x = np.zeros((1, WIDTH), np.float32)
    session.run(None, {"x": x})
    took_s = []
    for _ in range(5):  # the best: a moment in which the machine was busy would make the model too quick
        began = time.perf_counter()
        session.run(None, {"x": x})
        took_s.append(time.perf_counter() - began)
    return models_factory.slow(max(10, int(10 * about_ms / 1000 / min(took_s))), WIDTH)


@pytest.fixture(scope="module")
def slow() -> Iterator[Server]:
    with running(slow_model(), "--max-queue", "2", "--request-timeout-s", "20") as server:
        yield server


def burst(server: Server, count: int) -> list[Answer]:
    """Answers to ``count`` requests sent at once."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(server.connect(timeout_s=30)) for _ in range(count)]
        for connection in many:
            connection.sendall(request(SLOW_BODY))
        return [read_answer(connection) for connection in many]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(slow: Server) -> None:
    answers = burst(slow, 8)
    statuses = sorted(answer.status for answer in answers)
    assert statuses[:3] == [200, 200, 200]
    assert statuses.count(200) + statuses.count(503) == 8
    assert 3 <= statuses.count(200) <= 5
    refused = next(answer for answer in answers if answer.status == 503)
    assert int(refused.headers["retry-after"]) >= 1
    assert "wait already" in refused.error
    assert slow.metric('nimify_requests_rejected_total{reason="queue_full"}') >= 3
    assert slow.metric("nimify_inference_requests_in_flight") == 0
    assert slow.metric("nimify_inference_queue_requests") == 0


def test_health_and_metrics_answer_while_the_model_is_busy(slow: Server) -> None:
    alone_s = []
    for _ in range(3):
        began = time.perf_counter()
        assert slow.infer(json.loads(SLOW_BODY)).status == 200
        alone_s.append(time.perf_counter() - began)
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(slow.connect(timeout_s=30)) for _ in range(3)]
        for connection in busy:
            connection.sendall(request(SLOW_BODY))
        until(lambda: slow.metric("nimify_inference_requests_in_flight") == 3, why="three in flight")
        assert slow.metric("nimify_inference_queue_requests") >= 1
        took_s = []
        for number in range(12):
            began = time.perf_counter()
            path = ("/v2/health/ready", "/v2/health/live", "/metrics")[number % 3]
            assert slow.ask("GET", path, admin=True).status == 200
            assert slow.ask("GET", "/v2/health/ready").status == 200
            took_s.append((time.perf_counter() - began) / 2)
        assert [read_answer(connection).status for connection in busy] == [200, 200, 200]
    assert median(took_s) < median(alone_s) / 2


def test_the_wait_is_in_the_metrics(slow: Server) -> None:
    before = slow.metrics()
    burst(slow, 3)
    after = slow.metrics()

    def grown(name: str) -> float:
        series = f'nimify_inference_{name}{{model="m",version="1"}}'
        return after[series] - before[series]

    assert grown("queue_duration_seconds_count") == grown("compute_duration_seconds_count") == 3
    assert grown("queue_duration_seconds_sum") > 0.5 * grown("compute_duration_seconds_sum")
    total = grown("queue_duration_seconds_sum") + grown("compute_duration_seconds_sum")
    assert total * 0.9 < grown("request_duration_seconds_sum") < total * 1.5 + 0.2


def test_deadlines_of_server_and_client_end_requests() -> None:
    with running(slow_model(400), "--request-timeout-s", "0.15", "--max-queue", "5") as server:
        answers = burst(server, 3)
        # Who was in the model gets a 504, who waited all the time a 503.
        words = {answer.status: answer.error for answer in answers}
        assert set(words) <= {503, 504}
        assert words[504].startswith("the model did not answer within 0.15 s")
        # The run that nobody waits for is ended, so the model is free again at once.
        until(lambda: server.metric("nimify_inference_requests_in_flight") == 0)
        assert server.ask("GET", "/v2/health/ready", admin=True).status == 200
    with running(slow_model(300)) as server:
        document = json.loads(SLOW_BODY)
        began = time.perf_counter()
        answer = server.infer({**document, "parameters": {"timeout": 50_000}})
        assert answer.status == 504
        assert time.perf_counter() - began < 0.29
        assert server.infer({**document, "parameters": {"timeout": 20_000_000}}).status == 200


def test_requests_of_clients_that_went_away_are_not_computed(slow: Server) -> None:
    before = slow.metrics()
    with slow.connect(timeout_s=30) as first:
        first.sendall(request(SLOW_BODY))
        for _ in range(2):
            with slow.connect() as gone:
                gone.sendall(request(SLOW_BODY))
                until(lambda: slow.metric("nimify_inference_queue_requests") >= 1, why="it waits")
            until(lambda: slow.metric("nimify_inference_queue_requests") == 0, why="it left the queue")
        assert read_answer(first).status == 200
    after = slow.metrics()
    name = 'nimify_inference_requests_total{code="499",model="m",version="1"}'
    assert after[name] - before.get(name, 0) == 2


def test_concurrency_is_bounded_while_bodies_come() -> None:
    with running(models_factory.mlp((8, 16, 4)), "--max-concurrency", "3") as server:
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                half = stack.enter_context(server.connect())
                half.sendall(request(SMALL_BODY)[:-1])
            until(lambda: server.metric("nimify_inference_requests_in_flight") == 3)
            refused = server.infer(SMALL_BODY)
            assert refused.status == 503
            assert "retry-after" in refused.headers
        until(lambda: server.metric("nimify_inference_requests_in_flight") == 0)
        assert server.infer(SMALL_BODY).status == 200


def test_a_client_above_its_rate_gets_429_and_others_do_not() -> None:
    with running(models_factory.mlp((8, 16, 4)), "--rate-limit-rps", "5") as server:
        answers = [server.infer(SMALL_BODY) for _ in range(30)]
        statuses = [answer.status for answer in answers]
        assert statuses[:10] == [200] * 10
        assert statuses.count(429) >= 10
        refused = next(answer for answer in answers if answer.status == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert "5 requests a second" in refused.error
        with socket.create_connection(("127.0.0.1", server.port), 5, ("127.0.0.9", 0)) as other:
            other.sendall(request(SMALL_BODY))
            assert read_answer(other).status == 200
        assert server.ask("GET", "/v2/health/ready").status == 200
        metrics = server.metrics()
        limited = statuses.count(429)
        assert metrics['nimify_requests_rejected_total{reason="limited"}'] == limited
        assert metrics['nimify_security_events_total{action="refused",category="limited"}'] == limited
        lines = until(
            lambda: sum(line["count"] for line in server.events("security")) == limited and server.events("security"),
            why="every refusal is counted in the log",
        )
        assert len(lines) <= 8


def test_a_large_batch_of_a_small_model_does_not_block_the_loop() -> None:
    """A run that would be long goes to the worker, although the model is tiny."""
    with running(models_factory.mlp((64, 256, 256, 10)), "--max-body-bytes", "100000000") as server:
        rows = 60_000
        document = {"inputs": [{"name": "x", "shape": [rows, 64], "datatype": "FP32",
                                "parameters": {"binary_data_size": rows * 256}}],
                    "parameters": {"binary_data_output": True}}  # fmt: skip
        body, headers = binary_body(document, np.ones((rows, 64), np.float32).tobytes())
        assert server.infer(body, headers).status == 200
        sums = server.metrics()
        assert sums['nimify_inference_queue_duration_seconds_sum{model="m",version="1"}'] > 0
        assert sums['nimify_inference_batch_size_sum{model="m",version="1"}'] == rows


def test_rate_limit_by_the_clock() -> None:
    now = [100.0]
    limit = RateLimit(2.0, clients=2, mono_s=lambda: now[0])
    assert [limit.wait_s("a") for _ in range(4)] == [0.0] * 4
    assert limit.wait_s("a") == pytest.approx(0.5)
    now[0] += 0.5
    assert limit.wait_s("a") == 0.0
    assert limit.wait_s("a") > 0
    assert limit.wait_s("b") == limit.wait_s("c") == 0.0  # "a" is forgotten: memory is bounded
    assert limit.wait_s("a") == 0.0
    assert RateLimit(0.0).wait_s("a") == 0.0


def test_rate_limit_takes_an_ipv6_network_as_one_client() -> None:
    limit = RateLimit(1.0, mono_s=lambda: 0.0)
    assert [limit.wait_s(f"2001:db8::{number}") for number in range(2)] == [0.0, 0.0]
    assert limit.wait_s("2001:db8::77") > 0
    assert limit.wait_s("2001:db8:0:1::1%eth0") == 0.0
    assert [limit.wait_s("::ffff:10.0.0.1"), limit.wait_s("10.0.0.1"), limit.wait_s("::ffff:10.0.0.2")] == [0.0] * 3
    assert limit.wait_s("::ffff:10.0.0.1") > 0
