"""How requests reach a monitoring server: over connections of our own, or through the API server of its cluster.

Both are bounded (one deadline for the whole answer, a hard limit on its size), follow no redirect and give typed
errors. Every answer that is not a good one becomes an error here, so who asks sees only bodies of good answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from nimify_tui import __version__
from nimify_tui.backends.kubernetes.errors import (
    Forbidden,
    NotFound,
    OutcomeUnknown,
    Refused,
    ServerTrouble,
    Unauthorized,
    Unreachable,
)
from nimify_tui.backends.kubernetes.http1 import NotHttp, Reply
from nimify_tui.backends.kubernetes.proxies import proxy_for
from nimify_tui.backends.kubernetes.transport import ProxyRefused, Server, Transport
from nimify_tui.backends.prometheus import errors
from nimify_tui.backends.prometheus.errors import (
    AnswerTooLarge,
    QueryRefused,
    ServerGone,
    from_status,
    known,
    silent,
    without_tls,
)
from nimify_tui.backends.prometheus.place import ServerPlace
from nimify_tui.base.clock import Clock, SystemClock
from nimify_tui.base.errors import DeadlineError, GateRefused, InternalError, NetworkError, NimifyError
from nimify_tui.domain.live import Forward
from nimify_tui.domain.plans import Permit, Plan

Verify = Callable[[Permit, Plan], None]
#: (status, body, who, Retry-After) to what it means.
Refusal = Callable[[int, bytes, str, str], NimifyError]
UNKNOWN_REMEDY = "look at what is so now before you try again"
_CONNECT_S = 4.0
#: Of an error's body so much is read.
_MAX_ERROR_BYTES = 64 * 1024
#: So many pieces of an answer are kept apart.
_PIECES = 64
Pairs = Sequence[tuple[str, str]]
_SYSTEM = SystemClock()


class Got(NamedTuple):
    """A good answer.

    ``served_at`` is when the server says that it answered (whole unix seconds), None: not said; ``head_at`` is when
    that was here (unix seconds of our clock): a long body may come much later.
    """

    body: bytes
    served_at: float | None
    head_at: float


class Way(Protocol):
    """Where questions go."""

    @property
    def place(self) -> ServerPlace:
        """Which server it is."""
        ...

    async def ask(self, path: str, query: Pairs, *, timeout_s: float, limit_bytes: int) -> Got:
        """GET ``path`` (``/api/v1/query``). Raises the errors of this package."""
        ...

    async def send(
        self, method: str, path: str, body: bytes, *, permit: Permit, plan: Plan, timeout_s: float
    ) -> bytes:
        """Change something there, once; the body of a good answer.

        Raises GateRefused without a fitting permit, OutcomeUnknown when it was sent and no answer came; any other
        error says that nothing was changed.
        """
        ...

    def close(self) -> None:
        """End its connections."""
        ...


def no_changes(_permit: Permit, _plan: Plan) -> None:
    """The gate's check where nothing is ever changed."""
    raise GateRefused("nothing is changed this way")


def target_of(path: str, query: Pairs) -> str:
    """A path with its query."""
    return f"{path}?{urlencode(query, quote_via=quote)}" if query else path


