"""Small parts of the Kubernetes transport: the token bucket, proxies, errors out of statuses, lanes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading

import pytest

from nimify_tui.backends.kubernetes.connection import Lane, lane_of
from nimify_tui.backends.kubernetes.errors import (
    BadAnswer,
    Conflict,
    DisruptionBlocked,
    Invalid,
    ServerTrouble,
    Throttled,
    Unreachable,
    answer_behind,
    from_status,
    said_by,
)
from nimify_tui.backends.kubernetes.limits import TokenBucket
from nimify_tui.backends.kubernetes.place import ClusterPlace
from nimify_tui.backends.kubernetes.proxies import proxy_for
from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import ConfigurationError, InternalError
from tests.kube.reach import failure, names, opened, read, run


def test_the_bucket_lets_a_burst_through_and_then_a_rate() -> None:
    clock = ManualClock()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def go() -> None:
        bucket = TokenBucket(clock, rate_per_s=10, burst=3, sleep=sleep)
        for _ in range(5):
            await bucket.take()
        assert slept == pytest.approx([0.1, 0.2]), "each waits behind the one before"
        clock.advance(100)
        slept.clear()
        for _ in range(4):
            await bucket.take()
        assert slept == pytest.approx([0.1]), "an idle bucket is no fuller than its burst"

    run(go())


@pytest.mark.parametrize(
    ("server", "own", "environ", "proxy"),
    [
        ("https://api", "", {}, ""),
        ("https://api", "http://own:1", {"HTTPS_PROXY": "http://env:2", "NO_PROXY": "*"}, "http://own:1"),
        ("https://api", "", {"HTTPS_PROXY": "env:2"}, "http://env:2"),
        ("https://api", "", {"https_proxy": "http://env:2"}, "http://env:2"),
        ("http://api", "", {"HTTPS_PROXY": "http://env:2"}, ""),
        ("https://127.0.0.1:6443", "", {"HTTPS_PROXY": "http://env:2"}, ""),
        ("https://localhost:6443", "", {"HTTPS_PROXY": "http://env:2"}, ""),
        ("https://api.corp", "", {"HTTPS_PROXY": "http://env:2", "NO_PROXY": "a, corp"}, ""),
        ("https://corp", "", {"HTTPS_PROXY": "http://env:2", "NO_PROXY": "corp"}, ""),
        ("https://corp", "", {"HTTPS_PROXY": "http://env:2", "NO_PROXY": ".corp"}, "http://env:2"),
        ("https://a.corp", "", {"HTTPS_PROXY": "http://env:2", "NO_PROXY": "*.corp"}, ""),
        ("https://notcorp", "", {"HTTPS_PROXY": "http://env:2", "NO_PROXY": "corp"}, "http://env:2"),
        ("https://10.1.2.3", "", {"HTTPS_PROXY": "http://env:2", "NO_PROXY": "10.0.0.0/8"}, ""),
        ("https://11.1.2.3", "", {"HTTPS_PROXY": "http://env:2", "NO_PROXY": "10.0.0.0/8"}, "http://env:2"),
        ("https://[fd00::1]:6443", "", {"HTTPS_PROXY": "http://env:2", "NO_PROXY": "[fd00::1]:6443"}, ""),
        ("https://api:6443", "", {"HTTPS_PROXY": "http://env:2", "NO_PROXY": "api:443"}, "http://env:2"),
    ],
)
def test_proxies_as_kubectl_reads_them(server: str, own: str, environ: dict[str, str], proxy: str) -> None:
    assert proxy_for(server, own, environ) == proxy


def test_a_kind_of_proxy_that_is_not_spoken_is_told_without_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        proxy_for("https://api", "socks5://me:sesame@host:1", {})
    assert "of the kind socks5" in caught.value.message
    assert "sesame" not in str(caught.value)


def test_a_blocked_eviction_is_not_throttling() -> None:
    body = {
        "reason": "TooManyRequests", "message": "Cannot evict pod",
        "details": {"causes": [{"reason": "DisruptionBudget", "message": "The budget web needs 2"}]},
    }  # fmt: skip
    error = from_status(429, json.dumps(body).encode())
    assert isinstance(error, DisruptionBlocked)
    assert isinstance(from_status(429, b'{"reason": "TooManyRequests"}'), Throttled)


def test_hostile_statuses() -> None:
    nulls = b'{"code": null, "reason": null, "message": null, "details": {"causes": null}}'
    assert isinstance(from_status(409, nulls), Conflict)
    assert isinstance(from_status(0, b"\xff\x00"), ServerTrouble)
    many = {"details": {"causes": [{"field": f"f{n}", "message": "m" * 9000} for n in range(5000)]}}
    error = from_status(422, json.dumps(many).encode())
    assert isinstance(error, Invalid)
    assert len(error.causes) == 20
    assert all(len(cause) <= 400 for cause in error.causes)
    assert said_by("a\x1b]0;x\x07b\u202e token=abcdefgh12345").startswith("ab token=•••")
    assert "where it hurts" in said_by("x" * 50_000 + " where it hurts")


@pytest.mark.parametrize(
    ("status", "body", "own"),
    [
        (503, b'{"kind":"Status","apiVersion":"v1","message":"no endpoints available for service"}', True),
        (429, b"Too many requests, please try again later.", True),
        (429, b'{"status":"error","errorType":"server_error","error":"too many outstanding requests"}', False),
        (401, b"no org id\n", False), (422, b'{"status":"error","error":"too much"}', False), (500, b"", False),
        (500, b'"silence not found"', False), (502, b"[" * 100_000, False),
    ],
)  # fmt: skip
def test_what_stands_behind_a_proxy_is_told_from_the_server_that_proxies(status: int, body: bytes, own: bool) -> None:
    assert answer_behind(status, body, "7") == (None if own else (status, body, "7"))


@pytest.mark.parametrize(
    ("path", "query", "lane"),
    [
        ("/api/v1/pods", {"limit": "500"}, Lane.LIST),
        ("/api/v1/pods", {"watch": "1"}, Lane.STREAM),
        ("/api/v1/pods", {"watch": "false"}, Lane.LIST),
        ("/api/v1/namespaces/a/pods/b/log", {"follow": "true"}, Lane.STREAM),
        ("/api/v1/namespaces/a/pods/b:8000/proxy/metrics", {}, Lane.POD),
        ("/api/v1/namespaces/proxy/pods", {}, Lane.LIST),
        ("/livez", {}, Lane.PROBE),
        ("/readyz/ping", {}, Lane.PROBE),
    ],
)
def test_lanes(path: str, query: dict[str, str], lane: Lane) -> None:
    assert lane_of(path, query) is lane


@pytest.mark.parametrize("path", ["api/v1", "/api/../secrets", "/api/./x", "/api?x=1", "/api#x", "/a\\b"])
def test_paths_that_lead_elsewhere_are_not_sent(path: str) -> None:
    async def go() -> None:
        async with opened(ClusterPlace("one", "https://127.0.0.1:1")) as connection:
            assert isinstance(await failure(names(connection, path)), InternalError)

    run(go())


async def through(reply: bytes) -> tuple[list[bytes], Exception]:
    """What a proxy that answers ``reply`` was asked, and how the request ended."""
    heads: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    proxy = f"http://me:sesame@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, opened(ClusterPlace("one", "https://api.example:6443", proxy=proxy)) as connection:
        return heads, await failure(names(connection, "/api/v1/nodes"))


def test_a_proxy_that_refuses_is_told_apart_from_a_dead_server() -> None:
    heads, error = run(through(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
    assert heads[0].startswith(b"CONNECT api.example:6443 ")
    assert isinstance(error, Unreachable)
    assert error.cause == "the proxy refused"
    assert "sesame" not in str(error)
    _, error = run(through(b"what?\r\n\r\n"))
    assert isinstance(error, Unreachable | BadAnswer)


def test_names_that_are_not_found_for_long_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty regions behind a name server that is silent; the threads that all share are free.

    Sabotage seen failing: the loop's own ``getaddrinfo``, which uses those threads.
    """
    answer = threading.Event()

    async def go() -> None:
        asked, loop = asyncio.Event(), asyncio.get_running_loop()

        def silent(host: bytes, *_: object, flags: int = 0, **__: object) -> list[object]:
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "no number")
            loop.call_soon_threadsafe(asked.set)
            answer.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, f"{host!r}: no answer")

        monkeypatch.setattr(socket, "getaddrinfo", silent)
        places = [ClusterPlace("k", f"http://k{number}.example") for number in range(40)]
        async with contextlib.AsyncExitStack() as stack:
            links = [await stack.enter_async_context(opened(place, connect_timeout_s=30)) for place in places]
            tries = [asyncio.create_task(failure(read(link, "/livez", accept="*/*"))) for link in links]
            try:
                await asked.wait()
                async with asyncio.timeout(20):
                    assert await asyncio.to_thread(lambda: "free") == "free"
            finally:
                answer.set()
            assert {type(each) for each in await asyncio.gather(*tries)} == {Unreachable}

    run(go())
