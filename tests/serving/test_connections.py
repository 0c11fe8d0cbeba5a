"""What no client library would send: smuggling, slow and broken requests, pipelining, oversized everything."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests import models_factory
from tests.serving.servers import HOST, Server, read_answer, running, tensor, until

BODY = json.dumps({"inputs": [tensor("x", [1, 8], "FP32", [0.5] * 8)]}).encode()
PATH = b"/v2/models/m/infer"
HEAD = b"POST " + PATH + b" HTTP/1.1\r\nHost: t\r\n"
GOOD = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """Short deadlines and a small body limit."""
    arguments = ["--header-timeout-s", "0.6", "--body-timeout-s", "0.6", "--keep-alive-s", "0.8"]
    with running(models_factory.mlp((8, 16, 4)), *arguments, "--max-body-bytes", "100000") as server:
        yield server


def everything(connection: socket.socket) -> bytes:
    """All until the server closes; a reset is an end too."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            data += piece
    return data


def well(server: Server) -> None:
    """It still answers."""
    with server.connect() as connection:
        connection.sendall(GOOD)
        assert read_answer(connection).status == 200


SMUGGLING = {
    "both lengths": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    "both, chunked first": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "a list of lengths": HEAD + b"Content-Length: 4, 4\r\n\r\nabcd",
    "signed": HEAD + b"Content-Length: +4\r\n\r\nabcd",
    "negative": HEAD + b"Content-Length: -1\r\n\r\n",
    "hexadecimal": HEAD + b"Content-Length: 0x4\r\n\r\nabcd",
    "overflow": HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 4\r\n\r\nabcd",
    "folded": HEAD + b"X-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "chunk overflow": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
    "chunk without an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n",
    "a bare carriage return": HEAD + b"X-A: a\rb\r\n\r\n",
    "null in a header": HEAD + b"X-A: a\0b\r\n\r\n",
    "null in the path": b"GET /v2\0 HTTP/1.1\r\nHost: t\r\n\r\n",
    "no version": b"GET /v2\r\n\r\n",
    "future version": b"GET /v2 HTTP/7.3\r\nHost: t\r\n\r\n",
    "version 2": b"GET /v2 HTTP/2.0\r\nHost: t\r\n\r\n",
    "no method": b"BREW /v2 HTTP/1.1\r\nHost: t\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(20),
    "not ASCII": b"GET /v2/\xff\xfe HTTP/1.1\r\nHost: t\r\n\r\n",
    "garbage": bytes(range(1, 256)),
}


@pytest.mark.parametrize("what", SMUGGLING)
def test_ambiguous_or_broken_requests_get_one_400_and_a_close(strict: Server, what: str) -> None:
    with strict.connect() as connection:
        connection.sendall(SMUGGLING[what])
        data = everything(connection)
    assert data.startswith(b"HTTP/1.1 400 "), data
    assert data.count(b"HTTP/1.1 ") == 1, data
    assert b"connection: close" in data
    assert json.loads(data.partition(b"\r\n\r\n")[2])["error"]
    well(strict)


def test_pipelined_requests_are_answered_in_order(small: Server) -> None:
    with small.connect() as connection:
        gets = b"".join(b"GET %s HTTP/1.1\r\nHost: t\r\n\r\n" % path for path in (b"/v2/health/live", b"/x"))
        connection.sendall(GOOD + gets + GOOD.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n"))
        data = everything(connection)
    statuses = [part[:3] for part in data.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"404", b"200"]


def test_garbage_after_a_good_request_never_becomes_its_answer(small: Server) -> None:
    with small.connect() as connection:
        connection.sendall(GOOD + b"\x00\x01garbage\r\n\r\n")
        data = everything(connection)
    statuses = [part[:3] for part in data.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"400"]
    assert b"connection: close" in data.rpartition(b"HTTP/1.1 400")[2]


def test_a_request_in_single_bytes_is_answered(small: Server) -> None:
    with small.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(GOOD)):
            connection.sendall(GOOD[index : index + 1])
        assert read_answer(connection).status == 200


def test_chunked_bodies_and_expect(small: Server) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(BODY[at : at + 10]), BODY[at : at + 10]) for at in range(0, len(BODY), 10))
    with small.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert read_answer(connection).status == 200
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert read_answer(connection).status == 200


