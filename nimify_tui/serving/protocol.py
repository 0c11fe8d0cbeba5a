"""uvicorn's HTTP protocol with what it leaves open: limits on header, body and time, and a polite end.

Measured on uvicorn alone: a header of 16 MiB was accepted, and half a header, or a body that never came,
held its connection for ever. Timers are only set where something is unfinished, so a request that comes
in one piece costs none.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import httptools
import orjson
import uvicorn
from uvicorn.server import ServerState

from nimify_tui.serving.joined import Joined
from nimify_tui.serving.lane import VARYING
from nimify_tui.serving.listeners import LINGERING
from nimify_tui.serving.replies import category_of
from nimify_tui.serving.rules import Rules
from nimify_tui.serving.straight import BODY, DEAD, HEADER, IDLE, StraightProtocol

#: A body must come at this rate after the first seconds; a fixed deadline would refuse big honest ones.
MIN_BODY_BYTES_PER_S = 16 * 1024
MAX_HEADER_BYTES = 32 * 1024
#: Requests of one connection that wait for their turn. Measured on uvicorn: a client that sent 300,000 small ones and
#: read no answer cost 360 MB.
MAX_PIPELINED = 256
#: After a refusal the rest of what the client sends is thrown away for so long: closing at once would
#: reset the connection, and the client would never see why.
LINGER_S = 2.0
_STATUS = {
    400: b"400 Bad Request", 408: b"408 Request Timeout", 413: b"413 Content Too Large",
    429: b"429 Too Many Requests", 431: b"431 Request Header Fields Too Large",
    503: b"503 Service Unavailable",
}  # fmt: skip


class HardProtocol(StraightProtocol):
    """One connection."""

    def __init__(self, config: uvicorn.Config, state: ServerState, rules: Rules) -> None:
        super().__init__(config, state, rules)
        self.timeout_keep_alive = rules.keep_alive_s  # type: ignore[assignment]  # uvicorn says int, call_later takes any
        self._header_bytes = self._chunk_bytes = self._body_bytes = self._idle_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._rested_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """A client came; until it says something, it counts as idle."""
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            # uvloop sets it only for sockets made with IPPROTO_TCP; an inherited one may not be (12x slower).
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._joined = Joined(transport)
        if len(self.connections) > self._rules.max_connections:
            self._turn_away()
            return
        self._rest()

    def data_received(self, data: bytes) -> None:
        """Parse, then set the timer that fits what is unfinished now."""
        before = self._phase
        if before == DEAD:
            return
        if before == IDLE and self._again is not None and self._repeated(self._again, data):
            return
        self._chunk_bytes = len(data) if before in (IDLE, HEADER) else 0
        body_bytes = self._body_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_at_upgrade()
        except httptools.HttpParserError:
            self._refuse(400, "malformed", "this is no valid request in HTTP/1.1")
            return
        self._learned(data, before == IDLE)
        if self._phase == HEADER:
            # A header that began in the middle of this piece is counted from the next one on.
            self._header_bytes += self._chunk_bytes
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(431, "header_too_large", f"the header is larger than {MAX_HEADER_BYTES} bytes")
            elif self._timer is None:
                self._timer = self.loop.call_later(self._rules.header_timeout_s, self._late_header)
        elif self._phase == BODY:
            self._leave_lane()
            # What comes in a body and is none of it: chunk extensions and trailers, which may have no end.
            self._idle_bytes = self._idle_bytes + len(data) if before == BODY and body_bytes == self._body_bytes else 0
            if self._idle_bytes > MAX_HEADER_BYTES:
                self._refuse(431, "header_too_large", f"the trailers are larger than {MAX_HEADER_BYTES} bytes")
                return
            if self._timer is None:
                self._expect_body(self._rules.body_timeout_s)
        elif self._phase == IDLE and self._unanswered is None:
            self._rest()

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._phase == DEAD:
            return
        self._phase = HEADER
        self._header_bytes = self._body_bytes = self._idle_bytes = self._declared = 0
        self._chunked = False
        self.url = b""
        self.headers = []
        self._varying = {}
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; the parser has checked that a Content-Length is one whole number. Trailers are passed over."""
        if self._phase == BODY:
            return
        name = name.lower()
        if name in VARYING:
            if name == b"content-length":
                self._declared = int(value)
            self._varying[name] = value
            return
        if name == b"transfer-encoding":
            self._chunked = True
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin the answer, unless the header alone says that there is none to give."""
        if self._phase == DEAD:
            return
        self._end_timer()
        too_large = self._header_bytes + self._chunk_bytes > MAX_HEADER_BYTES
        if too_large and self._exact_header_bytes() > MAX_HEADER_BYTES:
            self._refuse(431, "header_too_large", f"the header is larger than {MAX_HEADER_BYTES} bytes")
            return
        self._chunk_bytes = 0
        if self._straight():
            self._phase = BODY
            return
        if self._declared > self._rules.max_body_bytes:
            self._refuse(413, "oversized", self._too_large(f"has {self._declared}"))
            return
        if self.parser.get_http_version() not in ("1.1", "1.0"):
            self._refuse(400, "malformed", "this server speaks HTTP/1.1")
            return
        if self.parser.should_upgrade() and (self._declared or self._chunked):
            # The parser gives the body of such a request to nobody.
            self._refuse(
                400, "malformed", "this server upgrades no connection: send the body without Upgrade"
            )
            return
        self._phase = BODY
        self._begin_cycle()

    def _begin_cycle(self) -> None:
        """Hand the request to the application."""
        url, headers, expects = self.url, [*self.headers, *self._varying.items()], self.expect_100_continue
        super().on_message_begin()  # begins all that the straight way does without
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        self.cycle.transport = self._joined  # type: ignore[assignment]  # all of a transport that an answer uses
        if self._rules.drain.began:
            self.cycle.keep_alive = False
        if len(self.pipeline) > MAX_PIPELINED:
            self._refuse(429, "pipelined", f"more than {MAX_PIPELINED} requests at once on one connection")

    def _leave_lane(self) -> None:
        """The straight way is for requests that come in one piece: this one did not."""
        if self._lane is not None:
            self._lane = None
            self._begin_cycle()
            if self._straight_body:
                super().on_body(self._straight_body)

    def on_body(self, body: bytes) -> None:
        """Count what really comes: a chunked body declares no size."""
        if self._phase == DEAD:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._rules.max_body_bytes:
            self._refuse(413, "oversized", self._too_large("has more"))
            return
        if self._lane is not None:
            self._straight_body = self._straight_body + body if self._straight_body else body
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._phase == DEAD:
            return
        self._end_timer()
        self._phase = IDLE
        if self._lane is not None:
            self._answer_straight(*self._lane)
            return
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is written, if perhaps not yet sent."""
        self._joined.flush()
        if self._phase == DEAD:
            self.transport.close()
            return
        self._rested_at = self.loop.time()
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_sending()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone, and its timers with it."""
        self._end_timer()
        self._unset_keepalive_if_required()
        self._joined.lose()  # uvicorn marks only the newest of pipelined requests as disconnected
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Idle long enough, unless a request came since, or the client still reads a long answer."""
        self.timeout_keep_alive_task = None
        if self._phase in (HEADER, BODY) or self._unanswered is not None:
            return  # the request's own deadlines decide, and the time begins anew with its answer
        rested_s = self.loop.time() - self._rested_at
        if rested_s < self._rules.keep_alive_s - 0.001:
            self._rest(self._rules.keep_alive_s - rested_s)
            return
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes and unsent_bytes != self._unsent_bytes:
            self._unsent_bytes = unsent_bytes
            self._rest()
            return
        super().timeout_keep_alive_handler()
        self._watch_sending()

    def end_soon(self) -> None:
        """The drain began: the request that is being answered is the last one here."""
        cycle = self._unanswered
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = False

    def end_unfinished(self) -> None:
        """The drain is over: a request that is not even whole is given up."""
        if self._phase in (HEADER, BODY):
            self.transport.abort()

    @property
    def busy(self) -> bool:
        """Whether a request is unfinished."""
        return self._phase in (HEADER, BODY) or self._unanswered is not None

    def _turn_away(self) -> None:
        """There are more connections than descriptors for them, nearly: the probes need the rest."""
        if len(self.connections) > self._rules.max_connections + LINGERING:
            self._phase = DEAD
            self.transport.abort()
            return
        self._refuse(503, "crowded", f"{self._rules.max_connections} connections are open: come back later")

    def _end_at_upgrade(self) -> None:
        # The parser stops at an upgrade; this answer is in HTTP/1.1, and the last one.
        if self._phase == DEAD:
            return
        self._phase = DEAD
        self._end_timer()
        cycle = self._unanswered
        if cycle is None:
            self.transport.close()
        else:
            cycle.keep_alive = False

    def _exact_header_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _too_large(self, what: str) -> str:
        return f"the body {what} bytes; at most {self._rules.max_body_bytes} are taken"

    def _rest(self, left_s: float | None = None) -> None:
        """Nothing is going on: the keep-alive time begins, or ``left_s`` of it are left.

        The timer of an earlier rest is left alone and looks at the time when it is due: setting one anew for each
        request would cost a tenth of a small request.
        """
        if left_s is None:
            self._rested_at, left_s = self.loop.time(), self._rules.keep_alive_s
        if self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)

    def _late_header(self) -> None:
        self._timer = None
        self._refuse(408, "slow", f"the header did not end within {self._rules.header_timeout_s:g} s")

    def _expect_body(self, patience_s: float) -> None:
        began_at = self.loop.time()

        def look() -> None:
            self._timer = None
            allowed_s = self._rules.body_timeout_s + self._body_bytes / MIN_BODY_BYTES_PER_S
            left_s = began_at + allowed_s - self.loop.time()
            if left_s > 0:
                self._timer = self.loop.call_later(left_s, look)
            else:
                self._refuse(408, "slow", f"the body did not arrive in time ({self._body_bytes} bytes did)")

        self._timer = self.loop.call_later(patience_s, look)

    def _refuse(self, status: int, reason: str, text: str) -> None:
        """Answer at once, then throw away what still comes for a while."""
        if self._phase == DEAD:
            return  # refused already: what follows in the same piece may be malformed, too
        refused_itself = self._phase == BODY
        self._phase = DEAD
        self._end_timer()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        self._rules.report(
            reason, status, self.client[0] if self.client else "", getattr(self, "url", b""), text
        )
        cycle = self._unanswered
        if cycle is not None:
            if not refused_itself and not self.pipeline:
                cycle.keep_alive = False  # the request before the refused one still gets its own answer
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                self.transport.abort()
                return
        body = orjson.dumps({"error": text, "category": category_of(status, reason).value})
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n"
        later = b"retry-after: 1\r\n" if status == 503 else b""
        self.transport.write(head % (_STATUS[status], later, len(body)) + body)
        self.flow.resume_reading()
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_S, self.transport.abort)

    def _watch_sending(self) -> None:
        """Closed, but perhaps with bytes that the client never reads: those are not kept for ever."""
        unsent_bytes = self.transport.get_write_buffer_size()

        def look() -> None:
            self._timer = None
            if self.transport.get_write_buffer_size() in (0, unsent_bytes):
                self.transport.abort()
            else:
                self._watch_sending()

        if unsent_bytes and self._timer is None:
            self._timer = self.loop.call_later(self.timeout_keep_alive, look)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def protocol_factory(app: Any, rules: Rules) -> tuple[Callable[[], HardProtocol], ServerState]:
    """What makes a protocol for each connection to ``app``, and the state that lists them."""
    config = uvicorn.Config(
        app, http=HardProtocol, loop="none", lifespan="off", ws="none", log_config=None, access_log=False,
        server_header=False, date_header=False, interface="asgi3", proxy_headers=False,
    )  # fmt: skip
    config.load()
    state = ServerState()
    return (lambda: HardProtocol(config, state, rules)), state
