"""HTTP/1.1 to one API server: kept connections, TLS and proxies.

A whole HTTP library costs 190 ms of import, and the first rows of every region would wait for that. Nothing here is
Kubernetes' own, and no error is translated: :mod:`nimify_tui.backends.kubernetes.caller` does both.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from nimify_tui.backends.kubernetes.dial import dial
from nimify_tui.backends.kubernetes.http1 import CHUNK_BYTES, Line, Parsed, Reply
from nimify_tui.backends.kubernetes.names import Names
from nimify_tui.base.certificates import ends_at

#: An API server closes idle connections after 90 s; ours go before, so none is used in its last moment.
IDLE_S = 60.0


class ProxyRefused(Exception):
    """The proxy does not let us through to the server."""


@dataclass(frozen=True)
class Server:
    """Where requests go. ``proxy``: its URL, "" for none; ``tls_name``: instead of the host's name, "" for that."""

    host: str
    port: int
    https: bool
    proxy: str = ""
    tls_name: str = ""

    @property
    def authority(self) -> str:
        """``host:port`` as a request names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Transport:
    """Requests to one server over kept connections. For one event loop."""

    def __init__(self, server: Server, connect_timeout_s: float) -> None:
        self._server = server
        self._connect_timeout_s = connect_timeout_s
        #: By TLS context: connections of a rotated certificate are not used with the next one.
        #: When the server's certificate ends, by the newest connection, unix seconds; None: not seen, or unreadable.
        self.server_ends_at: float | None = None
        self._kept: dict[ssl.SSLContext | None, list[Line]] = {}
        self._open: set[Line] = set()
        self._closed = False
        self._names = Names()

    def close(self) -> None:
        """End every connection."""
        self._closed = True
        for line in list(self._open):
            line.abort()
        self._open.clear()
        self._kept.clear()
        self._names.close()

    def idle_sockets(self) -> list[Any]:
        """The sockets of the connections that wait for the next request."""
        return [line.socket for lines in self._kept.values() for line in lines]

    async def request(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        context: ssl.SSLContext | None,
        *,
        body: bytes | None = None,
        read_timeout_s: float = 30.0,
        on_sent: Callable[[], None] = lambda: None,
    ) -> Reply:
        """The answer, of any status, once its head is there.

        A request without a ``body`` takes a kept connection, and is sent once more on a new one when the line
        closes before anything of an answer came. One with a body gets a connection of its own, and is never
        repeated; ``on_sent`` is called when its head is given to the socket.

        Raises OSError (socket.gaierror, ssl.SSLError and such), TimeoutError, NotHttp, ProxyRefused, and ValueError
        for what cannot be a header.
        """
        data = self._head(method, target, headers, body) + (body or b"")
        keep = body is None

        def done(line: Line, sound: bool) -> None:
            self._give_back(context, line, sound and keep)

        for attempt in (1, 2):
            line = self._take(context) if keep and attempt == 1 else None
            line = line or await self._connect(context)
            parsed, heard = Parsed(), False
            try:
                on_sent()
                await line.send(data, read_timeout_s)
                while not parsed.head_done:
                    heard = await line.feed(parsed, read_timeout_s) or heard
            except BaseException as error:
                self._give_back(context, line, False)
                parsed.parser = None
                if keep and attempt == 1 and not heard and isinstance(error, ConnectionError | ssl.SSLError):
                    continue
                raise
            return Reply(line, parsed, read_timeout_s, done)
        raise AssertionError("the second attempt returns or raises")

    # -- connections ---------------------------------------------------------------------

    def _take(self, context: ssl.SSLContext | None) -> Line | None:
        lines = self._kept.get(context, [])
        while lines:
            line = lines.pop()
            if line.expiry is not None:
                line.expiry.cancel()
            if line.sound:
                return line
            self._end(line)
        return None

    def _give_back(self, context: ssl.SSLContext | None, line: Line, sound: bool) -> None:
        if not sound or self._closed or not line.sound:
            self._end(line)
            return
        lines = self._kept.setdefault(context, [])
        lines.append(line)
        line.expiry = asyncio.get_running_loop().call_later(IDLE_S, self._expire, lines, line)

    def _expire(self, lines: list[Line], line: Line) -> None:
        if line in lines:
            lines.remove(line)
            self._end(line)

    def _end(self, line: Line) -> None:
        self._open.discard(line)
        line.abort()

    async def _connect(self, context: ssl.SSLContext | None) -> Line:
        server, names = self._server, self._names
        self._must_be_open()
        async with asyncio.timeout(self._connect_timeout_s * (2 if server.proxy else 1)):
            if not server.proxy:
                name = server.tls_name or server.host
                line = Line(*await _streams(names, server.host, server.port, context, name))
            else:
                line = await self._through(server.proxy, context)
        try:
            self._must_be_open()  # it may have been closed meanwhile
        except ConnectionAbortedError:
            line.abort()
            raise
        self._open.add(line)
        if (shown := line.certificate) is not None:
            self.server_ends_at = ends_at(shown)
        return line

    def _must_be_open(self) -> None:
        if self._closed:
            raise ConnectionAbortedError("the connection is closed")

    async def _through(self, proxy: str, context: ssl.SSLContext | None) -> Line:
        """A line to the server through a proxy (RFC 9110, 9.3.6)."""
        server, parts = self._server, urlsplit(proxy)
        try:
            outer = ssl.create_default_context() if parts.scheme == "https" else None
            port = parts.port or (443 if outer else 80)
            reader, writer = await _streams(self._names, parts.hostname or "", port, outer, parts.hostname or "")
        except OSError as error:
            raise ProxyRefused(str(error)) from error
        if context is None:
            return Line(reader, writer)
        try:
            lines = [("Host", server.authority), *_proxy_login(parts.netloc)]
            writer.write(_head(f"CONNECT {server.authority}", lines))
            head = await reader.readuntil(b"\r\n\r\n")
            if head.split(b" ", 2)[1:2] != [b"200"]:
                raise ProxyRefused("the proxy answers no to CONNECT")
            await writer.start_tls(context, server_hostname=server.tls_name or server.host)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            writer.transport.abort()
            raise ProxyRefused("the proxy speaks no HTTP") from error
        except BaseException:
            writer.transport.abort()
            raise
        return Line(reader, writer)

    def _head(self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None) -> bytes:
        server = self._server
        lines = [("Host", server.authority), *headers]
        if body is not None:
            lines += [("Content-Length", str(len(body))), ("Connection", "close")]
        if server.proxy and not server.https:
            target = f"http://{server.authority}{target}"
            lines += _proxy_login(urlsplit(server.proxy).netloc)
        return _head(f"{method} {target}", lines)


def _head(line: str, headers: Sequence[tuple[str, str]]) -> bytes:
    if any(char in part for part in (line, *itertools.chain(*headers)) for char in "\r\n\0"):
        raise ValueError("a header holds a line break")
    text = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{line} HTTP/1.1\r\n{text}\r\n".encode()


def _proxy_login(netloc: str) -> list[tuple[str, str]]:
    login, found, _ = netloc.rpartition("@")
    if not found:
        return []
    user, _, password = login.partition(":")
    pair = f"{unquote(user)}:{unquote(password)}".encode()
    return [("Proxy-Authorization", f"Basic {base64.b64encode(pair).decode()}")]


async def _streams(
    names: Names, host: str, port: int, context: ssl.SSLContext | None, name: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    # From here on the socket is asyncio's, which also closes it when TLS fails.
    return await asyncio.open_connection(
        sock=await dial(host, port, names), ssl=context, server_hostname=name if context is not None else None,
        limit=CHUNK_BYTES,
    )  # fmt: skip
