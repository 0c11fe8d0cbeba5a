"""Start, failure to start, the control socket, and the end of one process."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from tests import models_factory
from tests.serving.conftest import SMALL
from tests.serving.servers import (
    HOST,
    Server,
    launch,
    listener,
    read_answer,
    running,
    tensor,
    until,
    wait_ready,
)
from tests.serving.test_limits import SLOW_BODY, request, slow_model
from tests.support import freeze, run_python

BODY = json.dumps({"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]}).encode()
GET_READY = b"GET /v2/health/ready HTTP/1.1\r\nHost: t\r\n\r\n"


def rss_bytes(pid: int) -> int:
    """Resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_1_mb_model_is_ready_soon_in_little_memory() -> None:
    """In CPU seconds, which other work on the machine hardly changes; the benchmark has the time by the clock."""
    model = models_factory.mlp((64, 500, 400, 100, 10))
    assert 900_000 < len(model) < 1_300_000
    with running(model) as server:
        assert rss_bytes(server.process.pid) <= 90e6
        fields = Path(f"/proc/{server.process.pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
        assert (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") <= 1.5


def test_modules_that_a_runtime_does_not_load() -> None:
    code = (
        "import sys, nimify_tui.serving.main, nimify_tui.serving.runtime, onnxruntime\n"
        "print([name for name in ('textual', 'rich', 'onnx', 'pandas', 'msgspec') if name in sys.modules])"
    )
    assert run_python("-c", code).stdout.strip() == "[]"


BAD_MODELS = {
    "text": (b"hello", "is not an ONNX file"),
    "empty": (b"", "cannot be loaded"),
    "cut off": (models_factory.mlp()[:5000], "is not an ONNX file"),
    "a sequence": (models_factory.not_a_tensor(), "the protocol cannot carry"),
}


@pytest.mark.parametrize("what", BAD_MODELS)
def test_a_bad_model_ends_with_1_and_last_words_in_plain_text(tmp_path: Path, what: str) -> None:
    data, words = BAD_MODELS[what]
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    server = launch(path, "--port", "0", "--admin-port", "0")
    assert server.process.wait(20) == 1
    last = server.log()[-1]
    assert last["event"] == "failed"
    assert last["level"] == "error"
    assert words in last["msg"]
    assert str(tmp_path) not in last["msg"]
    assert len(last["msg"]) < 500


def test_other_failures_to_start(tmp_path: Path) -> None:
    missing = launch(tmp_path / "none.onnx", "--port", "0")
    path = tmp_path / "m.onnx"
    path.write_bytes(SMALL)
    with listener() as taken:
        busy = launch(path, "--port", str(taken.getsockname()[1]))
        assert busy.process.wait(20) == 1
        assert "Address already in use" in busy.log()[-1]["msg"]
    assert missing.process.wait(20) == 1
    assert "is not a file" in missing.log()[-1]["msg"]
    with socket.socket() as plain:
        odd = launch(path, "--listen-fd", str(plain.fileno()), pass_fds=(plain.fileno(),))
        assert odd.process.wait(20) == 1
        assert "no listening" in odd.log()[-1]["msg"]


@pytest.mark.parametrize(
    "arguments", [["--port", "70000"], ["--name", "a b"], ["--max-body-bytes", "x"], ["--nothing"], ["--threads", "0"]]
)
def test_wrong_usage_is_64(arguments: list[str]) -> None:
    done = run_python("-m", "nimify_tui.serving", "m.onnx", *arguments)
    assert done.returncode == 64
    assert done.stderr
    assert run_python("-m", "nimify_tui.serving", "--help").returncode == 0


def test_not_ready_until_the_model_ran_once(tmp_path: Path) -> None:
    """The admin listener says so from the first moment; the main one leaves clients waiting for nobody."""
    path = tmp_path / "slow.onnx"
    path.write_bytes(slow_model(700))
    with listener() as main, listener() as admin:
        fds = (main.fileno(), admin.fileno())
        server = launch(path, "--listen-fd", str(fds[0]), "--admin-fd", str(fds[1]), pass_fds=fds)
        try:
            port = admin.getsockname()[1]
            early = Server(server.process, server.log_path, "m", port, port)
            answer = until(lambda: early.ask("GET", "/v2/health/ready"), why="the admin listener answers")
            assert answer.status == 503
            assert answer.json["reason"] == "the model is still loading"
            assert early.ask("GET", "/v2/health/live").status == 200
            assert "nimify_build_info" in early.ask("GET", "/metrics").body.decode()
            assert server.events("ready") == []
            wait_ready(server)
            assert server.ask("GET", "/v2/health/ready", admin=True).status == 200
            assert server.ready["run_s"] > 0.2
        finally:
            server.process.kill()
            server.process.wait(10)


def test_asked_to_end_while_loading(tmp_path: Path) -> None:
    path = tmp_path / "slow.onnx"
    path.write_bytes(slow_model(1500))
    with listener() as admin:
        fd = admin.fileno()
        server = launch(path, "--port", "0", "--admin-fd", str(fd), pass_fds=(fd,))
        early = Server(server.process, server.log_path, "m", admin.getsockname()[1], admin.getsockname()[1])
        assert early.ask("GET", "/v2/health/ready").status == 503
        began = time.monotonic()
        assert server.end() == 0
        assert time.monotonic() - began < 2.0
        assert server.log()[-1]["event"] == "ended"


def test_the_drain_answers_what_runs_and_waits_and_what_comes_on_open_connections() -> None:
    with running(slow_model(300), "--keep-alive-s", "1") as server, server.connect() as idle:
        idle.sendall(GET_READY)
        assert "connection" not in read_answer(idle).headers
        busy = [server.connect(timeout_s=20) for _ in range(3)]
        for connection in busy:
            connection.sendall(request(SLOW_BODY))
        until(lambda: server.metric("nimify_inference_requests_in_flight") == 3)
        server.process.send_signal(signal.SIGTERM)
        refused = until(lambda: (found := server.ask("GET", "/v2/health/ready", admin=True)).status == 503 and found)
        assert "draining" in refused.json["reason"]
        assert server.ask("GET", "/metrics", admin=True).status == 200
        idle.sendall(request(SLOW_BODY))  # a client that does not know yet
        late = read_answer(idle)
        assert late.status == 200
        assert late.headers["connection"] == "close"
        for connection in busy:
            answer = read_answer(connection)
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
            connection.close()
        assert server.process.wait(10) == 0
        ended = server.log()[-1]
        assert ended["event"] == "ended"
        assert ended["cut_requests"] == 0


def test_an_idle_connection_is_closed_by_keep_alive_and_not_by_the_drain() -> None:
    with running(SMALL, "--keep-alive-s", "1.5") as server, server.connect() as idle:
        idle.sendall(GET_READY)
        read_answer(idle)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert idle.recv(10) == b""
        assert 1.2 < time.monotonic() - began < 4.0
        assert server.process.wait(5) == 0


def test_the_drain_is_bounded_and_says_what_it_cut() -> None:
    with running(slow_model(1500), "--drain-timeout-s", "0.4") as server:
        with server.connect() as running_one, server.connect() as waiting, server.connect() as half:
            for connection in (running_one, waiting):
                connection.sendall(request(SLOW_BODY))
            half.sendall(request(SLOW_BODY)[:-1])
            until(lambda: server.metric("nimify_inference_requests_in_flight") == 3)
            began = time.monotonic()
            assert server.end() == 0
            assert time.monotonic() - began < 1.4
            for connection in (running_one, waiting):
                answer = read_answer(connection)
                assert answer.status == 503
                assert "went away" in answer.error
        ended = server.log()[-1]
        assert ended["cut_requests"] == 3
        assert ended["level"] == "warning"


def test_a_second_signal_ends_idle_connections_at_once() -> None:
    with running(SMALL, "--keep-alive-s", "60", "--drain-timeout-s", "60") as server, server.connect() as idle:
        idle.sendall(GET_READY)
        read_answer(idle)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.events("draining"))
        server.process.send_signal(signal.SIGINT)
        assert idle.recv(10) == b""
        assert server.process.wait(3) == 0


def test_connections_that_wait_in_the_backlog_are_answered_by_a_sole_owner() -> None:
    """Stop the process, connect, ask it to end, let it go on: all of that lies in the backlog when it drains."""
    with running(SMALL) as server:
        freeze(server.process.pid)
        waiting = [server.connect() for _ in range(20)]
        for connection in waiting:
            connection.sendall(request(BODY))
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        for connection in waiting:
            assert read_answer(connection).status == 200
            connection.close()
        assert server.process.wait(10) == 0


def ask_control(path: Path, line: bytes) -> tuple[bytes, list[int]]:
    """One question to a control socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(line)
        data, fds, _, _ = socket.recv_fds(client, 64, 4)
        return data, list(fds)


def test_the_control_socket_hands_out_the_listeners(tmp_path: Path) -> None:
    control = tmp_path / "c.sock"
    with running(SMALL, "--control-socket", str(control), "--keep-alive-s", "1") as server:
        assert stat.S_IMODE(control.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(control))  # one that says nothing holds nobody up for long
            data, fds = ask_control(control, b"listener\n")
        assert data == b"ok\n"
        handed = [socket.socket(fileno=fd) for fd in fds]
        assert [each.getsockname()[1] for each in handed] == [server.port, server.admin_port]
        assert ask_control(control, b"nonsense\n") == (b"unknown\n", [])
        with server.connect() as idle:
            idle.sendall(GET_READY)
            read_answer(idle)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: server.events("draining"))
            assert ask_control(control, b"listener\n") == (b"draining\n", [])
        assert server.process.wait(10) == 0
        assert not control.exists()
        # Whoever got the listener keeps the service's address: a new process answers on it.
        fd = handed[0].fileno()
        path = tmp_path / "m.onnx"
        path.write_bytes(SMALL)
        heir = wait_ready(launch(path, "--listen-fd", str(fd), pass_fds=(fd,)))
        try:
            assert heir.port == server.port
            with socket.create_connection((HOST, server.port), 5) as connection:
                connection.sendall(request(BODY))
                assert read_answer(connection).status == 200
        finally:
            heir.process.kill()
            heir.process.wait(10)
            for each in handed:
                each.close()