def test_a_body_without_length_is_a_411(small: Server) -> None:
    with small.connect() as connection:
        connection.sendall(HEAD + b"\r\n")
        answer = read_answer(connection)
        assert answer.status == 411
        assert "Content-Length" in answer.error


@pytest.mark.parametrize("size", [40_000, 400_000, 16 << 20])
def test_a_header_that_is_too_large_is_a_431(strict: Server, size: int) -> None:
    with strict.connect() as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: t\r\nX-A: " + b"a" * size + b"\r\n\r\n")
        data = everything(connection)
    assert data.startswith(b"HTTP/1.1 431 "), data[:200]
    well(strict)


def test_many_small_headers_and_long_urls_are_a_431_too(strict: Server) -> None:
    for head in (b"".join(b"X-%d: %s\r\n" % (number, b"v" * 50) for number in range(1000)), b""):
        url = b"/" + b"u" * (0 if head else 50_000)
        with strict.connect() as connection:
            connection.sendall(b"GET " + url + b" HTTP/1.1\r\nHost: t\r\n" + head + b"\r\n")
            assert everything(connection).startswith(b"HTTP/1.1 431 ")


def test_a_large_header_that_is_allowed_passes_between_large_bodies(small: Server) -> None:
    rows = json.dumps({"inputs": [tensor("x", [2000, 8], "FP32", [0.25] * 16000)]}).encode()
    request = HEAD + b"X-A: " + b"a" * 30_000 + b"\r\nContent-Length: %d\r\n\r\n" % len(rows) + rows
    with small.connect() as connection:
        for _ in range(5):
            connection.sendall(request)
            assert read_answer(connection).status == 200


def test_a_body_that_is_too_large_is_a_413_that_arrives(strict: Server) -> None:
    for declared in (100_001, 50_000_000, 10**15):
        with strict.connect() as connection:
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % declared + b" " * 1000)
            answer = read_answer(connection)
        assert answer.status == 413
        assert "100000" in answer.error
    with strict.connect() as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(HEAD + b"Content-Length: 20000000\r\n\r\n" + b" " * 20_000_000)
        assert read_answer(connection).status == 413  # although all of it was sent before reading
    with strict.connect() as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 50000000\r\n\r\n")
        assert read_answer(connection).status == 413


