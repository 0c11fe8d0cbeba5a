"""What a bad line and a bad server do to reads: each fault is one typed error, in time, with words that help."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nimify_tui.backends.kubernetes import connection as connection_module
from nimify_tui.backends.kubernetes.connection import Connection
from nimify_tui.backends.kubernetes.errors import (
    BadAnswer,
    Cause,
    Gone,
    Invalid,
    NotFound,
    Refused,
    ServerTrouble,
    Throttled,
    TlsFailed,
    TooLargeVersion,
    Unreachable,
    from_status,
)
from tests.kube import pki
from tests.kube.cluster import Cluster, free_port
from tests.kube.faults import FaultProxy, answer, cut, drop, hang, latency, raw, silent_server, stream
from tests.kube.reach import behind, failure, names, opened, place_of, read, run

NODES = "/api/v1/nodes"


@asynccontextmanager
async def faulty(cluster: Cluster, folder: Path) -> AsyncIterator[tuple[FaultProxy, Connection]]:
    """A fault proxy and an open connection through it."""
    proxy = FaultProxy(cluster.port, pki.own(folder, "proxy"))
    async with proxy, opened(behind(proxy, cluster, folder)) as connection:
        yield proxy, connection


def test_without_a_fault_the_proxy_is_honest(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with faulty(cluster, tmp_path) as (proxy, connection):
            assert await names(connection, NODES) == ["node-0", "node-1"]
            assert proxy.asked == [f"GET {NODES}"]
            proxy.faults[NODES] = latency(0.05)
            assert await names(connection, NODES) == ["node-0", "node-1"]

    run(go())


STATUSES = {
    "asked for patience": (answer("429 Too Many Requests", headers="Retry-After: 7\r\n"), Throttled, "7 s"),
    "patience by 503": (answer("503 Service Unavailable", headers="Retry-After: 2\r\n"), Throttled, "2 s"),
    "absurd patience": (
        answer("429 Too Many Requests", headers="Retry-After: 999999\r\n"),
        Throttled,
        "300 s",
    ),
    "no time named": (answer("429 Too Many Requests"), Throttled, "1 s"),
    "broken": (answer("500 Internal Server Error"), ServerTrouble, "health and log"),
    "balancer": (answer("502 Bad Gateway", b"<html>", kind="text/html"), ServerTrouble, "load balancer"),
    "login page": (answer("200 OK", b"<html>Sign in</html>", kind="text/html"), BadAnswer, "login page"),
    "sent on": (
        answer("302 Found", headers="Location: https://evil.example/\r\n"),
        BadAnswer,
        "real address",
    ),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.7\r\n"), BadAnswer, "port"),
    "dropped": (drop, Unreachable, ""),
    "cut": (cut(700), Unreachable, ""),
}


@pytest.mark.parametrize("what", STATUSES)
def test_bad_answers(what: str, cluster: Cluster, tmp_path: Path) -> None:
    fault, kind, remedy = STATUSES[what]

    async def go() -> None:
        async with faulty(cluster, tmp_path) as (proxy, connection):
            proxy.faults[NODES] = fault
            error = await failure(names(connection, NODES))
            assert type(error) is kind, error
            assert remedy in error.remedy
            # A GET whose connection closes before the answer is asked again on a new one, once.
            assert len(proxy.asked) == (2 if what == "dropped" else 1)
            assert "admin-token" not in "".join(traceback.format_exception(error))
            del proxy.faults[NODES]
            assert await names(connection, NODES), "the next request is not harmed"

    run(go())


def test_a_server_that_echoes_our_token_is_not_quoted(cluster: Cluster, tmp_path: Path) -> None:
    body = json.dumps(
        {"kind": "Status", "code": 400, "message": "you sent admin-token\x1b[2J\u202e"}
    ).encode()

    async def go() -> None:
        async with faulty(cluster, tmp_path) as (proxy, connection):
            proxy.faults[NODES] = answer("400 Bad Request", body)
            error = await failure(names(connection, NODES))
            assert "you sent •••" in error.message
            assert not any(char in error.message for char in "\x1b\u202e")

    run(go())


def test_silence_ends_by_the_read_timeout(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with faulty(cluster, tmp_path) as (proxy, connection):
            proxy.faults[NODES] = hang()
            error = await failure(read(connection, NODES, read_timeout_s=0.2))
            assert isinstance(error, Unreachable)
            assert error.cause is Cause.TIMEOUT

    run(go())


def test_who_cannot_be_reached_says_why(cluster: Cluster, tmp_path: Path) -> None:
    place = place_of(cluster, tmp_path)

    async def cause(server: str) -> Cause:
        async with opened(dataclasses.replace(place, server=server), connect_timeout_s=0.5) as connection:
            error = await failure(names(connection, NODES))
            assert isinstance(error, Unreachable), error
            assert connection.address == server
            assert server in error.message
            return error.cause

    async def go() -> None:
        assert await cause(f"https://127.0.0.1:{free_port()}") is Cause.REFUSED
        assert await cause("https://no-such-host.invalid") is Cause.DNS
        async with silent_server() as port:
            assert await cause(f"https://127.0.0.1:{port}") is Cause.TIMEOUT
            plain = dataclasses.replace(place, server=f"http://127.0.0.1:{cluster.port}")
            async with opened(plain) as connection:
                error = await failure(names(connection, NODES))
                assert isinstance(error, Refused)
                assert (error.status, error.remedy) == (400, "is it https?")

    run(go())


def test_no_tls_behind_the_port(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        server = await asyncio.start_server(
            lambda _, writer: writer.write(b"HTTP/1.1 400 no\r\n\r\n"), "127.0.0.1", 0
        )
        fields = {"server": f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"}
        async with server, opened(place_of(cluster, tmp_path, cluster_fields=fields)) as one:
            error = await failure(names(one, NODES))
            assert isinstance(error, TlsFailed)
            assert "does not speak TLS" in error.message

    run(go())


def test_over_plain_http_no_credentials_travel(cluster: Cluster, tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n")
        writer.write(b'{"items":[]}')
        writer.close()

    async def go() -> None:
        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        place = place_of(cluster, tmp_path, cluster_fields={"server": f"http://127.0.0.1:{port}"})
        async with server, opened(place) as connection:
            assert await names(connection, NODES) == []

    run(go())
    [head] = heads
    assert b"authorization" not in head.lower()


def test_a_frozen_server_holds_up_nobody_for_longer_than_said(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(place_of(cluster, tmp_path), connect_timeout_s=0.5) as connection:
            assert await names(connection, NODES)
            cluster.freeze()
            try:
                error = await failure(read(connection, NODES, read_timeout_s=0.3))
            finally:
                cluster.thaw()
            assert isinstance(error, Unreachable)
            assert error.cause is Cause.TIMEOUT
            assert await names(connection, NODES)

    run(go())


def test_versions_that_are_too_old_or_too_new(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(place_of(cluster, tmp_path)) as connection:
            assert isinstance(await failure(names(connection, "/api/v1/nodes/nope")), NotFound)
            newer = {"resourceVersion": "999999999", "resourceVersionMatch": "NotOlderThan"}
            assert isinstance(await failure(read(connection, NODES, newer)), TooLargeVersion)
            wrong = {"resourceVersionMatch": "Exact"}
            assert isinstance(await failure(read(connection, NODES, wrong)), Invalid)

    run(go())


def test_forgotten_versions_are_gone(cluster: Cluster, tmp_path: Path) -> None:
    """As a status for a list that goes on, as an event inside a 200 for a watch."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "forgotten"}})

    async def first() -> tuple[str, str]:
        async with opened(place_of(cluster, tmp_path)) as connection:
            meta = json.loads(await read(connection, "/api/v1/namespaces", {"limit": "1"}))["metadata"]
            return meta["continue"], meta["resourceVersion"]

    token, version = run(first())
    cluster.kubectl("label", "namespace", "forgotten", "again=1")
    cluster.forget()

    async def then() -> None:
        async with opened(place_of(cluster, tmp_path)) as connection:
            error = await failure(read(connection, "/api/v1/namespaces", {"limit": "1", "continue": token}))
            assert isinstance(error, Gone)
            assert (error.status, error.reason) == (410, "Expired")
            watch = {"watch": "1", "resourceVersion": "2", "timeoutSeconds": "1"}
            event = json.loads(await read(connection, "/api/v1/namespaces", watch))
            assert event["type"] == "ERROR"
            assert isinstance(from_status(0, json.dumps(event["object"]).encode()), Gone)

    assert version
    run(then())


