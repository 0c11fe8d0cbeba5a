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
from dataclasses import replace
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlencode, urlsplit

from nimify_tui import __version__
from nimify_tui.backends.kubernetes.errors import OutcomeUnknown
from nimify_tui.backends.kubernetes.http1 import NotHttp, Reply
from nimify_tui.backends.kubernetes.proxies import proxy_for
from nimify_tui.backends.kubernetes.transport import ProxyRefused, Server, Transport
from nimify_tui.backends.prometheus import errors
from nimify_tui.backends.prometheus.errors import (
    AnswerTooLarge,
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
MAX_ERROR_BYTES = 64 * 1024
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
                method, path, body, timeout_s, MAX_ERROR_BYTES, lambda: sent.append(True)
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
                login = await asyncio.to_thread(place.headers) if place.has_secret else place.headers()
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
            if size > (limit_bytes if good else MAX_ERROR_BYTES):
                if good:
                    raise too_large(self.place.who, limit_bytes)
                break
        body = b"".join([packed, *chunks]) if packed or len(chunks) != 1 else chunks[0]
        if not good:
            after = reply.headers.get("Retry-After", "")
            plain = without_tls(body, self.place.who) if reply.status == 400 else None
            raise plain or self._refused(reply.status, body, self.place.who, after)
        return Got(body, served_at(reply.headers), head_at)


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


def too_large(who: str, limit_bytes: int) -> AnswerTooLarge:
    """An answer of more than ``limit_bytes``."""
    return AnswerTooLarge(f"{who} answers with more than {limit_bytes} bytes", "drop labels that nobody needs")


def served_at(headers: Mapping[str, str]) -> float | None:
    """When an answer says that it was made (whole unix seconds); None: it does not say."""
    with contextlib.suppress(KeyError, ValueError, TypeError, OverflowError):
        return email.utils.parsedate_to_datetime(headers["Date"]).timestamp()
    return None
