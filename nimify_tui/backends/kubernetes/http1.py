"""One HTTP/1.1 answer on one connection, read as it comes. The parser is httptools (llhttp)."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import httptools

#: So much is read at once, and unpacked at once, bytes.
CHUNK_BYTES, UNPACKED_BYTES = 256 * 1024, 4 * 1024 * 1024
#: The server's own headers are below 2 kB.
_HEAD_BYTES = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS


class NotHttp(Exception):
    """What came is no HTTP/1.1 answer."""


class Headers(Mapping[str, str]):
    """Header names in any case; of a repeated header the last value counts."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def add(self, name: str, value: str) -> None:
        """One more."""
        self._values[name.lower()] = value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Parsed:
    """What httptools tells of one answer (the methods ``on_...`` are its callbacks)."""

    def __init__(self) -> None:
        self.headers = Headers()
        self.status = 0
        self.head_done = False
        self.complete = False
        self.keep = False
        self.body: list[bytes] = []
        self._head_bytes = 0
        self.parser: Any = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        """The parser sees the begin of an answer."""
        if self.complete:
            raise NotHttp("something follows the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser sees a header."""
        if self.head_done:
            return  # a trailer: nobody asked for it
        self.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """The parser sees the end of the head."""
        self.status = self.parser.get_status_code()
        self.head_done = self.status >= 200

    def on_body(self, data: bytes) -> None:
        """The parser sees a piece of the body."""
        self.body.append(data)

    def on_message_complete(self) -> None:
        """The parser sees the end of the answer."""
        if not self.head_done:  # 100 Continue and such: the answer itself follows
            self.headers = Headers()
            return
        self.complete = True
        # The parser knows it in this moment only: afterwards it waits for the next message.
        self.keep = bool(self.parser.should_keep_alive())

    def feed(self, data: bytes) -> None:
        """Take what came. Raises NotHttp."""
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                raise NotHttp("no HTTP/1.1") from error
            self.keep = False  # the answer is whole; what follows it is nobody's
        if not self.head_done:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                raise NotHttp("the answer's head is too long")

    def end(self) -> None:
        """The connection has ended. Raises ConnectionResetError unless that is how this answer ends."""
        bounded = "content-length" in self.headers or "transfer-encoding" in self.headers
        if not self.head_done or bounded:
            raise ConnectionResetError("the peer closed the connection")
        self.complete = True


class Reply:
    """An answer whose head is read. Its body is read once; :meth:`close` it, also when it was not read to its end."""

    def __init__(
        self, line: Line, parsed: Parsed, read_timeout_s: float, done: Callable[[Line, bool], None]
    ) -> None:
        self.status: int = parsed.status
        self.headers: Mapping[str, str] = parsed.headers
        self._line, self._parsed, self._read_timeout_s, self._done = line, parsed, read_timeout_s, done
        packed = parsed.headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip")
        self._unpack = zlib.decompressobj(_GZIP) if packed else None
        self._begun = self._closed = False

    @property
    def content_type(self) -> str:
        """The media type without its parameters, "" for none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, unpacked.

        Raises TimeoutError when nothing comes for ``read_timeout_s``, OSError when the line breaks before the end,
        NotHttp for what cannot be unpacked.
        """
        parsed = self._parsed
        while True:
            for data in parsed.body:
                for each in self._unpacked(data):
                    yield each
            parsed.body.clear()
            if parsed.complete:
                if self._begun and self._unpack is not None and not self._unpack.eof:
                    raise NotHttp("the packed body is cut")
                self.close()
                return
            await self._line.feed(parsed, self._read_timeout_s)

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        self._begun = True
        if self._unpack is None:
            yield data
            return
        try:
            while data:
                yield self._unpack.decompress(data, UNPACKED_BYTES)
                data = self._unpack.unconsumed_tail
        except zlib.error as error:
            raise NotHttp("the body cannot be unpacked") from error

    async def read(self) -> bytes:
        """The whole body. Raises as :meth:`chunks`."""
        return b"".join([each async for each in self.chunks()])

    def close(self) -> None:
        """Give the connection back, or end it when the answer is not read to its end."""
        if self._closed:
            return
        self._closed = True
        parsed = self._parsed
        parsed.parser = None  # the two hold each other
        self._done(self._line, parsed.complete and parsed.keep)


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.expiry: asyncio.TimerHandle | None = None

    @property
    def sound(self) -> bool:
        """False when the other side has ended it, or has sent what nobody asked for."""
        unasked = self._reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001 - no public way to ask for it
        return not (unasked or self._reader.at_eof() or self._writer.is_closing())

    @property
    def socket(self) -> Any:
        """The TCP socket, for looking at its options."""
        return self._writer.get_extra_info("socket")

    @property
    def certificate(self) -> bytes | None:
        """What the server showed (DER), None without TLS."""
        tls = self._writer.get_extra_info("ssl_object")
        return tls.getpeercert(binary_form=True) if tls is not None else None

    async def send(self, data: bytes, timeout_s: float) -> None:
        """Give bytes to the socket. Raises OSError, TimeoutError when it takes none for so long."""
        async with asyncio.timeout(timeout_s):
            self._writer.write(data)
            await self._writer.drain()

    async def feed(self, parsed: Parsed, timeout_s: float) -> bool:
        """Read some more of an answer; True when something came. Raises as the parser, OSError, TimeoutError."""
        async with asyncio.timeout(timeout_s):
            data = await self._reader.read(CHUNK_BYTES)
        if data:
            parsed.feed(data)
        else:
            parsed.end()
        return bool(data)

    def abort(self) -> None:
        """End it at once."""
        if self.expiry is not None:
            self.expiry.cancel()
        self._writer.transport.abort()
