"""One Docker engine: bounded reads and streams over a pool of its own, with typed errors; changes with a permit.

Plain requests rather than the official client: its calls block a thread each, so an engine that hangs would hold
threads for good, and thirty streams of statistics would be thirty threads. Lives on the fleet's asyncio loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from nimify_tui import __version__
from nimify_tui.backends.docker.errors import (
    BadAnswer,
    EngineRefused,
    from_status,
    known,
    silent,
    unknown_outcome,
)
from nimify_tui.backends.docker.leave import Leave
from nimify_tui.backends.docker.place import EnginePlace, Way
from nimify_tui.backends.docker.ssh import SshTunnel
from nimify_tui.backends.docker.taps import Tap
from nimify_tui.backends.docker.tls import context_of
from nimify_tui.backends.once import once
from nimify_tui.base.errors import InternalError, NimifyError
from nimify_tui.domain.plans import Permit, Plan

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
Verify = Callable[[Permit, Plan], None]
#: The newest API that is spoken here, and the one of Docker 20.10.
NEWEST, OLDEST = (1, 47), (1, 41)
#: A list of 1,000 containers is some 2 MB.
LIMIT_BYTES = 32 * 1024 * 1024
_ERROR_BYTES = 64 * 1024
#: An answer comes within milliseconds; seconds.
READ_S = 10.0
CONNECT_S = 5.0
#: What a stop waits for its container comes on top, seconds.
CHANGE_S = 30.0


@dataclass
class _Sent:
    """Whether a request may have reached the engine."""

    yes: bool = False


class _Version(msgspec.Struct):
    ApiVersion: str = ""
    MinAPIVersion: str = ""
    Version: str = ""


class Connection:
    """One engine. Make it anywhere, :meth:`open` it on the loop that uses it."""

    def __init__(self, place: EnginePlace) -> None:
        self.place = place
        self.address = place.address
        self.is_open = False
        #: What the engine says that it is ("20.10.24"), "" before the first contact.
        self.engine_version = ""
        self._prefix = ""
        self._base = ""
        #: Where its connections go: a socket ("": host and port), and with which TLS.
        self._path = ""
        self._tls: ssl.SSLContext | None = None
        self._ssh: SshTunnel | None = None
        self._reads: aiohttp.ClientSession | None = None
        self._writes: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the pools ready; asks the engine nothing yet. Raises ConfigurationError."""
        await asyncio.to_thread(_import_aiohttp)
        place, self._path, self._tls = self.place, self.place.path, None
        if place.way is Way.SSH:
            self._ssh = SshTunnel(place)
            self._path = await self._ssh.open()
        elif place.way is Way.TLS:
            self._tls = await asyncio.to_thread(context_of, place)
        host = f"[{place.host}]" if ":" in place.host else place.host
        self._base = {Way.TLS: f"https://{host}:{place.port}", Way.PLAIN: f"http://{host}:{place.port}"}.get(
            place.way, "http://engine"
        )
        self._reads, self._writes = (self._session(keep=keep) for keep in (True, False))
        self.is_open = True

    async def close(self) -> None:
        """End all requests and connections."""
        self.is_open = False
        sessions, self._reads, self._writes = (self._reads, self._writes), None, None
        for session in sessions:
            if session is not None:
                await session.close()
        if self._ssh is not None:
            await self._ssh.close()
            self._ssh = None

    async def hello(self) -> None:
        """Agree on a version of the API. Raises as :meth:`get` does, BadAnswer for an engine that is too old."""
        said = _decoded(await self._read("/version", {}, READ_S, LIMIT_BYTES), _Version, self.place)
        theirs, least = _number(said.ApiVersion), _number(said.MinAPIVersion)
        if theirs < OLDEST or least > NEWEST:
            raise BadAnswer(
                f"the engine at {self.address} speaks API {said.ApiVersion[:12]!r}, this version {_text(OLDEST)} to"
                f" {_text(NEWEST)}",
                "update the engine (Docker 20.10 or newer, Podman 4 or newer)",
            )
        self._prefix = f"/v{_text(min(theirs, NEWEST))}"
        self.engine_version = said.Version[:40]

    async def ping(self, timeout_s: float) -> None:
        """Whether the engine answers at all, within ``timeout_s`` seconds. Raises as :meth:`get` does."""
        await self._read("/_ping", {}, timeout_s, 4096)

    async def get(self, path: str, kind: type[T], query: Mapping[str, str] | None = None) -> T:
        """``await connection.get("/containers/json", list[Listed], {"all": "true"})``.

        Raises NoEngine, AccessDenied, EngineSilent, BrokenOff, TlsFailed, EngineRefused (NotThere) and BadAnswer.
        """
        data = await self._read(self._prefix + path, query or {}, READ_S, LIMIT_BYTES)
        return _decoded(data, kind, self.place)

    async def read(
        self, path: str, query: Mapping[str, str] | None = None, limit_bytes: int = LIMIT_BYTES
    ) -> bytes:
        """A whole answer as it is. Raises like :meth:`get`."""
        return await self._read(self._prefix + path, query or {}, READ_S, limit_bytes)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str] | None = None, read_timeout_s: float | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Pieces as they come. ``read_timeout_s`` None: silence is nothing to worry about. Raises like :meth:`get`."""
        reply = await self._ask("GET", self._prefix + path, query or {}, read_timeout_s, CONNECT_S + READ_S)
        try:
            yield self._pieces(reply, read_timeout_s or READ_S)
        finally:
            reply.close()

    async def tap(self, path: str, query: Mapping[str, str]) -> Tap:
        """A stream that is looked into now and then; the caller closes it. Raises like :meth:`get`."""
        reply = await self._ask("GET", self._prefix + path, query, None, CONNECT_S + READ_S)
        return Tap(reply, lambda error: known(error, self.place, READ_S, self._said))

    async def change(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        what: str,
        permit: Permit,
        plan: Plan,
        verify: Verify,
        body: Mapping[str, Any] | None = None,
        deadline_s: float = CHANGE_S,
    ) -> bytes:
        """Change something, once. ``what`` says it in words for errors ("restart of web-1").

        Raises GateRefused, EngineRefused when the engine said no, NoEngine and such when nothing was sent, and
        OutcomeUnknown when it was sent and its end is not known.
        """
        verify(permit, plan)
        if self._writes is None:
            raise InternalError(f"the connection to {self.address} is not open")
        sent = _Sent()
        try:
            async with asyncio.timeout(deadline_s):
                reply = await self._request(
                    self._writes, method, self._prefix + path, query, None, sent,
                    msgspec.json.encode(body) if body is not None else None, what,
                )  # fmt: skip
                try:
                    return await _bounded(reply, LIMIT_BYTES)
                finally:
                    reply.close()
        except EngineRefused:
            raise
        except NimifyError as error:
            if sent.yes:
                raise unknown_outcome(error, what) from error
            raise
        except BaseException as error:
            if (found := known(error, self.place, deadline_s, self._said)) is None:
                raise
            raise (unknown_outcome(found, what) if sent.yes else found) from error

    @contextlib.asynccontextmanager
    async def changing(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        what: str,
        leave: Leave,
        data: bytes | AsyncIterator[bytes] | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        read_timeout_s: float = CHANGE_S,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """A change whose answer comes in pieces while it is made (build, pull, exec); leaving early calls it off.

        ``read_timeout_s`` is the longest silence. Raises as :meth:`change` does; what breaks off in the middle is
        OutcomeUnknown.
        """
        leave.verify(leave.permit, leave.plan)
        if self._writes is None:
            raise InternalError(f"the connection to {self.address} is not open")
        sent = _Sent()
        given = {**({"Content-Type": content_type} if data is not None else {}), **(headers or {})}
        try:
            reply = await self._request(
                self._writes, method, self._prefix + path, query, read_timeout_s, sent, data, what, given
            )
        except EngineRefused:
            raise
        except NimifyError as error:
            raise (unknown_outcome(error, what) if sent.yes else error) from error
        try:
            yield self._changed_pieces(reply, read_timeout_s, what)
        finally:
            reply.close()

    async def _changed_pieces(
        self, reply: aiohttp.ClientResponse, timeout_s: float, what: str
    ) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces(reply, timeout_s):
                yield piece
        except NimifyError as error:
            raise unknown_outcome(error, what) from error

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection beside the pools', for a request that becomes the connection itself. Raises OSError."""
        if not self.is_open:
            raise InternalError(f"the connection to {self.address} is not open")
        if self._path:
            return await asyncio.open_unix_connection(self._path)
        return await asyncio.open_connection(self.place.host, self.place.port, ssl=self._tls)

    def target(self, path: str) -> str:
        """``path`` in the version of the API that was agreed on."""
        return self._prefix + path

    def typed(self, error: BaseException, timeout_s: float) -> NimifyError | None:
        """The typed error for what went wrong on a connection from :meth:`dial`; None for what is none of it."""
        return known(error, self.place, timeout_s, self._said)

    # -- requests ------------------------------------------------------------------------

    async def _read(self, path: str, query: Mapping[str, str], timeout_s: float, limit_bytes: int) -> bytes:
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._ask("GET", path, query, None, timeout_s)
                try:
                    body = await _bounded(reply, limit_bytes + 1)
                finally:
                    reply.release() if reply.content.at_eof() else reply.close()
        except TimeoutError as error:
            raise silent(self.place, timeout_s) from error
        except NimifyError:
            raise
        except BaseException as error:
            if (found := known(error, self.place, timeout_s, self._said)) is None:
                raise
            raise found from error
        if len(body) > limit_bytes:
            raise BadAnswer(f"the engine at {self.address} answers with more than {limit_bytes} bytes")
        return body

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str], read_timeout_s: float | None, first_s: float
    ) -> aiohttp.ClientResponse:
        if self._reads is None:
            raise InternalError(f"the connection to {self.address} is not open")
        try:
            async with asyncio.timeout(first_s):
                return await self._request(
                    self._reads, method, path, query, read_timeout_s, None, None, f"GET {path}"
                )
        except TimeoutError as error:
            raise silent(self.place, first_s) from error

    async def _request(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        query: Mapping[str, str],
        read_timeout_s: float | None,
        sent: _Sent | None,
        body: bytes | AsyncIterator[bytes] | None,
        what: str,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """The open good answer; the caller closes it."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=read_timeout_s)
        if headers is None:
            headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            reply = await session.request(
                method, self._base + path, params=dict(query), headers=headers, data=body, allow_redirects=False,
                timeout=timeout, trace_request_ctx=sent,
            )  # fmt: skip
        except BaseException as error:
            if (found := known(error, self.place, CONNECT_S, self._said)) is None:
                raise
            raise found from error
        if 200 <= reply.status < 300 or reply.status == 304:  # 304: it is so already
            return reply
        try:
            text = await _bounded(reply, _ERROR_BYTES)
        finally:
            reply.close()
        raise from_status(reply.status, text, what)

    async def _pieces(self, reply: aiohttp.ClientResponse, timeout_s: float) -> AsyncIterator[bytes]:
        try:
            async for piece in reply.content.iter_any():
                yield piece
        except BaseException as error:
            if (found := known(error, self.place, timeout_s, self._said)) is None:
                raise
            raise found from error

    @property
    def _said(self) -> str:
        return self._ssh.said if self._ssh is not None else ""

    def _session(self, *, keep: bool) -> aiohttp.ClientSession:
        import aiohttp

        async def head_sent(_session: object, request: object, _params: object) -> None:
            mark = getattr(request, "trace_request_ctx", None)
            if isinstance(mark, _Sent):
                mark.yes = True

        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(head_sent)
        connector: aiohttp.BaseConnector
        if self._path:
            connector = aiohttp.UnixConnector(self._path, limit=0, force_close=not keep)
        else:
            connector = aiohttp.TCPConnector(
                limit=0, force_close=not keep, ssl=self._tls if self._tls is not None else True
            )
        return aiohttp.ClientSession(
            connector=connector, headers={"User-Agent": f"nimify-tui/{__version__}"},
            cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, trace_configs=[trace],
            middlewares=() if keep else (once,), read_bufsize=256 * 1024,
        )  # fmt: skip


def _decoded(data: bytes, kind: type[T], place: EnginePlace) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise BadAnswer(
            f"what {place.address} answers is not what a Docker engine answers", "check the region's url"
        ) from error


def _number(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)


def _text(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"


async def _bounded(reply: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    body = bytearray()
    async for piece in reply.content.iter_any():
        body += piece
        if len(body) >= limit_bytes:
            break
    return bytes(body[:limit_bytes])


def _import_aiohttp() -> None:
    import aiohttp

    del aiohttp
