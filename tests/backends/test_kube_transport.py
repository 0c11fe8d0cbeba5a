"""The HTTP/1.1 of the cluster backend, on real sockets: framing, kept connections, and proxies. Takes 2 s."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nimify_tui.backends.kubernetes.dial import dial
from nimify_tui.backends.kubernetes.http1 import NotHttp
from nimify_tui.backends.kubernetes.names import Names
from nimify_tui.backends.kubernetes.transport import ProxyRefused, Server, Transport
from tests.kube import pki

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Serve = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server whose answers a test writes; ``heads`` are the requests, ``lines`` counts connections."""

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None = None) -> None:
        self.heads: list[bytes] = []
        self.lines = 0
        self.port = 0
        self._serve, self._tls = serve, tls

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                await self._serve(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Peer]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


def saying(*answers: bytes, end: bool = False) -> Serve:
    """Each request gets the next answer; the last one again and again. ``end``: and the line is closed."""
    left = list(answers)

    async def serve(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        if end:
            writer.close()
            raise ConnectionResetError

    return serve


async def ask(transport: Transport, path: str = "/", context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    reply = await transport.request("GET", path, [("Accept", "*/*")], context, read_timeout_s=5.0)
    try:
        return reply.status, await reply.read()
    finally:
        reply.close()


def plain(peer: Peer, proxy: str = "") -> Transport:
    return Transport(Server("127.0.0.1", peer.port, https=False, proxy=proxy), 5.0)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\nX-Late: 1\r\n\r\n"
PACKED = gzip.compress(b"x" * 1_000_000)
BODIES = {
    "counted": (OK, b"ok"),
    "in chunks": (CHUNKED, b"abcde"),
    "packed": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(PACKED), PACKED),
        b"x" * 1_000_000,
    ),
    "after a word in between": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
    "empty": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
}


@pytest.mark.parametrize("what", BODIES)
def test_bodies_are_read_to_their_end_and_the_line_is_kept(what: str) -> None:
    answer, body = BODIES[what]

    async def go() -> None:
        async with Peer(saying(answer)).up() as peer:
            transport = plain(peer)
            for _ in range(3):
                assert (await ask(transport))[1] == body
            assert peer.lines == 1
            transport.close()

    asyncio.run(go())


def test_a_body_that_the_end_of_the_line_ends() -> None:
    async def go() -> None:
        async with Peer(saying(b"HTTP/1.0 200 OK\r\n\r\nall of it", end=True)).up() as peer:
            transport = plain(peer)
            assert [(await ask(transport))[1] for _ in range(2)] == [b"all of it"] * 2
            assert peer.lines == 2
            transport.close()

    asyncio.run(go())


CUT = {
    "in a counted body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", ConnectionError),
    "in a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok", ConnectionError),
    "in the head": (b"HTTP/1.1 200 OK\r\nContent-Le", ConnectionError),
    "in a packed body": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n%b" % PACKED[:20],
        NotHttp,
    ),
    "it is no packed body": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", NotHttp),
    "it is no HTTP": (b"SSH-2.0-OpenSSH_9.7\r\n", NotHttp),
    "a head without end": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, NotHttp),
}


@pytest.mark.parametrize("what", CUT)
def test_what_is_cut_or_garbled_is_an_error_and_its_line_is_not_used_again(what: str) -> None:
    answer, kind = CUT[what]

    async def go() -> None:
        async with Peer(saying(answer, OK, end=True)).up() as peer:
            transport = plain(peer)
            with pytest.raises(kind):
                await ask(transport)
            if "packed" not in what:  # there only the body is bad, not where it ends
                assert transport.idle_sockets() == []
            assert await ask(transport) == (200, b"ok")
            assert peer.lines == 2
            transport.close()

    asyncio.run(go())


def test_bytes_that_nobody_asked_for_are_not_the_next_answer() -> None:
    """Fails when a line is kept by its end alone: the second request is then answered before it is sent."""

    async def go() -> None:
        async with Peer(saying(OK + OK.replace(b"ok", b"NO"))).up() as peer:
            transport = plain(peer)
            assert [(await ask(transport))[1] for _ in range(3)] == [b"ok"] * 3
            assert peer.lines == 3
            transport.close()

    asyncio.run(go())


def test_a_kept_line_that_was_closed_meanwhile_costs_one_more_request_and_nothing_else() -> None:
    async def go() -> None:
        async with Peer(saying(OK)).up() as peer:
            transport = plain(peer)
            assert await ask(transport) == (200, b"ok")
            [kept] = transport.idle_sockets()
            kept._sock.shutdown(2)
            assert await ask(transport) == (200, b"ok")
            assert peer.lines == 2
            transport.close()

    asyncio.run(go())


