"""The way of one inference request: let in, read, decode, run, encode.

A 422 means one of two things, told apart by the reason of its refusal: ``failed``, well-formed inputs that the
model could not run (the service's error), and ``not_finite``, an output that the asked JSON cannot carry (the
client's choice). Inputs that onnxruntime calls invalid arguments are the client's mistake: 400, ``malformed``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from nimify_tui.base.errors import InferenceError, ValidationError
from nimify_tui.serving.cache import ResponseCache
from nimify_tui.serving.datatypes import Array, InferRequest
from nimify_tui.serving.decode import Decoder
from nimify_tui.serving.encode import encode
from nimify_tui.serving.limits import RateLimit
from nimify_tui.serving.metrics import ModelMetrics
from nimify_tui.serving.model import Model
from nimify_tui.serving.options import Options
from nimify_tui.serving.replies import BINARY_TYPE, Refusal, Reply, retry_after
from nimify_tui.serving.scheduler import ClientGone, Scheduler, SchedulerSettings

Receive = Callable[[], Awaitable[dict[str, Any]]]
Headers = dict[bytes, bytes]


__all__ = ["ClientGone", "Headers", "Inference", "Receive"]


class Inference:
    """Answers the infer requests of one model, within the limits of ``options``."""

    def __init__(self, options: Options, model: Model, metrics: ModelMetrics) -> None:
        self._options, self.model, self._metrics = options, model, metrics
        self._decoder = Decoder(model.inputs, model.outputs)
        self._limit = RateLimit(options.rate_limit_rps)
        self.scheduler = Scheduler(model, _settings(options), metrics)
        metrics.waiting = lambda: self.scheduler.waiting
        self._cache = ResponseCache(options.cache_bytes, options.cache_ttl_s) if options.cache_bytes else None
        metrics.cache = self._cache
        #: (unix seconds, words) of the last failures, for the diagnostic page.
        self.last_errors: deque[tuple[float, str]] = deque(maxlen=10)

    def cut_off(self) -> None:
        """The drain's time is over: whoever still waits gets a 503 now."""
        self.scheduler.cut_off()

    async def answer(self, headers: Headers, receive: Receive, client: str) -> Reply:
        """The answer. Raises Refusal, and ClientGone when nobody waits for one."""
        metrics = self._metrics
        metrics.in_flight += 1
        status = 500
        try:
            reply = await self._answer(headers, receive, client)
            status = reply.status
            return reply
        except Refusal as refusal:
            status = refusal.status
            raise
        except ClientGone:
            status = 499  # as nginx counts them: the answer never left
            raise
        finally:
            metrics.in_flight -= 1
            metrics.answered(status)

    async def _answer(self, headers: Headers, receive: Receive, client: str) -> Reply:
        try:
            json_length = self._admit(headers, client)
        except Refusal:
            if b"expect" not in headers:
                await _discard(receive)  # an answer before the end of the body would be lost in a reset
            raise
        body = await _read(receive)
        if not self.model.inline(1):
            # Before the work of decoding: under overload this is most of what a refusal costs.
            self.scheduler.admit(client, time.perf_counter() + self._options.request_timeout_s)
        began = time.perf_counter()
        try:
            request = self._decoder.decode(body, json_length)
        except ValidationError as error:
            raise Refusal(400, error.message, "malformed") from None
        try:
            arrays = await self._compute(request, receive, client)
        except ValidationError as error:
            raise Refusal(400, error.message, "malformed") from None
        except InferenceError as error:
            self.last_errors.append((time.time(), error.message))
            raise Refusal(422, error.message, "failed") from None
        finally:
            self._metrics.duration.observe(time.perf_counter() - began)
        answer, length = encode(self._options.name, self._options.version, request, arrays)
        if length is None:
            return Reply(200, answer)
        return Reply(200, answer, (BINARY_TYPE, (b"inference-header-content-length", b"%d" % length)))

    def _admit(self, headers: Headers, client: str) -> int | None:
        wait_s = self._limit.wait_s(client)
        if wait_s:
            rate = self._options.rate_limit_rps
            raise Refusal(
                429, f"more than {rate:g} requests a second from this client", "limited", retry_after(wait_s)
            )
        if self._metrics.in_flight - self.scheduler.waiting > self._options.max_concurrency:
            raise Refusal(
                503, f"{self._options.max_concurrency} requests are being answered", "busy", retry_after(1)
            )
        encoding = headers.get(b"content-encoding", b"identity")
        if encoding != b"identity":
            raise Refusal(415, "compressed bodies are not taken: send no Content-Encoding", "malformed")
        if headers.get(b"content-type", b"").startswith((b"multipart/", b"text/xml", b"application/xml")):
            raise Refusal(415, "expected JSON, or JSON followed by binary tensors", "malformed")
        if b"content-length" not in headers and b"transfer-encoding" not in headers:
            raise Refusal(411, "the request has no body: send Content-Length and a JSON object", "malformed")
        length = headers.get(b"inference-header-content-length")
        if length is None:
            return None
        if not length.isdigit() or len(length) > 12:
            raise Refusal(400, "Inference-Header-Content-Length must be a whole number of bytes", "malformed")
        return int(length)

    async def _compute(self, request: InferRequest, receive: Receive, client: str) -> list[Array]:
        cache = self._cache
        if cache is None:
            return await self._run(request, receive, client)
        key = cache.key(request)
        arrays = cache.get(key)
        if arrays is None:
            arrays = await self._run(request, receive, client)
            cache.put(key, arrays)
        return arrays

    async def _run(self, request: InferRequest, receive: Receive, client: str) -> list[Array]:
        metrics = self._metrics
        if not self.model.inline(request.elements):
            return await self._run_elsewhere(request, receive, client)
        metrics.batch.observe(request.batch)
        began = time.perf_counter()
        arrays = self.model.run(request.inputs, [name for name, _ in request.wanted])
        metrics.compute.observe(time.perf_counter() - began)
        metrics.queue.observe(0.0)
        return arrays

    async def _run_elsewhere(self, request: InferRequest, receive: Receive, client: str) -> list[Array]:
        """On a worker's thread, for as long as the client waits and the limits allow."""
        limit_s = min(self._options.request_timeout_s, request.timeout_s or float("inf"))
        gone = asyncio.ensure_future(receive())
        try:
            return await self.scheduler.run(request, client, time.perf_counter() + limit_s, gone)
        finally:
            gone.cancel()


def _settings(options: Options) -> SchedulerSettings:
    return SchedulerSettings(
        options.max_queue, options.request_timeout_s, options.latency_objective_ms / 1000 or None, options.max_batch,
        options.sessions,
    )  # fmt: skip


async def _read(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        return body
    chunks = []
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


async def _discard(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if not message.get("more_body"):
            return