class Direct:
    """Over connections of our own. Credentials are read for each request: a rotated token file just works."""

    def __init__(
        self,
        place: ServerPlace,
        *,
        refused: Refusal = from_status,
        verify: Verify = no_changes,
        clock: Clock = _SYSTEM,
    ) -> None:
        self.place = place
        self._refused, self._verify, self._clock = refused, verify, clock
        self._transport: Transport | None = None
        self._context: ssl.SSLContext | None = None
        self._opening = asyncio.Lock()

    def close(self) -> None:
        """End its connections."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    async def ask(self, path: str, query: Pairs, *, timeout_s: float, limit_bytes: int) -> Got:
        """See :class:`Way`."""
        return await self._exchange("GET", target_of(path, query), None, timeout_s, limit_bytes)

    async def send(
        self, method: str, path: str, body: bytes, *, permit: Permit, plan: Plan, timeout_s: float
    ) -> bytes:
        """See :class:`Way`."""
        self._verify(permit, plan)
        sent: list[bool] = []
        try:
            got = await self._exchange(
                method, path, body, timeout_s, _MAX_ERROR_BYTES, lambda: sent.append(True)
            )
        except (NetworkError, DeadlineError, errors.ServerTrouble, AnswerTooLarge) as error:
            # A 5xx may come from something in front, or after the change was stored.
            if not sent:
                raise
            raise OutcomeUnknown(f"it was sent, and then: {error.message}", UNKNOWN_REMEDY) from error
        return got.body

    async def _exchange(
        self, method: str, path: str, body: bytes | None, timeout_s: float, limit_bytes: int,
        on_sent: Callable[[], None] = lambda: None,
    ) -> Got:  # fmt: skip
        place = self.place
        try:
            async with asyncio.timeout(timeout_s):
                login = await asyncio.to_thread(place.headers)
                async with self._opening:
                    transport = await self._open()
                headers = [
                    ("User-Agent", f"nimify-tui/{__version__}"), ("Accept", "application/json"),
                    ("Accept-Encoding", "gzip"), *((("Content-Type", "application/json"),) if body else ()), *login,
                ]  # fmt: skip
                reply = await transport.request(
                    method, f"{place.prefix}{path}", headers, self._context, body=body, read_timeout_s=timeout_s,
                    on_sent=on_sent,
                )  # fmt: skip
                head_at = self._clock.now()
                try:
                    return await self._read(reply, limit_bytes, head_at)
                finally:
                    reply.close()
        except TimeoutError as error:
            raise silent(place.who, timeout_s) from error
        except (OSError, NotHttp, ProxyRefused) as error:  # first: a bad certificate is a ValueError as well
            raise known(error, place.who) or error from error
        except ValueError as error:
            raise InternalError(f"a request to {place.who} could not be made") from error

    async def _open(self) -> Transport:
        if self._transport is None:
            self._context = await asyncio.to_thread(self.place.context)
            parts = urlsplit(self.place.url)
            https = parts.scheme == "https"
            port = parts.port or (443 if https else 80)
            proxy = proxy_for(self.place.url, "", os.environ)
            self._transport = Transport(Server(parts.hostname or "", port, https, proxy), _CONNECT_S)
        return self._transport

    async def _read(self, reply: Reply, limit_bytes: int, head_at: float) -> Got:
        good = reply.status == 200
        # A usual answer comes in a few pieces and is copied once; one in pieces of a byte takes no more than its size.
        packed, chunks, size = bytearray(), list[bytes](), 0
        async for chunk in reply.chunks():
            chunks.append(chunk)
            size += len(chunk)
            if len(chunks) > _PIECES:
                packed += b"".join(chunks)
                chunks.clear()
            if size > (limit_bytes if good else _MAX_ERROR_BYTES):
                if good:
                    raise too_large(self.place.who, limit_bytes)
                break
        body = b"".join([packed, *chunks]) if packed or len(chunks) != 1 else chunks[0]
        if not good:
            after = reply.headers.get("Retry-After", "")
            plain = without_tls(body, self.place.who) if reply.status == 400 else None
            raise plain or self._refused(reply.status, body, self.place.who, after)
        return Got(body, _served_at(reply.headers), head_at)


class Forwarded:
    """Through a port-forward of this session, which somebody opened (it passes the gate): none is opened from here."""

    def __init__(
        self, place: ServerPlace, region: str, forwards: Callable[[], Sequence[Forward]], clock: Clock = _SYSTEM
    ) -> None:
        self.place = place
        self._region, self._forwards, self._clock = region, forwards, clock
        self._direct: Direct | None = None

    def close(self) -> None:
        """End its connections; the port-forward stays."""
        direct, self._direct = self._direct, None
        if direct is not None:
            direct.close()

    async def ask(self, path: str, query: Pairs, *, timeout_s: float, limit_bytes: int) -> Got:
        """See :class:`Way`."""
        place = replace(self.place, url=self._near())
        if self._direct is None or self._direct.place != place:
            self.close()
            self._direct = Direct(place, clock=self._clock)
        return await self._direct.ask(path, query, timeout_s=timeout_s, limit_bytes=limit_bytes)

    async def send(
        self, method: str, path: str, body: bytes, *, permit: Permit, plan: Plan, timeout_s: float
    ) -> bytes:
        """See :class:`Way`: no server that is changed is reached so."""
        no_changes(permit, plan)
        raise InternalError("unreachable")

    def _near(self) -> str:
        """Its url at this end of the newest port-forward to it."""
        wanted = self.place.behind
        assert wanted is not None
        for each in reversed(self._forwards()):
            service, pod = each.key.service, each.key.replica
            there = (service.region, service.namespace, each.pod_port) == (self._region, wanted.space, wanted.port)
            if there and wanted.fits(pod) and not each.ended:
                return f"http://127.0.0.1:{each.local_port}{wanted.path}"
        raise ServerGone(f"{self.place.who}: no port-forward to it is open", f"open it: {wanted.key}")


class Opened(Protocol):
    """A good answer of an API server."""

    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """The whole body."""
        ...


class Passes(Protocol):
    """What hands a change on to a service of a cluster."""

    async def pass_on(
        self, method: str, path: str, body: bytes, *, permit: Permit, plan: Plan, deadline_s: float
    ) -> bytes:
        """See :meth:`Way.send`."""
        ...


class Link(Protocol):
    """The open connection of a region."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        ...

    def get(
        self, path: str, query: Mapping[str, str] | None = None, *, accept: str, read_timeout_s: float, limit_bytes: int
    ) -> AbstractAsyncContextManager[Opened]:
        """Ask the server; raises the errors of the connection."""
        ...

    def writer(self, verify: Verify) -> Passes:
        """The way to change something."""
        ...


