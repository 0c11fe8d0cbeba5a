"""Whatever the load, probes are answered: more connections than descriptors, and large bodies that come all at once."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path

import pytest

from tests import models_factory
from tests.serving.conftest import SMALL
from tests.serving.servers import Server, read_answer, running, tensor, until
from tests.serving.test_limits import SMALL_BODY, request

#: The process may have 300 descriptors, of which it leaves 172 to the main listener.
FEW = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))"
#: Sabotage: no connection is turned away.
ENDLESS = f"{FEW}\nfrom nimify_tui.serving import runtime; runtime.max_connections = lambda: 10**6"


def crowd(server: Server, stack: contextlib.ExitStack, count: int) -> list[socket.socket]:
    """Connections that say nothing."""
    return [stack.enter_context(server.connect()) for _ in range(count)]


def probe(server: Server) -> int:
    """The status; 0 when nobody answers."""
    try:
        return server.ask("GET", "/v2/health/live", admin=True).status
    except (OSError, AssertionError):
        return 0


def test_more_connections_than_descriptors_keep_no_probe_out() -> None:
    with running(SMALL, "--keep-alive-s", "30", code=FEW) as server, contextlib.ExitStack() as stack:
        first = crowd(server, stack, 172)
        until(lambda: len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) > 172, why="all are accepted")
        refused = read_answer(crowd(server, stack, 1)[0])
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.json["category"] == "rate_limit"
        assert "172 connections are open" in refused.error
        crowd(server, stack, 200)
        assert [probe(server) for _ in range(20)] == [200] * 20
        first[0].sendall(request(SMALL_BODY))
        assert read_answer(first[0]).status == 200
        page = server.ask("GET", "/health", admin=True).json
        assert page["limits"]["max_connections"] == 172
        assert "172 connections are open" in page["last_errors"][-1]["error"]
        stack.close()
        until(lambda: server.infer(SMALL_BODY).status == 200, why="there is room again")


def test_sabotage_without_that_bound_the_probes_stay_outside() -> None:
    with running(SMALL, "--keep-alive-s", "30", code=ENDLESS) as server, contextlib.ExitStack() as stack:
        crowd(server, stack, 373)
        assert until(lambda: probe(server) == 0, why="a probe that is not answered")


def test_a_thousand_clients_need_no_setting_of_the_shell() -> None:
    """Sabotage seen failing: a start without `raise_descriptors` turns them away."""
    low = "import resource; _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
    low += "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))"
    with running(SMALL, "--keep-alive-s", "30", code=low) as server, contextlib.ExitStack() as stack:
        connections = crowd(server, stack, 400)
        for connection in connections:
            connection.sendall(request(SMALL_BODY))
        assert {read_answer(connection).status for connection in connections} == {200}


#: Rows of 64 numbers: 4 MB of JSON.
ROWS = 8000
LARGE = json.dumps({"inputs": [tensor("x", [ROWS, 64], "FP32", [0.125] * (64 * ROWS))]}).encode()
CLIENTS = 16
#: A probe may wait for a few of them, never for most.
HELD_UP = 4 / CLIENTS
#: Sabotage: large bodies are decoded as soon as they are there.
AT_ONCE = """
import contextlib
from nimify_tui.serving.turns import Turns
@contextlib.asynccontextmanager
async def one(self):
    yield
Turns.one = one
"""


def held_up(code: str = "") -> float:
    """The longest probe, of the time that large bodies need which all become whole at once."""
    with running(models_factory.mlp((64, 4)), code=code) as server, contextlib.ExitStack() as stack:
        many = [stack.enter_context(server.connect(timeout_s=60)) for _ in range(CLIENTS)]
        for connection in many:
            connection.sendall(request(LARGE)[:-1])
        until(lambda: server.metric("nimify_inference_requests_in_flight") == CLIENTS)
        time_before = time.perf_counter()
        for connection in many:
            connection.sendall(LARGE[-1:])
        probes = []
        while server_busy(many[-1]):
            began = time.perf_counter()
            assert probe(server) == 200
            probes.append(time.perf_counter() - began)
        assert [read_answer(connection).status for connection in many] == [200] * CLIENTS
        return max(probes) / (time.perf_counter() - time_before)


def server_busy(connection: socket.socket) -> bool:
    """Whether nothing was answered on it yet."""
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        connection.settimeout(60)


def test_large_bodies_that_become_whole_at_once_hold_up_a_probe_for_one_of_them() -> None:
    assert held_up() < HELD_UP


def test_sabotage_without_turns_a_probe_waits_for_all_of_them() -> None:
    assert held_up(AT_ONCE) > HELD_UP


@pytest.mark.parametrize(
    ("raw", "status", "category"),
    [
        (b"GET / HTTP/9.9\r\n\r\n", 400, "validation"),
        (b"GET /v2 HTTP/1.1\r\nX: " + b"a" * 40_000, 431, "validation"),
        (b"POST /v2 HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413, "validation"),
        (b"GET /v2 HTTP/1.1\r\nHost: t\r\n", 408, "timeout"),
    ],
)
def test_what_a_connection_refuses_has_its_category_and_is_on_the_page(
    raw: bytes, status: int, category: str
) -> None:
    with running(SMALL, "--header-timeout-s", "0.3") as server, server.connect() as connection:
        connection.sendall(raw)
        answer = read_answer(connection)
        assert (answer.status, answer.json["category"]) == (status, category)
        last = server.ask("GET", "/health", admin=True).json["last_errors"][-1]
        assert (last["status"], last["category"], last["error"]) == (status, category, answer.error)


def test_large_bodies_are_bounded_by_their_bytes_not_only_by_their_number() -> None:
    """Sabotage seen failing: a `Room` that always has room takes the third."""
    model, large = models_factory.mlp((64, 4)), request(LARGE)
    flags = ["--max-held-bytes", str(2 * len(LARGE) + 100_000)]
    with running(model, *flags) as server, contextlib.ExitStack() as stack:
        halves = [stack.enter_context(server.connect(timeout_s=60)) for _ in range(2)]
        for connection in halves:
            connection.sendall(large[:-1])
        held = 2 * len(LARGE)
        until(lambda: server.ask("GET", "/health", admin=True).json["requests"]["held_bytes"] == held)
        refused = server.infer(LARGE)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert f"{held} bytes are here" in refused.error
        small = json.dumps({"inputs": [tensor("x", [1, 64], "FP32", [0.5] * 64)]}).encode()
        assert server.infer(small).status == 200
        for connection in halves:
            connection.sendall(LARGE[-1:])
            assert read_answer(connection).status == 200
        until(lambda: server.ask("GET", "/health", admin=True).json["requests"]["held_bytes"] == 0)
        assert server.infer(LARGE).status == 200
