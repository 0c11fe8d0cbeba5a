"""The HTTP API as a bare ASGI application: routes, refusals in JSON, request ids, what gets logged."""

from __future__ import annotations

import itertools
import os
import re
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from nimify_tui.base.errors import Category
from nimify_tui.base.text import clean_line
from nimify_tui.serving.health import ErrorBook
from nimify_tui.serving.infer import ClientGone, Headers, Receive
from nimify_tui.serving.lane import Lane
from nimify_tui.serving.logs import JsonLog
from nimify_tui.serving.metrics import Metrics
from nimify_tui.serving.replies import JSON_TYPE, SECURITY, Refusal, Reply, category_of
from nimify_tui.serving.routes import Handler, Routes, Scope, Table
from nimify_tui.serving.screen import suspicious_headers, suspicious_path, suspicious_query
from nimify_tui.serving.trace import TRACEPARENT, TRACESTATE, trace_of

Send = Callable[[dict[str, Any]], Awaitable[None]]
#: An answer that took longer is worth a line.
SLOW_S = 1.0
#: One ordinary request in so many seconds is logged too.
SAMPLE_S = 30.0
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}\Z")


class Api:
    """The API on the main listener, and metrics, health and control of the models on the admin listener."""

    def __init__(self, routes: Routes, metrics: Metrics, errors: ErrorBook, log: JsonLog) -> None:
        self._routes, self._metrics, self._errors, self._log = routes, metrics, errors, log
        self._id_prefix = os.urandom(4).hex().encode()
        self._numbers = itertools.count(1)
        self._sample_at = 0.0
        #: Paths of inference requests that may go the straight way; connections hold this very table.
        self.lanes: dict[bytes, Lane] = {}

    async def main(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of the main listener."""
        await self._answer(self._routes.public, scope, receive, send)

    async def admin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of the admin listener: answers whatever the load."""
        await self._answer(self._routes.private, scope, receive, send)

    async def _answer(self, routes: Table, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        headers: Headers = dict(scope["headers"])
        request_id = self.request_id(headers.get(b"x-request-id"))
        words = ""
        try:
            reply = await self._handler(routes, scope)(scope, headers, receive)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001  # the last resort: no request may end the process or go unanswered
            reply, words = self.settled(error, scope, request_id)
        sent = [*reply.headers, (b"content-length", b"%d" % len(reply.body)), (b"x-request-id", request_id)]
        if b"traceparent" in headers:
            sent += trace_of(headers)
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": reply.body})
        self.told(scope, reply, began, request_id, words)

    def open_lanes(self) -> None:
        """The models or their paths are others now."""
        made = {}
        for path, served in self._routes.served.items():
            made[path.encode()] = Lane(self, served.inference, path.encode())
        self.lanes.clear()
        self.lanes.update(made)

    def request_id(self, given: bytes | None) -> bytes:
        """The client's own, or a new one."""
        if given is not None and _REQUEST_ID.match(given):
            return given
        return b"%s-%x" % (self._id_prefix, next(self._numbers))

    def settled(self, error: Exception, scope: Scope, request_id: bytes) -> tuple[Reply, str]:
        """What a request is answered that ended in ``error``, and the words for the log."""
        if isinstance(error, Refusal):
            return self._refused(error, scope), error.text
        words = f"{type(error).__name__}: {error}"
        named = request_id.decode()
        self._log.fold("error", ("internal",), words, "error", where=_where(error), request_id=named)
        self._errors.note(Category.INTERNAL, 500, words)
        text = f"an internal error; the log names it under request id {named}"
        return Reply(500, _error(text, Category.INTERNAL)), words

    def quiet_until(self, began: float) -> float:
        """An answer before this moment, in perf_counter's seconds, needs no line in the log unless it failed."""
        return min(began + SLOW_S, self._sample_at)

    def told(self, scope: Scope, reply: Reply, began: float, request_id: bytes, words: str) -> None:
        """A line in the log where the answer is worth one; ``began`` is in perf_counter's seconds."""
        now = time.perf_counter()
        if (reply.status >= 500 and not _said_not_ready(scope, reply)) or now > self.quiet_until(began):
            self._note(scope, dict(scope["headers"]), reply, now - began, request_id, words)

    def _handler(self, routes: Table, scope: Scope) -> Handler:
        found = routes.get(scope["path"])
        if found is None:
            found = self._seldom(routes, scope)
        method, handler = found
        if scope["method"] != method and not (method == "GET" and scope["method"] == "HEAD"):
            raise Refusal(
                405, f"{scope['path']} takes {method}, not {clean_line(scope['method'], 20)}", "method",
                ((b"allow", method.encode()),),
            )  # fmt: skip
        if suspicious_headers(scope["headers"]) or suspicious_query(scope["query_string"]):
            raise Refusal(
                400, "a header or the query carries a pattern that no inference request needs", "refused"
            )
        return handler

    def _seldom(self, routes: Table, scope: Scope) -> tuple[str, Handler]:
        """What no table has: control of one model, or nothing."""
        path = scope["path"]
        if suspicious_path(scope["raw_path"], path, scope["query_string"]):
            raise Refusal(400, "the path carries a pattern that no inference request needs", "refused")
        private = routes is self._routes.private
        found = self._routes.control(path, private=private)
        if found is None:
            raise self._routes.lost(path, private=private)
        return found

    def _refused(self, refusal: Refusal, scope: Scope) -> Reply:
        category = category_of(refusal.status, refusal.reason)
        self._errors.note(category, refusal.status, refusal.text)
        if refusal.reason:
            client = scope["client"][0] if scope["client"] else ""
            self.report(refusal.reason, refusal.status, client, scope["raw_path"], refusal.text)
        return Reply(
            refusal.status, _error(clean_line(refusal.text, 2000), category), (JSON_TYPE, *refusal.headers)
        )

    def refused_early(self, reason: str, status: int, client: str, path: bytes, text: str) -> None:
        """A connection refused a request that the application never saw."""
        self._errors.note(category_of(status, reason), status, text)
        self.report(reason, status, client, path, text)

    def report(self, reason: str, status: int, client: str, path: bytes, text: str) -> None:
        """Count a refusal; one that concerns security is also a line in the log."""
        self._metrics.refused(reason)
        category = SECURITY.get(reason)
        if category is None:
            return
        action = "closed" if reason == "slow" else "refused"
        self._metrics.secured(category, action)
        where = path.decode("latin-1")[:200] or "no path"
        self._log.fold(
            "security", (reason, client), f"{text} ({status} at {where})", "warning",
            category=category, action=action, client=client, status=status,
        )  # fmt: skip

    def _note(
        self, scope: Scope, headers: Headers, reply: Reply, took_s: float, request_id: bytes, words: str
    ) -> None:
        """One line for an error, for a slow answer, and now and then for an ordinary one."""
        fields: dict[str, Any] = {
            "status": reply.status, "method": scope["method"], "path": scope["path"],
            "client": scope["client"][0] if scope["client"] else "", "request_id": request_id.decode(),
            "duration_ms": round(1000 * took_s, 3),
        }  # fmt: skip
        trace = TRACEPARENT.match(headers.get(b"traceparent", b""))
        if trace:
            fields["trace_id"], fields["parent_id"] = trace.group(1).decode(), trace.group(2).decode()
            if TRACESTATE.match(headers.get(b"tracestate", b"")):
                fields["tracestate"] = headers[b"tracestate"].decode()
        if words:
            fields["error"] = words
        if reply.status >= 500 and not _said_not_ready(scope, reply):
            self._log.fold(
                "request", ("failed", str(reply.status)), "answered with an error", "error", **fields
            )
        elif took_s > SLOW_S:
            self._log.fold("request", ("slow",), "answered slowly", "warning", **fields)
        elif scope["path"].endswith("/infer"):
            self._sample_at = time.perf_counter() + SAMPLE_S
            self._log.write("request", "answered (a sample)", "info", **fields)


def _said_not_ready(scope: Scope, reply: Reply) -> bool:
    """Whether a probe was told "not ready": the right answer while a model loads or drains, and no failure."""
    return reply.status == 503 and scope["path"].rstrip("/").endswith(("/ready", "/health"))


def _error(text: str, category: Category) -> bytes:
    return orjson.dumps({"error": text, "category": category.value})


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join(
        f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