def test_a_chunked_body_that_is_too_large_is_a_413(strict: Server) -> None:
    with strict.connect() as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b" " * 0x8000 + b"\r\n")
            for _ in range(40):
                connection.sendall(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        assert everything(connection).startswith(b"HTTP/1.1 413 ")
    well(strict)


SLOW = {
    "half a header": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: t\r\nContent-Le",
    "a body that never comes": HEAD + b"Content-Length: 500\r\n\r\n",
    "half a body": HEAD + b"Content-Length: 500\r\n\r\n" + b" " * 100,
    "a chunk that never ends": HEAD + b"Transfer-Encoding: chunked\r\n\r\n40\r\nab",
}


def check_slow(server: Server, data: bytes) -> None:
    """An unfinished request is ended by the server soon, with a 408."""
    began = time.monotonic()
    with server.connect(timeout_s=3.0) as connection:
        connection.sendall(data)
        try:
            answer = everything(connection)
        except TimeoutError:
            answer = b"silence"
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert time.monotonic() - began < 3.0


#: uvicorn's own protocol in the place of ours.
STOCK = """
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from nimify_tui.serving import protocol, runtime
hard = protocol.protocol_factory
def stock(app, rules):
    made, state = hard(app, rules)
    config = made().config
    return (lambda: HttpToolsProtocol(config=config, server_state=state, app_state={})), state
runtime.protocol_factory = stock
"""


def test_sabotage_uvicorn_alone_holds_slow_requests_and_takes_large_headers() -> None:
    deadlines = ["--header-timeout-s", "0.6", "--body-timeout-s", "0.6"]
    with running(models_factory.mlp((8, 16, 4)), *deadlines, code=STOCK) as it:
        well(it)
        with pytest.raises(AssertionError):
            check_slow(it, SLOW["half a header"])
        with it.connect() as connection:
            connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: t\r\nX-A: " + b"a" * 400_000 + b"\r\n\r\n")
            assert read_answer(connection).status == 200


@pytest.mark.parametrize("what", SLOW)
def test_slow_requests_end_with_a_408(strict: Server, what: str) -> None:
    check_slow(strict, SLOW[what])


@pytest.mark.parametrize("head", [b"", HEAD + b"Content-Length: 50000\r\n\r\n"])
def test_dripping_does_not_help(strict: Server, head: bytes) -> None:
    """One byte at a time resets no deadline."""
    began = time.monotonic()
    with strict.connect() as connection:
        connection.settimeout(0.1)
        connection.sendall(head or b"GET /v2 HT")
        data = b""
        while not data and time.monotonic() - began < 8:
            with contextlib.suppress(TimeoutError, ConnectionResetError, BrokenPipeError):
                connection.sendall(b" " if head else b"T")
                data = connection.recv(1000)
        assert data.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 ")), data
        assert time.monotonic() - began < 4.0


def test_silent_and_idle_connections_are_closed(strict: Server) -> None:
    with strict.connect() as silent, strict.connect() as idle, strict.connect() as blank:
        idle.sendall(GOOD)
        assert read_answer(idle).status == 200
        blank.sendall(GOOD)
        assert read_answer(blank).status == 200
        blank.sendall(b"\r\n")
        for connection in (silent, idle, blank):
            assert everything(connection) == b""


def test_a_refusal_while_a_body_comes_leaves_the_connection_whole(small: Server) -> None:
    """The answer comes after the body, and the next request on the same connection is understood."""
    big = b" " * 300_000
    with small.connect() as connection:
        connection.sendall(HEAD + b"Content-Encoding: br\r\nContent-Length: %d\r\n\r\n" % len(big) + big)
        assert read_answer(connection).status == 415
        connection.sendall(GOOD)
        assert read_answer(connection).status == 200
        connection.sendall(b"POST /v2/health/live HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(big) + big)
        assert read_answer(connection).status == 405
        connection.sendall(GOOD)
        assert read_answer(connection).status == 200


def test_an_early_close_is_no_error_of_the_server(small: Server) -> None:
    before = small.metric('nimify_inference_requests_total{code="5')
    for data in (GOOD, GOOD[:-5], HEAD, b"", b"G"):
        for _ in range(5):
            with small.connect() as connection:
                connection.sendall(data)
    well(small)
    until(lambda: small.metric("nimify_inference_requests_in_flight") == 0, why="nothing in flight")
    assert small.metric('nimify_inference_requests_total{code="5') == before
    assert [line for line in small.log() if line["level"] == "error"] == []


def test_an_upgrade_is_answered_in_plain_http_and_closed(small: Server) -> None:
    upgrade = b" HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    with small.connect() as connection:
        connection.sendall(b"GET /v2" + upgrade + b"\r\n")
        data = everything(connection)
    assert data.startswith(b"HTTP/1.1 200 "), data
    assert b"connection: close" in data
    with small.connect() as connection:  # the parser keeps the body of such a request to itself
        connection.sendall(b"POST " + PATH + upgrade + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        answer = read_answer(connection)
    assert answer.status == 400
    assert "Upgrade" in answer.error
    with small.connect() as connection:
        connection.sendall(b"CONNECT evil:1 HTTP/1.1\r\nHost: evil:1\r\n\r\n")
        assert everything(connection)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 405")


def test_http_1_0_and_head(small: Server) -> None:
    with small.connect() as connection:
        connection.sendall(b"GET /v2/health/ready HTTP/1.0\r\n\r\n")
        assert everything(connection).endswith(b'{"ready":true}')
    with small.connect() as connection:
        connection.sendall(b"HEAD /v2/health/ready HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        assert everything(connection).endswith(b"\r\n\r\n")


def test_a_thousand_connections_are_served(small: Server) -> None:
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(small.connect()) for _ in range(1000)]
        for connection in many:
            connection.sendall(GOOD)
        assert {read_answer(connection).status for connection in many} == {200}


def test_answers_do_not_wait_for_acknowledgements(small: Server) -> None:
    """Without TCP_NODELAY each answer in two writes would take some 40 ms."""
    with socket.create_connection((HOST, small.port)) as connection:
        began = time.monotonic()
        for _ in range(50):
            connection.sendall(GOOD)
            assert read_answer(connection).status == 200
        assert time.monotonic() - began < 1.5