async def lines_of(connection: Connection) -> tuple[list[bytes], BaseException | None]:
    """What a watch handed out, and how it ended."""
    got: list[bytes] = []
    try:
        async with connection.get(NODES, {"watch": "1"}) as stream_:
            async for batch in stream_.whole_lines():
                got += batch.splitlines()
    except (BadAnswer, Unreachable) as error:
        return got, error
    return got, None


def test_streams_hand_out_whole_lines_only(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with faulty(cluster, tmp_path) as (proxy, connection):
            proxy.faults[NODES] = stream(b'{"a":', b'1}\n{"b":2}\n{"c"', b":3}\n")
            assert await lines_of(connection) == ([b'{"a":1}', b'{"b":2}', b'{"c":3}'], None)
            proxy.faults[NODES] = stream(b'{"a":1}\n{"b"')
            got, error = await lines_of(connection)
            assert got == [b'{"a":1}']
            assert isinstance(error, BadAnswer)
            assert "middle of a line" in error.message
            proxy.faults[NODES] = stream(b'{"a":1}\n', ends=False)
            got, error = await lines_of(connection)
            assert got == [b'{"a":1}']
            assert isinstance(error, Unreachable)
            assert error.cause is Cause.BROKEN_OFF

    run(go())


def test_a_line_without_end_and_a_body_without_end_are_bounded(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "LINE_BYTES", 100)

    async def go() -> None:
        async with faulty(cluster, tmp_path) as (proxy, connection):
            proxy.faults[NODES] = stream(*[b"x" * 40] * 5)
            got, error = await lines_of(connection)
            assert got == []
            assert isinstance(error, BadAnswer)
            assert "line of more than 100 bytes" in error.message
            error = await failure(read(connection, NODES, limit_bytes=150))
            assert isinstance(error, BadAnswer)
            assert "more than 150 bytes" in error.message

    run(go())


def test_a_real_watch_streams_and_knows_when_it_last_heard(cluster: Cluster, tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(place_of(cluster, tmp_path)) as connection:
            listed = json.loads(await read(connection, NODES, {"limit": "1"}))
            assert listed["metadata"]["continue"], "the first page of two"
            query = {"watch": "1", "sendInitialEvents": "true", "allowWatchBookmarks": "true"}
            query["resourceVersionMatch"] = "NotOlderThan"
            async with connection.get(NODES, query) as watch:
                before = watch.last_byte_mono_s
                seen: list[str] = []
                async for batch in watch.whole_lines():
                    seen += [json.loads(line)["type"] for line in batch.splitlines()]
                    if "BOOKMARK" in seen:
                        break
                assert seen[:2] == ["ADDED", "ADDED"]
                assert watch.last_byte_mono_s >= before

    run(go())


def test_four_lists_at_once_and_probes_and_watches_pass_them(cluster: Cluster, tmp_path: Path) -> None:
    """Fails when the semaphore is taken out of Connection.get (six lists arrive at once)."""

    async def go() -> None:
        async with faulty(cluster, tmp_path) as (proxy, connection):
            gate = asyncio.Event()
            proxy.faults["/api/v1/pods"] = hang(gate)
            lists = [asyncio.create_task(read(connection, "/api/v1/pods")) for _ in range(6)]
            async with asyncio.timeout(10):
                assert await read(connection, "/livez", accept="*/*") == b"ok"
                while len(proxy.asked) < 5:
                    await read(connection, "/livez", accept="*/*")
                async with connection.get(NODES, {"watch": "1", "timeoutSeconds": "1"}) as watch:
                    assert watch.status == 200
            assert proxy.asked.count("GET /api/v1/pods") == 4
            gate.set()
            assert len(await asyncio.gather(*lists)) == 6

    run(go())


def test_a_dead_peer_is_noticed_by_the_kernel(cluster: Cluster, tmp_path: Path) -> None:
    """Read from the kept socket of the live pool; fails when asyncio makes the sockets itself."""

    async def go() -> None:
        async with opened(place_of(cluster, tmp_path)) as connection:
            await names(connection, NODES)
            transport = connection._caller.transport
            assert transport is not None
            [kept] = transport.idle_sockets()
            assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 20
            assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 40_000

    run(go())
