"""Single requests to one API server: authorisation, TLS, proxy, and every failure as a typed error.

aiohttp is imported when the region is opened, in a thread: it costs 170 ms and no first frame waits for it.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import importlib
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nimify_tui import __version__
from nimify_tui.backends.kubernetes.credentials import Credentials, Identity
from nimify_tui.backends.kubernetes.errors import (
    BadAnswer,
    Cause,
    TlsFailed,
    Unauthorized,
    Unreachable,
    from_status,
    said_by,
)
from nimify_tui.backends.kubernetes.names import OwnNames
from nimify_tui.backends.kubernetes.place import ClusterPlace
from nimify_tui.backends.kubernetes.proxies import proxy_for
from nimify_tui.backends.kubernetes.tls import context_for, watchful_socket
from nimify_tui.base.errors import ConfigurationError, InternalError, NimifyError

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

USER_AGENT = f"nimify-tui/{__version__}"
#: Of an error's body so much is read (the server's own are below 10 kB), and for so long, seconds.
_MAX_ERROR_BYTES, _ERROR_S = 256 * 1024, 10.0
#: A message of a web socket is at most so long; the server's are 32 kB.
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: A web socket is open within this time, its container's node included, seconds.
SOCKET_OPEN_S = 30.0
#: An API server closes idle connections after 90 s; ours go before, so none is used in its last moment.
_IDLE_S = 60.0


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
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self._names: OwnNames | None = None
        self._proxy = ""
        self._tls: tuple[tuple[bytes, bytes], ssl.SSLContext] | None = None

    @property
    def place(self) -> ClusterPlace:
        """Where this one calls."""
        return self._place

    async def open(self) -> None:
        """Make the pools ready. Raises ConfigurationError for unusable certificates or proxies."""
        if self._session is not None:
            return
        self._proxy = proxy_for(self._place.server, self._place.proxy, os.environ)
        await asyncio.to_thread(importlib.import_module, "aiohttp")
        names = self._names = OwnNames()
        self._session = self._new_session(names, keep=True)
        self._fresh = self._new_session(names, keep=False)

    async def close(self) -> None:
        """End every request and connection."""
        sessions, self._session, self._fresh = (self._session, self._fresh), None, None
        for session in sessions:
            if session is not None:
                await session.close()
        if self._names is not None:
            await self._names.close()

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
    ) -> aiohttp.ClientResponse:
        """The open 2xx answer; the caller releases or closes it.

        After a 401 it is sent once more if other credentials can be had (a 401 means that nothing was done).
        With a ``body`` a new connection is used: a kept one may be half dead, and then nobody knows what arrived.
        Raises the errors of nimify_tui.backends.kubernetes.errors.
        """
        identity = await self._credentials.identity()
        for attempt in (1, 2):
            try:
                return await self._once(method, path, query, headers, body, read_timeout_s, sent, identity)
            except Unauthorized:
                if attempt == 2 or (other := await self._credentials.renew(identity)) is identity:
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
    ) -> aiohttp.ClientResponse:
        import aiohttp

        session = self._session if body is None else self._fresh
        if session is None:
            raise InternalError(f"the connection to {self._place.server} is not open")
        timeout = aiohttp.ClientTimeout(
            total=None,
            connect=2 * self._connect_timeout_s,
            sock_connect=self._connect_timeout_s,
            sock_read=read_timeout_s,
        )
        try:
            reply = await session.request(
                method,
                _url(self._place.server, path, query),
                headers=[*headers.items(), *identity.headers().items(), *self._impersonation()],
                data=body,
                allow_redirects=False,
                proxy=self._proxy or None,
                ssl=await self._context(identity),
                server_hostname=self._place.tls_server_name or None,
                timeout=timeout,
                trace_request_ctx=sent,
            )
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            raise _known(error, self._place.server) from cause_without_secrets(error)
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

        if self._fresh is None:
            raise InternalError(f"the connection to {self._place.server} is not open")
        try:
            socket = await asyncio.wait_for(
                self._fresh.ws_connect(
                    _url(self._place.server, path, {}).with_query(list(query)),
                    protocols=(protocol,),
                    headers=[*identity.headers().items(), *self._impersonation()],
                    proxy=self._proxy or None,
                    ssl=await self._context(identity),
                    server_hostname=self._place.tls_server_name or None,
                    max_msg_size=_MAX_MESSAGE_BYTES,
                ),
                SOCKET_OPEN_S,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise from_status(error.status, b"", what=f"GET {path}") from None
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            raise _known(error, self._place.server) from cause_without_secrets(error)
        if socket.protocol != protocol:
            await socket.close()
            raise BadAnswer(
                f"{self._place.server} does not speak {protocol}", "it is older than Kubernetes 1.30, or a proxy"
            )
        return socket

    async def _check(
        self,
        reply: aiohttp.ClientResponse,
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
        raise from_status(
            reply.status,
            text if "json" in kind else b"",
            retry_after=reply.headers.get("Retry-After", ""),
            what=f"{method} {path}",
            foreign="json" not in kind and "audit-id" not in reply.headers,
        )

    def _impersonation(self) -> list[tuple[str, str]]:
        login = self._place.login
        if not login.impersonate:
            return []
        return [
            ("Impersonate-User", login.impersonate),
            *(("Impersonate-Group", g) for g in login.impersonate_groups),
        ]

    async def _context(self, identity: Identity) -> ssl.SSLContext | bool:
        """One context for each certificate, so that the pool keeps the connections of a rotated one apart."""
        if not self._place.server.startswith("https://"):
            return True
        key = (identity.certificate_pem, identity.key_pem)
        if self._tls is None or self._tls[0] != key:
            self._tls = (key, await asyncio.to_thread(context_for, self._place, identity))
        return self._tls[1]

    def _new_session(self, names: OwnNames, *, keep: bool) -> aiohttp.ClientSession:
        import aiohttp

        async def head_sent(_session: object, context: object, _params: object) -> None:
            sent = getattr(context, "trace_request_ctx", None)
            if isinstance(sent, Sent):
                sent.yes = True

        async def once(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            # aiohttp sends a DELETE again when the line breaks before the answer, unless it is another error.
            try:
                return await handler(request)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                raise
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                raise aiohttp.ClientConnectionError("broken off") from error

        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(head_sent)
        made = functools.partial(aiohttp.TCPConnector, limit=0, socket_factory=watchful_socket, resolver=names)
        connector = made(keepalive_timeout=_IDLE_S) if keep else made(force_close=True)
        return aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # it would also read ~/.netrc
            trace_configs=[trace],
            middlewares=() if keep else (once,),
            read_bufsize=256 * 1024,
        )


async def _bounded(reply: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """The body up to its end or to the limit: one read gives no more than what has come so far."""
    text = bytearray()
    async for chunk in reply.content.iter_any():
        text += chunk
        if len(text) >= limit_bytes:
            reply.close()
            break
    return bytes(text[:limit_bytes])


def translated(error: BaseException, address: str) -> NimifyError | None:
    """The typed error for what aiohttp or the system raised; None for what is none of theirs (a cancel, a bug)."""
    import aiohttp

    if isinstance(error, NimifyError) or not isinstance(error, aiohttp.ClientError | OSError | TimeoutError):
        return None
    return _known(error, address)


def cause_without_secrets(error: BaseException) -> BaseException | None:
    """``error`` for ``raise ... from``, unless it carries the request with its Authorization header."""
    return None if hasattr(error, "request_info") else error


def _known(error: Exception, address: str) -> NimifyError:
    import aiohttp

    if isinstance(error, aiohttp.InvalidURL):
        return ConfigurationError(
            f"{said_by(address, 120)} is no address", "correct server in the kubeconfig"
        )
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return _tls_failed(error, address)
    if isinstance(error, TimeoutError):
        return Unreachable(f"{address} does not answer", "check the network and the VPN", Cause.TIMEOUT)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unreachable(f"{address}: name not found", "check the name and the VPN", Cause.DNS)
    if isinstance(error, aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError):
        return Unreachable(
            f"{address}: the proxy does not let us through", "check proxy-url and HTTPS_PROXY", Cause.PROXY
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return BadAnswer(
            f"{address} does not speak HTTP as an API server does", "check the port in the kubeconfig"
        )
    if isinstance(error, OSError):
        number = error.errno
        if number == errno.ECONNREFUSED:
            return Unreachable(f"{address}: connection refused", "is the API server running?", Cause.REFUSED)
        if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN):
            return Unreachable(f"{address}: no route", "check the network and the VPN", Cause.NO_ROUTE)
        if number == errno.ETIMEDOUT:
            return Unreachable(f"{address} does not answer", "check the network and the VPN", Cause.TIMEOUT)
    if isinstance(error, ValueError):
        return InternalError(f"a request to {address} could not be made")
    remedy = "look at the server's log, and at proxies and load balancers in between"
    return Unreachable(f"{address} broke off the connection", remedy, Cause.BROKEN_OFF)


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


def _url(server: str, path: str, query: Mapping[str, str]) -> URL:
    from yarl import URL

    segments = path.split("/")
    if not path.startswith("/") or any(bad in path for bad in "?#\\") or {".", ".."} & set(segments):
        raise InternalError(f"{said_by(path, 120)} is no path of an API")
    parts = urlsplit(server)
    return URL.build(
        scheme=parts.scheme, host=parts.hostname or "", port=parts.port,
        path=parts.path.rstrip("/") + path, query=dict(query),
    )  # fmt: skip
