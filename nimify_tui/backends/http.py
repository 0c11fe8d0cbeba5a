"""A small HTTP/1.1 client for this machine: one deadline for the whole exchange, a hard size limit, keep-alive.

For replicas' metrics, health and inference on the loopback. No TLS, no redirects, no proxies, no
cookies; what is not plain HTTP/1.1 is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httptools

from nimify_tui import __version__
from nimify_tui.base.errors import DeadlineError, NetworkError, ValidationError

#: Metrics of a replica are some 20 kB; nothing that a screen shows is near this.
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024
_USER_AGENT = f"nimify-tui/{__version__}"


@dataclass(frozen=True)
class HttpReply:
    """What came back. Header names are lower-case; of a repeated header the last value counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class _Reading:
    """Callbacks of httptools."""

    max_bytes: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    header_bytes: int = 0
    complete: bool = False
    keep_alive: bool = False
    parser: Any = None

    def on_header(self, name: bytes, value: bytes) -> None:
        self.header_bytes += len(name) + len(value)
        if self.header_bytes > MAX_HEADER_BYTES:
            raise NetworkError(f"the answer's header is larger than {MAX_HEADER_BYTES} bytes")
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        if len(self.body) + len(data) > self.max_bytes:
            raise NetworkError(f"the answer is larger than {self.max_bytes} bytes")
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True
        # The parser knows it in this moment only: afterwards it waits for the next message.
        self.keep_alive = bool(self.parser.should_keep_alive())


class HttpClient:
    """Requests with kept connections, at most ``max_idle`` of them. For one event loop.

    ``async with HttpClient() as client: reply = await client.get(url)``.
    """

    def __init__(self, max_idle: int = 256) -> None:
        self._max_idle = max_idle
        self._idle: dict[tuple[str, int], list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every kept connection."""
        for kept in self._idle.values():
            for _, writer in kept:
                writer.close()
        self._idle.clear()

    async def get(
        self,
        url: str,
        *,
        timeout_s: float = 2.0,
        max_bytes: int = MAX_BODY_BYTES,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """GET ``url``. Raises like :meth:`request`."""
        return await self.request("GET", url, timeout_s=timeout_s, max_bytes=max_bytes, headers=headers)

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        timeout_s: float = 10.0,
        max_bytes: int = MAX_BODY_BYTES,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """POST ``body``. Raises like :meth:`request`; it is never sent twice."""
        return await self.request(
            "POST", url, body=body, timeout_s=timeout_s, max_bytes=max_bytes, headers=headers
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        timeout_s: float,
        max_bytes: int = MAX_BODY_BYTES,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """One exchange within ``timeout_s`` seconds; any status is an answer, not an error.

        Raises DeadlineError when time runs out, NetworkError when the peer cannot be reached, breaks
        off, sends no HTTP or too much, ValidationError for a URL that is not plain ``http://``.
        """
        place, head = _head(method, url, body, headers or {})
        address = f"{place[0]}:{place[1]}"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(place, head + body, method, max_bytes)
        except TimeoutError as error:
            raise DeadlineError(f"{address} did not answer within {timeout_s:g} s") from error
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            text = "connection refused" if isinstance(error, ConnectionRefusedError) else "connection broken off"
            raise NetworkError(f"{address}: {text}") from error
        except OSError as error:
            raise NetworkError(f"{address}: {error.strerror or error}") from error

    async def _exchange(
        self, place: tuple[str, int], request: bytes, method: str, max_bytes: int
    ) -> HttpReply:
        kept = self._idle.get(place)
        while kept:
            reader, writer = kept.pop()
            if reader.at_eof() or writer.is_closing():
                writer.close()
                continue
            if method != "GET":  # only what may be repeated goes over a connection that may be half dead
                writer.close()
                continue
            try:
                return await self._ask(place, reader, writer, request, method, max_bytes)
            except ConnectionError:
                break
        reader, writer = await asyncio.open_connection(*place)
        return await self._ask(place, reader, writer, request, method, max_bytes)

    async def _ask(
        self,
        place: tuple[str, int],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: bytes,
        method: str,
        max_bytes: int,
    ) -> HttpReply:
        keep = False
        try:
            writer.write(request)
            await writer.drain()
            reading = _Reading(max_bytes)
            reading.parser = httptools.HttpResponseParser(reading)
            await _read(reader, reading)
            keep = reading.keep_alive and method == "GET"
            status = int(reading.parser.get_status_code())
            reading.parser = None  # the two hold each other
            return HttpReply(status, reading.headers, bytes(reading.body))
        finally:
            if keep and sum(map(len, self._idle.values())) < self._max_idle:
                self._idle.setdefault(place, []).append((reader, writer))
            else:
                writer.close()


async def _read(reader: asyncio.StreamReader, reading: _Reading) -> None:
    while not reading.complete:
        data = await reader.read(_CHUNK_BYTES)
        if not data:
            ends_here = "content-length" not in reading.headers and "transfer-encoding" not in reading.headers
            if reading.headers and ends_here:
                return  # a body that the end of the connection ends (HTTP/1.0)
            raise ConnectionResetError("the peer closed the connection")
        try:
            reading.parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, NetworkError):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            raise NetworkError("the peer does not speak HTTP") from error


def _head(
    method: str, url: str, body: bytes, headers: Mapping[str, str]
) -> tuple[tuple[str, int], bytes]:
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError as error:
        raise ValidationError(f"{url[:120]!r} has no valid port") from error
    if parts.scheme != "http" or not parts.hostname or "\r" in url or "\n" in url or " " in url:
        raise ValidationError(f"{url[:120]!r} is no plain http:// address")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", f"User-Agent: {_USER_AGENT}"]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    for name, value in headers.items():
        if any(char in name + value for char in "\r\n\0"):
            raise ValidationError(f"header {name[:40]!r} holds a line break")
        lines.append(f"{name}: {value}")
    return (parts.hostname, port), ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def fetch(
    url: str, *, timeout_s: float = 2.0, max_bytes: int = MAX_BODY_BYTES, headers: Mapping[str, str] | None = None
) -> HttpReply:
    """GET once over a connection of its own. Raises like :meth:`HttpClient.request`."""
    with contextlib.closing(HttpClient(max_idle=0)) as client:
        return await client.get(url, timeout_s=timeout_s, max_bytes=max_bytes, headers=headers)
