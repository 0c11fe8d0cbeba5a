"""Single requests to one API server: authorisation, TLS, proxy, and every failure as a typed error.

Web sockets (a shell, a port-forward) are aiohttp's, which is imported when the first one is wanted: it costs 190 ms.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from nimify_tui import __version__
from nimify_tui.backends.kubernetes.credentials import Credentials, Identity
from nimify_tui.backends.kubernetes.errors import (
    BadAnswer,
    Cause,
    TlsFailed,
    Unauthorized,
    Unreachable,
    answer_behind,
    from_status,
    said_by,
)
from nimify_tui.backends.kubernetes.http1 import NotHttp, Reply
from nimify_tui.backends.kubernetes.place import ClusterPlace
from nimify_tui.backends.kubernetes.proxies import proxy_for
from nimify_tui.backends.kubernetes.tls import context_for, watchful_socket
from nimify_tui.backends.kubernetes.transport import ProxyRefused, Server, Transport
from nimify_tui.base.errors import ConfigurationError, InternalError, NimifyError

if TYPE_CHECKING:
    import aiohttp

USER_AGENT = f"nimify-tui/{__version__}"
#: Of an error's body so much is read (the server's own are below 10 kB), and for so long, seconds.
_MAX_ERROR_BYTES, _ERROR_S = 256 * 1024, 10.0
#: A message of a web socket is at most so long; the server's are 32 kB.
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: A web socket is open within this time, its container's node included, seconds.
SOCKET_OPEN_S = 30.0


@dataclass
class Sent:
    """Whether a request may have reached the server: set when its head is given to the socket."""

    yes: bool = False


class Caller:
    """Requests to one server with one pool of connections. For one event loop, between open and close."""

    def __init__(self, place: ClusterPlace, credentials: Credentials, connect_timeout_s: float = 5.0) -> None:
        self._place = place
        self._credentials = credentials
        self._connect_timeout_s = connect_timeout_s
        self._transport: Transport | None = None
        self._sockets: aiohttp.ClientSession | None = None
        self._proxy = ""
        self._tls: tuple[tuple[bytes, bytes], ssl.SSLContext] | None = None
        self._tls_lock = asyncio.Lock()

    @property
    def place(self) -> ClusterPlace:
        """Where this one calls."""
        return self._place

    @property
    def transport(self) -> Transport | None:
        """The kept connections; None while this is not open."""
        return self._transport

    @property
    def client_certificate(self) -> bytes:
        """What this one showed of itself last (PEM), b"" when it showed none."""
        return self._tls[0][0] if self._tls is not None else b""

    async def open(self) -> None:
        """Make ready; nothing is connected yet. Raises ConfigurationError for unusable addresses or proxies."""
        if self._transport is not None:
            return
        place = self._place
        self._proxy = proxy_for(place.server, place.proxy, os.environ)
        self._transport = Transport(server_of(place, self._proxy), self._connect_timeout_s)

    async def close(self) -> None:
        """End every request and connection."""
        transport, self._transport = self._transport, None
        sockets, self._sockets = self._sockets, None
        if transport is not None:
            transport.close()
        if sockets is not None:
            await sockets.close()

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        body: bytes | None = None,
        read_timeout_s: float = 30.0,
        sent: Sent | None = None,
    ) -> Reply:
        """The open 2xx answer; the caller closes it.

        After a 401 it is sent once more if other credentials can be had (a 401 means that nothing was done).
        With a ``body`` a new connection is used: a kept one may be half dead, and then nobody knows what arrived.
        Raises the errors of nimify_tui.backends.kubernetes.errors.
        """
        identity = await self._credentials.identity()
        for attempt in (1, 2):
            try:
                return await self._once(method, path, query, headers, body, read_timeout_s, sent, identity)
            except Unauthorized as error:
                behind = error.behind is not None  # what is behind the server's proxy refuses, not it
                if behind or attempt == 2 or (other := await self._credentials.renew(identity)) is identity:
                    raise
                identity = other
                if sent is not None:
                    sent.yes = False
        raise InternalError("unreachable")  # the second attempt returns or raises

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
        read_timeout_s: float,
        sent: Sent | None,
        identity: Identity,
    ) -> Reply:
        if self._transport is None:
            raise InternalError(f"the connection to {self._place.server} is not open")

        def head_sent() -> None:
            if sent is not None:
                sent.yes = True

        try:
            reply = await self._transport.request(
                method,
                _target(self._place.server, path, list(query.items())),
                [("User-Agent", USER_AGENT), *headers.items(), *identity.headers().items(), *self._impersonation()],
                await self._context(identity),
                body=body,
                read_timeout_s=read_timeout_s,
                on_sent=head_sent,
            )
        except (OSError, ValueError, NotHttp, ProxyRefused) as error:
            raise _known(error, self._place.server) from error
        try:
            await self._check(reply, method, path, headers, identity)
        except BaseException:
            reply.close()
            raise
        return reply

    async def websocket(
        self, path: str, query: Sequence[tuple[str, str]], protocol: str
    ) -> aiohttp.ClientWebSocketResponse:
        """An open web socket that speaks ``protocol``; the caller closes it. Never made twice but after a 401.

        A refusal has no words of the server's own here, only its status. Raises as :meth:`request` does.
        """
        identity = await self._credentials.identity()
        for attempt in (1, 2):
            try:
                return await self._socket(path, query, protocol, identity)
            except Unauthorized:
                if attempt == 2 or (other := await self._credentials.renew(identity)) is identity:
                    raise
                identity = other
        raise InternalError("unreachable")  # the second attempt returns or raises

    async def _socket(
        self, path: str, query: Sequence[tuple[str, str]], protocol: str, identity: Identity
    ) -> aiohttp.ClientWebSocketResponse:
        import aiohttp
        from yarl import URL

        server = self._place.server
        parts = urlsplit(server)
        if self._transport is None:
            raise InternalError(f"the connection to {server} is not open")
        if self._sockets is None:
            self._sockets = _socket_session()
        try:
            async with asyncio.timeout(SOCKET_OPEN_S):
                socket = await self._sockets.ws_connect(
                    URL(f"{parts.scheme}://{parts.netloc}{_target(server, path, query)}", encoded=True),
                    protocols=(protocol,),
                    headers=[*identity.headers().items(), *self._impersonation()],
                    proxy=self._proxy or None,
                    ssl=await self._context(identity) or True,
                    server_hostname=self._place.tls_server_name or None,
                    max_msg_size=_MAX_MESSAGE_BYTES,
                )
        except aiohttp.WSServerHandshakeError as error:
            raise from_status(error.status, b"", what=f"GET {path}") from None
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            raise _known_of_aiohttp(error, self._place.server) from cause_without_secrets(error)
        if socket.protocol != protocol:
            await socket.close()
            raise BadAnswer(
                f"{self._place.server} does not speak {protocol}", "it is older than Kubernetes 1.30, or a proxy"
            )
        return socket

    async def _check(
        self,
        reply: Reply,
        method: str,
        path: str,
        headers: Mapping[str, str],
        identity: Identity,
    ) -> None:
        """Raises unless ``reply`` is what an API server says when all is well."""
        kind = reply.content_type
        wants_json = "json" in headers.get("Accept", "")
        if 200 <= reply.status < 300:
            if wants_json and "json" not in kind:
                raise BadAnswer(
                    f"{self._place.server} answers {said_by(kind, 40)} where JSON was asked for",
                    "a proxy or a login page stands in front of it, or the address is wrong",
                )
            return
        if 300 <= reply.status < 400:
            where = said_by(reply.headers.get("Location", ""), 120)
            raise BadAnswer(
                f"{self._place.server} sends us on to {where or 'nowhere'} (status {reply.status})",
                "credentials are not taken elsewhere; put the real address into the kubeconfig",
            )
        text = b""
        try:
            async with asyncio.timeout(_ERROR_S):
                text = identity.scrub(await _bounded(reply, _MAX_ERROR_BYTES))
        except BaseException as error:
            if translated(error, self._place.server) is None:
                raise
        after = reply.headers.get("Retry-After", "")
        said = from_status(
            reply.status, text if "json" in kind else b"", retry_after=after, what=f"{method} {path}",
            foreign="json" not in kind and "audit-id" not in reply.headers,
        )  # fmt: skip
        said.behind = answer_behind(reply.status, text, after) if "/proxy" in path else None
        raise said

    def _impersonation(self) -> list[tuple[str, str]]:
        login = self._place.login
        if not login.impersonate:
            return []
        return [
            ("Impersonate-User", login.impersonate),
            *(("Impersonate-Group", g) for g in login.impersonate_groups),
        ]

    async def _context(self, identity: Identity) -> ssl.SSLContext | None:
        """One context for each certificate, so that the pool keeps the connections of a rotated one apart."""
        if not self._place.server.startswith("https://"):
            return None
        key = (identity.certificate_pem, identity.key_pem)
        async with self._tls_lock:  # a region's first requests come together
            if self._tls is None or self._tls[0] != key:
                self._tls = (key, await asyncio.to_thread(context_for, self._place, identity))
            return self._tls[1]


def _socket_session() -> aiohttp.ClientSession:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0, socket_factory=watchful_socket, force_close=True)
    return aiohttp.ClientSession(
        connector=connector,
        headers={"User-Agent": USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # it would also read ~/.netrc
    )


async def _bounded(reply: Reply, limit_bytes: int) -> bytes:
    """The body up to its end or to the limit: one read gives no more than what has come so far."""
    text = bytearray()
    async for chunk in reply.chunks():
        text += chunk
        if len(text) >= limit_bytes:
            reply.close()
            break
    return bytes(text[:limit_bytes])


def translated(error: BaseException, address: str) -> NimifyError | None:
    """The typed error for what the transport or the system raised; None for what is none of theirs (a cancel)."""
    return _known(error, address) if isinstance(error, OSError | NotHttp | ProxyRefused) else None


def cause_without_secrets(error: BaseException) -> BaseException | None:
    """``error`` for ``raise ... from``, unless it carries the request with its Authorization header."""
    return None if hasattr(error, "request_info") else error


def _known(error: Exception, address: str) -> NimifyError:
    match error:
        case ssl.SSLError():
            return _tls_failed(error, address)
        case TimeoutError():
            return Unreachable(f"{address} does not answer", "check the network and the VPN", Cause.TIMEOUT)
        case socket.gaierror():
            return Unreachable(f"{address}: name not found", "check the name and the VPN", Cause.DNS)
        case ProxyRefused():
            return Unreachable(
                f"{address}: the proxy does not let us through", "check proxy-url and HTTPS_PROXY", Cause.PROXY
            )
        case NotHttp():
            return BadAnswer(
                f"{address} does not speak HTTP as an API server does", "check the port in the kubeconfig"
            )
        case OSError(errno=errno.ECONNREFUSED):
            return Unreachable(f"{address}: connection refused", "is the API server running?", Cause.REFUSED)
        case OSError(errno=errno.EHOSTUNREACH | errno.ENETUNREACH | errno.EHOSTDOWN):
            return Unreachable(f"{address}: no route", "check the network and the VPN", Cause.NO_ROUTE)
        case ValueError():
            return InternalError(f"a request to {address} could not be made")
        case _:
            remedy = "look at the server's log, and at proxies and load balancers in between"
            return Unreachable(f"{address} broke off the connection", remedy, Cause.BROKEN_OFF)


def _known_of_aiohttp(error: Exception, address: str) -> NimifyError:
    """The same for what web sockets meet."""
    import aiohttp

    match error:
        case aiohttp.ClientSSLError():
            return _tls_failed(error, address)
        case aiohttp.ClientHttpProxyError() | aiohttp.ClientProxyConnectionError():
            return _known(ProxyRefused(), address)
        case aiohttp.ClientConnectorDNSError():
            return _known(socket.gaierror(), address)
        case aiohttp.ClientResponseError():
            return _known(NotHttp(), address)
        case _:
            return _known(error, address)


def _tls_failed(error: Exception, address: str) -> TlsFailed:
    inner: BaseException | None = (
        getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    )
    if isinstance(inner, ssl.SSLCertVerificationError):
        why = said_by(inner.verify_message, 160)
        remedy = (
            "check certificate-authority and tls-server-name in the kubeconfig; somebody may sit in between"
        )
        if "expired" in why:
            remedy = "its certificate must be renewed (or this machine's clock is wrong)"
        return TlsFailed(f"{address}: its certificate is not accepted: {why}", remedy)
    reason = said_by(str(getattr(inner, "reason", "") or ""), 80).replace("_", " ").lower()
    if "wrong version" in reason or "record layer" in reason:
        return TlsFailed(f"{address} does not speak TLS", "check scheme and port in the kubeconfig")
    return TlsFailed(
        f"{address}: TLS failed: {reason or 'no reason given'}", "check the client certificate and the server"
    )


def server_of(place: ClusterPlace, proxy: str) -> Server:
    """Where the requests to a cluster go. Raises ConfigurationError for what is no address."""
    parts = urlsplit(place.server)
    https = parts.scheme == "https"
    try:
        port = parts.port or (443 if https else 80)
        host = parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError):
        host, port = "", 0
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"{said_by(place.server, 120)} is no address", "correct server in the kubeconfig"
        )
    return Server(host, port, https, proxy, place.tls_server_name)


def _target(server: str, path: str, query: Sequence[tuple[str, str]]) -> str:
    """The path of a request with its query; a server may lie below a path of its own."""
    segments = path.split("/")
    if not path.startswith("/") or any(bad in path for bad in "?#\\") or {".", ".."} & set(segments):
        raise InternalError(f"{said_by(path, 120)} is no path of an API")
    below = quote(urlsplit(server).path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    words = urlencode(query, quote_via=quote, safe="/:,@")
    return below + quote(path, safe="/:@!$&'()*+,;=~") + (f"?{words}" if words else "")
