"""One region's API server: bounded reads and streams over one pool of connections, with typed errors.

Lives on the fleet's asyncio loop. Everything that belongs to the region is its own (pool, limiter,
credentials, name resolution), so a region that hangs takes nothing from another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from nimify_tui.backends.kubernetes.caller import Caller, translated
from nimify_tui.backends.kubernetes.credentials import Credentials
from nimify_tui.backends.kubernetes.errors import BadAnswer, Cause, Unreachable
from nimify_tui.backends.kubernetes.http1 import Reply
from nimify_tui.backends.kubernetes.limits import TokenBucket
from nimify_tui.backends.kubernetes.place import ClusterPlace
from nimify_tui.backends.kubernetes.rights import REVIEWS, Access, Review, answered, asked
from nimify_tui.backends.kubernetes.sockets import PodSockets
from nimify_tui.backends.kubernetes.write import Verify, Writer
from nimify_tui.base.certificates import pem_ends_at
from nimify_tui.base.clock import Clock, SystemClock
from nimify_tui.domain.regions import CertificateSeen

#: A page of 500 pods is 4 to 10 MB; a larger answer is no page.
LIMIT_BYTES = 64 * 1024 * 1024
#: etcd keeps objects up to 1.5 MB; as JSON in a watch event one is a few times that.
LINE_BYTES = 16 * 1024 * 1024
#: A whole answer must be there within this time, however slowly it trickles.
READ_TOTAL_S = 120.0
#: Lists at once in one region (API Priority and Fairness charges them by their width).
LISTS_AT_ONCE = 4
_PROBES = frozenset({"/livez", "/readyz", "/healthz", "/version"})


class Lane(enum.Enum):
    """What a read costs the server, so which limit it is under."""

    LIST = "list"
    STREAM = "stream"
    PROBE = "probe"
    POD = "pod"


def lane_of(path: str, query: Mapping[str, str]) -> Lane:
    """Watches and followed logs are streams; health and version are probes; all else counts as a list.

    Not so what a pod or a service answers through the server: one that hangs would hold the place of a list.
    """
    if query.get("watch", "") in ("1", "true") or query.get("follow", "") in ("1", "true"):
        return Lane.STREAM
    parts = path.split("/")
    if parts[5:6] in (["pods"], ["services"]) and parts[7:8] == ["proxy"]:
        return Lane.POD
    return Lane.PROBE if path in _PROBES or path.startswith(("/livez/", "/readyz/")) else Lane.LIST


class Answer:
    """A good answer (2xx) whose body is still to be read: once, with one of its three readers."""

    def __init__(self, reply: Reply, limit_bytes: int, address: str, clock: Clock) -> None:
        self.status: int = reply.status
        #: Header names in any case.
        self.headers: Mapping[str, str] = reply.headers
        #: When the last bytes came, on the clock that the connection was given (monotonic seconds).
        self.last_byte_mono_s: float = clock.mono_s()
        self._reply = reply
        self._limit_bytes = limit_bytes
        self._address = address
        self._clock = clock

    async def read(self) -> bytes:
        """The whole body, unpacked.

        Raises BadAnswer when it is larger than ``limit_bytes``, Unreachable when it breaks off, stops
        coming or is not complete within ``READ_TOTAL_S``.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(READ_TOTAL_S):
                async for chunk in self.chunks():
                    body += chunk
                    if len(body) > self._limit_bytes:
                        raise BadAnswer(f"{self._address} answers with more than {self._limit_bytes} bytes")
        except TimeoutError as error:
            words = f"{self._address}: the answer was not complete after {READ_TOTAL_S:g} s"
            raise Unreachable(words, "the line is too slow, or the server is", Cause.TIMEOUT) from error
        return bytes(body)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, in pieces of any size; ends when the server ends it properly.

        Raises Unreachable when the stream breaks off or is silent for the request's ``read_timeout_s``.
        """
        try:
            async for chunk in self._reply.chunks():
                self.last_byte_mono_s = self._clock.mono_s()
                yield chunk
        except BaseException as error:
            if (known := translated(error, self._address)) is None:
                raise
            raise known from error

    async def whole_lines(self) -> AsyncIterator[bytes]:
        """The body in batches of whole lines, each batch without its last newline: for watches and logs.

        Raises like :meth:`chunks`; BadAnswer for a line above ``LINE_BYTES``, and when the stream ends
        in the middle of a line (everything before it was handed out).
        """
        rest = bytearray()
        async for chunk in self.chunks():
            head, found, tail = chunk.rpartition(b"\n")
            if found:
                yield bytes(rest + head)
                rest = bytearray(tail)
            else:
                rest += chunk
            if len(rest) > LINE_BYTES:
                raise BadAnswer(f"{self._address} sends a line of more than {LINE_BYTES} bytes")
        if rest:
            raise BadAnswer(
                f"{self._address}: the stream ended in the middle of a line", "it is resumed by itself"
            )


class Connection:
    """One region's API server. Make it anywhere, :meth:`open` it on the loop that uses it.

    ``resolve_env`` gives the environment that plugins inherit and that holds proxy settings.
    """

    def __init__(
        self,
        place: ClusterPlace,
        *,
        clock: Clock | None = None,
        credentials: Credentials | None = None,
        connect_timeout_s: float = 5.0,
    ) -> None:
        self.place = place
        self.is_open = False
        #: ``https://host:port`` as a screen shows it.
        self.address: str = place.server
        self._clock = clock or SystemClock()
        self._credentials = credentials or Credentials(place, self._clock)
        self._caller = Caller(place, self._credentials, connect_timeout_s=connect_timeout_s)
        self._lists = asyncio.Semaphore(LISTS_AT_ONCE)
        self._actions = TokenBucket(self._clock)

    async def open(self) -> None:
        """Make the pool ready; connects nothing yet, so a dead region costs no time here.

        Raises ConfigurationError for an address or a proxy that is none.
        """
        await self._caller.open()
        self.is_open = True

    async def close(self) -> None:
        """End all requests and connections of this region; it may be opened again."""
        self.is_open = False
        await self._caller.close()

    @property
    def certificates(self) -> tuple[CertificateSeen, ...]:
        """The server's, by the newest connection, and the one that this host shows, where there is one."""
        transport = self._caller.transport
        found = {
            "the API server's certificate": transport.server_ends_at if transport is not None else None,
            "this host's client certificate": pem_ends_at(self._caller.client_certificate),
        }
        return tuple(CertificateSeen(what, at) for what, at in found.items() if at is not None)

    async def authorise(self) -> None:
        """Return when credentials are at hand, which may take a plugin's time. Raises CredentialsFailed."""
        await self._credentials.identity()

    async def login(self) -> None:
        """New credentials from the plugin, which gets this process' terminal. Raises CredentialsFailed."""
        await self._credentials.login()

    @contextlib.asynccontextmanager
    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        read_timeout_s: float = 30.0,
        limit_bytes: int = LIMIT_BYTES,
        more: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Answer]:
        """``async with connection.get("/api/v1/pods", {"limit": "500"}) as answer:``; only 2xx gets inside.

        ``more`` headers are for what stands behind a proxy of the server, which hands them on (but a login).
        ``read_timeout_s`` bounds each silence, also the one before the first byte; a watch gives 150 (bookmarks
        come every 60 s, the first after 120). A request with ``watch`` or ``follow`` is a stream: no
        limit of its whole time and not counted among the lists, of which four run at once (the others wait).
        Never retried, but for two cases: with fresh credentials after a 401, and on a new connection when a
        kept one turns out to be closed; back-off is the caller's.

        Raises from nimify_tui.backends.kubernetes.errors: Unauthorized, Forbidden, NotFound, Gone, Invalid,
        TooLargeVersion, other Refused, Throttled(retry_after_s), ServerTrouble(5xx), Unreachable(cause), TlsFailed,
        BadAnswer (HTML, a redirect, no HTTP, JSON expected and something else came), CredentialsFailed.
        """
        query = query or {}
        lane = lane_of(path, query)
        async with self._lists if lane is Lane.LIST else contextlib.nullcontext():
            headers = {
                "Accept": accept, "Accept-Encoding": "identity" if lane is Lane.STREAM else "gzip", **(more or {}),
            }  # fmt: skip
            reply = await self._caller.request("GET", path, query, headers, read_timeout_s=read_timeout_s)
            try:
                yield Answer(reply, limit_bytes, self.address, self._clock)
            finally:
                reply.close()

    async def may(self, access: Access, read_timeout_s: float = 10.0) -> Review:
        """Whether these credentials have a right, by the server's own word (SelfSubjectAccessReview).

        A POST that stores nothing. Raises as :meth:`get` does; a server need not offer reviews.
        """
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        reply = await self._caller.request(
            "POST", REVIEWS, {}, headers, body=asked(access), read_timeout_s=read_timeout_s
        )
        try:
            return answered(await Answer(reply, 1024 * 1024, self.address, self._clock).read(), self.address)
        finally:
            reply.close()

    def sockets(self, verify: Verify) -> PodSockets:
        """The way into this region's pods (shell, port-forward); ``verify`` is the gate's check of a permit."""
        return PodSockets(self._caller, verify)

    def writer(self, verify: Verify) -> Writer:
        """The way to change something in this region; ``verify`` is the gate's check of a permit."""
        return Writer(self._caller, self._actions, verify)
