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

from nimify_tui import __version__
from nimify_tui.base.text import clean_line
from nimify_tui.serving.datatypes import Slot
from nimify_tui.serving.health import diagnosis
from nimify_tui.serving.infer import ClientGone, Headers, Inference, Receive
from nimify_tui.serving.lane import Lane
from nimify_tui.serving.logs import JsonLog
from nimify_tui.serving.metrics import CONTENT_TYPE, Metrics
from nimify_tui.serving.options import NAME, Options
from nimify_tui.serving.protocol import Drain
from nimify_tui.serving.replies import JSON_TYPE, SECURITY, Refusal, Reply
from nimify_tui.serving.screen import suspicious_headers, suspicious_path, suspicious_query

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Handler = Callable[[Scope, Headers, Receive], Awaitable[Reply]]
#: An answer that took longer is worth a line.
SLOW_S = 1.0
#: One ordinary request in so many seconds is logged too.
SAMPLE_S = 30.0
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}\Z")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_MODEL_PATH = re.compile(r"/v2/models/([^/]*)(?:/versions/([^/]*))?(?:/(ready|infer))?/?\Z")


class Api:
    """One model's API on the main listener, and metrics and health on the admin listener."""

    def __init__(self, options: Options, metrics: Metrics, drain: Drain, log: JsonLog) -> None:
        self._options, self._metrics, self._drain, self._log = options, metrics, drain, log
        self.inference: Inference | None = None
        self._started_at = time.time()
        self._id_prefix = os.urandom(4).hex().encode()
        self._numbers = itertools.count(1)
        self._sample_at = 0.0
        base = f"/v2/models/{options.name}"
        self._public: dict[str, tuple[str, Handler]] = {
            "/v2": ("GET", self._server), "/v2/": ("GET", self._server),
            "/v2/health/live": ("GET", self._live), "/v2/health/ready": ("GET", self._ready_reply),
        }  # fmt: skip
        for path in (base, f"{base}/versions/{options.version}"):
            self._public[path] = ("GET", self._metadata)
            self._public[f"{path}/ready"] = ("GET", self._ready_reply)
            self._public[f"{path}/infer"] = ("POST", self._infer)
        #: Paths of infer requests that may go the straight way; read by the connections.
        self.lanes: dict[bytes, Lane] = {}
        self._private: dict[str, tuple[str, Handler]] = {
            "/metrics": ("GET", self._page), "/health": ("GET", self._diagnosis),
            "/v2/health/live": ("GET", self._live), "/v2/health/ready": ("GET", self._ready_reply),
        }  # fmt: skip

    def serve(self, inference: Inference) -> None:
        """The model is loaded."""
        self.inference = inference
        if inference.straight_bytes:
            for path, (_, handler) in self._public.items():
                if handler == self._infer:
                    self.lanes[path.encode()] = Lane(self, inference, path.encode())

    def without_admin_listener(self) -> None:
        """Metrics and diagnosis move to the main listener."""
        self._public |= self._private

    @property
    def not_ready(self) -> str:
        """Why no inference should be sent here; "" when all is well."""
        if self._drain.began:
            return "draining: this process is going away"
        return "" if self.inference is not None else "the model is still loading"

    async def main(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of the main listener."""
        await self._answer(self._public, scope, receive, send)

    async def admin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of the admin listener: answers whatever the load."""
        await self._answer(self._private, scope, receive, send)

    async def _answer(
        self, routes: dict[str, tuple[str, Handler]], scope: Scope, receive: Receive, send: Send
    ) -> None:
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
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": reply.body})
        self.told(scope, reply, began, request_id, words)

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
        self._log.fold(
            "error", ("internal",), words, "error", where=_where(error), request_id=request_id.decode()
        )
        return Reply(
            500, _error(f"an internal error; the log names it under request id {request_id.decode()}")
        ), words

    def quiet_until(self, began: float) -> float:
        """An answer before this moment, in perf_counter's seconds, needs no line in the log unless it failed."""
        return min(began + SLOW_S, self._sample_at)

    def told(self, scope: Scope, reply: Reply, began: float, request_id: bytes, words: str) -> None:
        """A line in the log where the answer is worth one; ``began`` is in perf_counter's seconds."""
        now = time.perf_counter()
        if (reply.status >= 500 and not _said_not_ready(scope, reply)) or now > self.quiet_until(began):
            self._note(scope, dict(scope["headers"]), reply, now - began, request_id, words)

    def _handler(self, routes: dict[str, tuple[str, Handler]], scope: Scope) -> Handler:
        found = routes.get(scope["path"])
        if found is None:
            raise self._lost(routes, scope)
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

    def _lost(self, routes: dict[str, tuple[str, Handler]], scope: Scope) -> Refusal:
        """Nothing is at this path: say what is."""
        path, name = scope["path"], self._options.name
        if suspicious_path(scope["raw_path"], path, scope["query_string"]):
            return Refusal(400, "the path carries a pattern that no inference request needs", "refused")
        match = _MODEL_PATH.match(path) if routes is self._public else None
        if match is None:
            paths = ", ".join(sorted(routes, key=len)[:8])
            return Refusal(404, f"nothing is at {clean_line(path, 200)}; there are {paths}", "not_found")
        model, version, _ = match.groups()
        if not NAME.match(model) or (version is not None and not NAME.match(version)):
            return Refusal(400, "names of models and versions match [A-Za-z0-9._-]{1,64}", "refused")
        if model != name:
            return Refusal(404, f"there is no model {model!r}; this server has {name!r}", "not_found")
        return Refusal(
            404, f"{name!r} has version {self._options.version!r} only (and no path {path!r})", "not_found"
        )

    def _refused(self, refusal: Refusal, scope: Scope) -> Reply:
        if refusal.reason:
            client = scope["client"][0] if scope["client"] else ""
            self.report(refusal.reason, refusal.status, client, scope["raw_path"], refusal.text)
        return Reply(refusal.status, _error(clean_line(refusal.text, 2000)), (JSON_TYPE, *refusal.headers))

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
        trace = _TRACEPARENT.match(headers.get(b"traceparent", b""))
        if trace:
            fields["trace_id"] = trace.group(1).decode()
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

    async def _server(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        data = {"name": "nimify-tui", "version": __version__, "extensions": ["binary_tensor_data"]}
        return Reply(200, orjson.dumps(data))

    async def _live(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        return Reply(200, b'{"live":true}')

    async def _ready_reply(self, scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        why = self.not_ready
        name = {"name": self._options.name} if "/models/" in scope["path"] else {}
        if not why:
            return Reply(200, orjson.dumps({**name, "ready": True}))
        return Reply(503, orjson.dumps({**name, "ready": False, "reason": why}))

    async def _metadata(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        model = self._loaded().model

        def entries(slots: tuple[Slot, ...]) -> list[dict[str, Any]]:
            return [{"name": slot.name, "datatype": slot.datatype, "shape": slot.shape} for slot in slots]

        data = {
            "name": self._options.name, "versions": [self._options.version], "platform": "onnxruntime_onnx",
            "inputs": entries(model.inputs), "outputs": entries(model.outputs),
        }  # fmt: skip
        return Reply(200, orjson.dumps(data))

    async def _infer(self, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        return await self._loaded().answer(headers, receive, scope["client"][0] if scope["client"] else "")

    def _loaded(self) -> Inference:
        if self.inference is None:
            raise Refusal(503, "the model is still loading", "loading", ((b"retry-after", b"1"),))
        return self.inference

    async def _page(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        return Reply(200, self._metrics.page(), ((b"content-type", CONTENT_TYPE),))

    async def _diagnosis(self, _scope: Scope, _headers: Headers, _receive: Receive) -> Reply:
        data = diagnosis(self._options, self.inference, self._metrics, self.not_ready, self._started_at)
        return Reply(503 if self.not_ready else 200, orjson.dumps(data))


def _said_not_ready(scope: Scope, reply: Reply) -> bool:
    """Whether a probe was told "not ready": the right answer while a model loads or drains, and no failure."""
    return reply.status == 503 and scope["path"].rstrip("/").endswith(("/ready", "/health"))


def _error(text: str) -> bytes:
    return orjson.dumps({"error": text})


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join(
        f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