class Through:
    """Through the service proxy of a region's API server (``get`` on ``services/proxy``), with its credentials.

    https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
    """

    def __init__(
        self,
        place: ServerPlace,
        link: Callable[[], Link | None],
        *,
        refused: Refusal | None = None,
        verify: Verify = no_changes,
        clock: Clock = _SYSTEM,
    ) -> None:
        self.place = place
        #: What a no of the server behind means; without it its words are not handed on.
        self._refused = refused
        self._link, self._verify, self._clock = link, verify, clock

    def close(self) -> None:
        """The connection is the region's."""

    async def ask(self, path: str, query: Pairs, *, timeout_s: float, limit_bytes: int) -> Got:
        """See :class:`Way`."""
        link = self._link()
        if link is None or not link.is_open:
            raise ServerGone(f"{self.place.who}: its API server is not connected", "see the region's own state")
        where = f"{self.place.proxy_path}{path}"
        try:
            async with (
                asyncio.timeout(timeout_s),
                link.get(
                    where, dict(query), accept="application/json",
                    read_timeout_s=3 * timeout_s, limit_bytes=limit_bytes,
                ) as answer,
            ):  # fmt: skip
                head_at = self._clock.now()
                return Got(await answer.read(), _served_at(answer.headers), head_at)
        except TimeoutError as error:
            raise silent(self.place.who, timeout_s) from error
        except NimifyError as error:
            raise self._told(error, limit_bytes, f"GET {where}") from error

    async def send(
        self, method: str, path: str, body: bytes, *, permit: Permit, plan: Plan, timeout_s: float
    ) -> bytes:
        """See :class:`Way`; needs the right to ``create`` (or ``delete``) ``services/proxy``."""
        link = self._link()
        if link is None or not link.is_open:
            raise ServerGone(f"{self.place.who}: its API server is not connected", "see the region's own state")
        where = f"{self.place.proxy_path}{path}"
        try:
            return await link.writer(self._verify).pass_on(
                method, where, body, permit=permit, plan=plan, deadline_s=timeout_s
            )
        except (OutcomeUnknown, GateRefused):
            raise
        except NimifyError as error:
            raise self._told(error, _MAX_ERROR_BYTES, f"{method} {where}", "`create` and `delete`") from error

    def _told(self, error: NimifyError, limit_bytes: int, asked: str, right: str = "`get`") -> NimifyError:
        """What the API server's answer to ``asked`` means for who asks the server behind it; ``right`` is needed."""
        who, space = self.place.who, self.place.url.removeprefix("k8s://").partition("/")[0]
        match error:
            case Forbidden() if "services/proxy" in error.message:
                text = f"no right to services/proxy in ns {space}"
                return errors.LoginRefused(f"{who}: {text}", f"ask for {right} on services/proxy, or give its url")
            case Unauthorized() | Forbidden():
                return errors.LoginRefused(f"{who} does not accept us ({error.status})", "give its url and a token")
            case NotFound() if 'services "' in error.message:  # of the API server; the path has no such quote
                return ServerGone(f"{who}: there is no such service", "check its url in the configuration")
            case ServerTrouble() if "no endpoints" in error.message:
                return ServerGone(f"{who}: no pod of it is ready", "look at its pods")
            case ServerTrouble() if "error trying to reach service" in error.message:
                return ServerGone(f"{who} does not answer the API server", "look at its pods and its port")
            case Unreachable():
                return ServerGone(f"{who}: {error.message}", "see the region's own state")
            case Refused() if self._refused is not None:
                said = msgspec.json.encode({"message": error.message.removeprefix(f"{asked}: ")})
                return self._refused(error.status, said, who, "")
            case Refused():
                # 422 is what it says to a query that is too much for it.
                words = f"{who} answers {error.status}"
                much = error.status == 422
                return QueryRefused(words, "raise its query limits" if much else "check its url", too_much=much)
        return too_large(who, limit_bytes) if "more than" in error.message else error


def too_large(who: str, limit_bytes: int) -> AnswerTooLarge:
    """An answer of more than ``limit_bytes``."""
    return AnswerTooLarge(f"{who} answers with more than {limit_bytes} bytes", "drop labels that nobody needs")


def _served_at(headers: Mapping[str, str]) -> float | None:
    with contextlib.suppress(KeyError, ValueError, TypeError, OverflowError):
        return email.utils.parsedate_to_datetime(headers["Date"]).timestamp()
    return None