def test_a_change_is_sent_once_on_a_line_of_its_own() -> None:
    async def go() -> None:
        async with Peer(saying(OK)).up() as kind, Peer(saying(b"", end=True)).up() as rude:
            transport = plain(kind)
            sent: list[int] = []
            assert await ask(transport) == (200, b"ok")
            reply = await transport.request("POST", "/", [], None, body=b"{}", on_sent=lambda: sent.append(1))
            assert await reply.read() == b"ok"
            assert (kind.lines, len(transport.idle_sockets()), sent) == (2, 1, [1])
            transport.close()
            transport = plain(rude)
            with pytest.raises(ConnectionError):
                await transport.request("POST", "/", [], None, body=b"{}", on_sent=lambda: sent.append(1))
            assert (rude.lines, sent) == (1, [1, 1])
            with pytest.raises(ConnectionError):
                await ask(transport)
            assert rude.lines == 3, "a read whose line closes before an answer is asked once more"
            transport.close()

    asyncio.run(go())


def test_silence_is_bounded_and_a_header_is_one_line() -> None:
    async def go() -> None:
        async with Peer(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")).up() as peer:
            transport = plain(peer)
            reply = await transport.request("GET", "/", [], None, read_timeout_s=0.05)
            with pytest.raises(TimeoutError):
                await reply.read()
            reply.close()
            with pytest.raises(ValueError, match="line break"):
                await transport.request("GET", "/", [("Authorization", "Bearer a\r\nX: y")], None)
            assert peer.lines == 1
            transport.close()

    asyncio.run(go())


def test_an_address_that_refuses_does_not_hide_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with Peer(saying(OK)).up() as peer:
            kind = (2, 1, 6, "")

            def both(*_: object, **__: object) -> list[object]:
                return [(*kind, ("127.0.0.1", 1)), (*kind, ("127.0.0.1", peer.port))]

            monkeypatch.setattr(socket, "getaddrinfo", both)
            found = await dial("two.example", peer.port, Names())
            assert found.getpeername()[1] == peer.port
            found.close()

    asyncio.run(go())


def tunnel(to: int, login: str = "") -> Serve:
    """CONNECT as a proxy does it; plain requests are answered by itself."""

    async def serve(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if login and f"Proxy-Authorization: Basic {login}\r\n".encode() not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif not head.startswith(b"CONNECT "):
            writer.write(OK)
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            other = await asyncio.open_connection("127.0.0.1", to)
            await asyncio.wait(
                [asyncio.create_task(_copy(reader, other[1])), asyncio.create_task(_copy(other[0], writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            other[1].close()
            raise ConnectionResetError

    return serve


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def test_through_a_proxy(tmp_path: Path) -> None:
    """TLS to the server itself, through a proxy that asks for a login; and plain HTTP by its absolute name."""
    pair = pki.own(tmp_path, "server")
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(pair.certificate, pair.key)
    outside = ssl.create_default_context(cafile=str(pair.certificate))

    async def go() -> None:
        async with (
            Peer(saying(OK), inside).up() as server,
            Peer(tunnel(server.port, "dXNlcjpwQHNz")).up() as proxy,
        ):
            url = f"http://user:p%40ss@127.0.0.1:{proxy.port}"
            transport = Transport(Server("127.0.0.1", server.port, https=True, proxy=url), 5.0)
            assert [await ask(transport, "/x", outside) for _ in range(2)] == [(200, b"ok")] * 2
            assert (proxy.lines, server.lines) == (1, 1)
            assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1".encode())
            assert all(b"Proxy-Authorization" not in head for head in server.heads)
            transport.close()
            far = Transport(Server("far.example", 80, https=False, proxy=url), 5.0)
            assert await ask(far, "/y") == (200, b"ok")
            assert proxy.heads[-1].startswith(b"GET http://far.example:80/y HTTP/1.1\r\nHost: far.example:80\r\n")
            far.close()
            stranger = Transport(
                Server("127.0.0.1", server.port, https=True, proxy=f"http://127.0.0.1:{proxy.port}"), 5.0
            )
            with pytest.raises(ProxyRefused):
                await ask(stranger, "/", outside)
            stranger.close()

    asyncio.run(go())


def test_through_a_proxy_that_speaks_tls_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = pki.own(tmp_path, "server")
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(pair.certificate, pair.key)
    outside = ssl.create_default_context(cafile=str(pair.certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(pair.certificate))  # the machine's authorities judge the proxy

    async def go() -> None:
        async with Peer(saying(OK), inside).up() as server, Peer(tunnel(server.port), inside).up() as proxy:
            url = f"https://127.0.0.1:{proxy.port}"
            transport = Transport(Server("127.0.0.1", server.port, https=True, proxy=url), 5.0)
            assert [await ask(transport, "/x", outside) for _ in range(2)] == [(200, b"ok")] * 2
            assert (proxy.lines, server.lines) == (1, 1)
            transport.close()

    asyncio.run(go())
