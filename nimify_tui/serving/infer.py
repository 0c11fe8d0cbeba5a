"""The way of one inference request: let in, read, decode, run, encode.

A 422 means one of two things, told apart by the reason of its refusal: ``failed``, well-formed inputs that the
model could not run (the service's error), and ``not_finite``, an output that the asked JSON cannot carry (the
client's choice). Inputs that onnxruntime calls invalid arguments are the client's mistake: 400, ``malformed``.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from nimify_tui.base.errors import InferenceError, NimifyError, ValidationError
from nimify_tui.base.text import clean_line
from nimify_tui.serving.cache import ResponseCache
from nimify_tui.serving.datatypes import Array, InferRequest
from nimify_tui.serving.decode import Decoder
from nimify_tui.serving.encode import MAX_KEPT, Encoder
from nimify_tui.serving.limits import RateLimit
from nimify_tui.serving.metrics import ModelMetrics
from nimify_tui.serving.model import Model
from nimify_tui.serving.options import Options
from nimify_tui.serving.replies import BINARY_TYPE, JSON_TYPE, Header, Refusal, Reply, retry_after
from nimify_tui.serving.scheduler import ClientGone, Scheduler, SchedulerSettings
from nimify_tui.serving.turns import HEAVY_BYTES, Room, Turns

Receive = Callable[[], Awaitable[dict[str, Any]]]
Headers = dict[bytes, bytes]


#: Content-Encoding: what it asks of us.
COMPRESSIONS = {"identity": "", "gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
#: No larger body is answered without a moment's wait, however quick the model.
MAX_STRAIGHT_BYTES = 64 * 1024
_X_CACHE: dict[bool, Header] = {True: (b"x-cache", b"HIT"), False: (b"x-cache", b"MISS")}


__all__ = ["ClientGone", "Headers", "Inference", "Receive", "admitted"]


def admitted(headers: Headers) -> tuple[int | None, str]:
    """(length of the JSON part before binary tensors, compression) as the headers say. Raises Refusal."""
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").lower()
    if encoding not in COMPRESSIONS:
        text = f"bodies may be compressed with gzip or deflate, not {clean_line(encoding, 40)}"
        raise Refusal(415, text, "malformed", ((b"accept-encoding", b"gzip, deflate"),))
    if headers.get(b"content-type", b"").startswith((b"multipart/", b"text/xml", b"application/xml")):
        raise Refusal(415, "expected JSON, or JSON followed by binary tensors", "malformed")
    if b"content-length" not in headers and b"transfer-encoding" not in headers:
        raise Refusal(411, "the request has no body: send Content-Length and a JSON object", "malformed")
    length = headers.get(b"inference-header-content-length")
    if length is None:
        return None, COMPRESSIONS[encoding]
    if not length.isdigit() or len(length) > 12:
        raise Refusal(400, "Inference-Header-Content-Length must be a whole number of bytes", "malformed")
    return int(length), COMPRESSIONS[encoding]


def inflated(body: bytes, compression: str, max_bytes: int) -> bytes:
    """The body that was compressed. Raises Refusal when it is not, or is larger than ``max_bytes``."""
    # 16: zlib's way to ask for gzip's header.
    reader = zlib.decompressobj(zlib.MAX_WBITS + (16 if compression == "gzip" else 0))
    try:
        plain = reader.decompress(body, max_bytes + 1)
    except zlib.error:
        raise Refusal(400, f"the body is not what {compression} makes", "malformed") from None
    if len(plain) > max_bytes:
        text = f"the body has more than {max_bytes} bytes once decompressed; at most {max_bytes} are taken"
        raise Refusal(413, text, "oversized")
    if not reader.eof or reader.unused_data:
        raise Refusal(400, f"the body is not one whole {compression} stream", "malformed")
    return plain


class Inference:
    """Answers the infer requests of one model, within the limits of ``options``."""

    def __init__(
        self, options: Options, model: Model, metrics: ModelMetrics, turns: Turns, room: Room
    ) -> None:
        self._options, self.model, self._metrics = options, model, metrics
        self._turns, self._room = turns, room
        self._decoder = Decoder(model.inputs, model.outputs)
        self._encoder = Encoder(options.name, options.version)
        self._limit = RateLimit(options.rate_limit_rps)
        self._rate_limited, self._max_concurrency = bool(options.rate_limit_rps), options.max_concurrency
        self._binary_headers: dict[int, tuple[Header, ...]] = {}
        self.scheduler = Scheduler(model, _settings(options), metrics)
        metrics.waiting = lambda: self.scheduler.waiting
        self._cache = ResponseCache(options.cache_bytes, options.cache_ttl_s) if options.cache_bytes else None
        metrics.cache = self._cache
        self._flights: dict[bytes, asyncio.Future[list[Array] | None]] = {}

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

    def answer_now(self, json_length: int | None, body: bytes, client: str) -> Reply:
        """The answer to a small request to a tiny model, without a moment's wait. Raises Refusal.

        For bodies of at most ``straight_bytes``, whose headers ``admitted`` has seen.
        """
        status = 500
        self._metrics.in_flight += 1
        try:
            self._let_in(client)
            began = time.perf_counter()
            try:
                request = self._decoder.decode(body, json_length)
            except ValidationError as error:
                raise _refusal(error) from None
            arrays = key = None
            try:
                if self._cache is not None:
                    arrays = self._cache.get(key := self._cache.key(request))
                hit = None if key is None else arrays is not None
                if arrays is None:
                    arrays = self._run(request)
                    if self._cache is not None and key is not None:
                        self._cache.put(key, arrays)
            except NimifyError as error:
                raise _refusal(error) from None
            finally:
                self._metrics.duration.observe(time.perf_counter() - began)
            reply = self._reply(request, arrays, hit)
            status = 200
            return reply
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            self._metrics.in_flight -= 1
            self._metrics.answered(status)

    def refusal(self, client: str) -> Refusal | None:
        """What a request would be told for which there is no room now; None: it is worth reading.

        With a cache all are, because the cache may have the answer.
        """
        if self._cache is not None:
            return None
        try:
            self.scheduler.admit(client, time.perf_counter() + self._options.request_timeout_s)
        except Refusal as refusal:
            return refusal
        return None

    def refuse_now(self, refusal: Refusal, client: str) -> Reply:
        """Refuse a request that nobody has read. Raises Refusal, always; under overload most of the work is this."""
        told = refusal
        try:
            self._let_in(client)
        except Refusal as other:
            told = other
        self._metrics.answered(told.status)
        raise told

    @property
    def straight_bytes(self) -> int:
        """Bodies up to this size may be answered at once: at 4 bytes an element the run is inline.

        JSON can be as short as 2 bytes an element, so a run may last twice as long as a usual inline one.
        """
        return int(min(4 * self.model.inline_elements, MAX_STRAIGHT_BYTES))

    async def _answer(self, headers: Headers, receive: Receive, client: str) -> Reply:
        size = int(headers.get(b"content-length", b"0"))
        try:
            json_length, encoding = admitted(headers)
            self._let_in(client)
            if not self._room.has(size):
                words = f"requests of {self._room.held_bytes} bytes are here; at most {self._room.max_bytes} are taken"
                raise Refusal(503, words, "busy", retry_after(1))
        except Refusal:
            if b"expect" not in headers:
                await _discard(receive)  # an answer before the end of the body would be lost in a reset
            raise
        self._room.held_bytes += size
        try:
            body = await _read(receive)
            self._room.held_bytes += len(body) - size  # a chunked one declares no size
            size = len(body)
            return await self._answered(body, json_length, encoding, receive, client)
        finally:
            self._room.held_bytes -= size

    async def _answered(
        self, body: bytes, json_length: int | None, encoding: str, receive: Receive, client: str
    ) -> Reply:
        began = time.perf_counter()
        if self._cache is None and not self.model.inline(1):
            # Before the work of decoding: under overload this is most of what a refusal costs.
            self.scheduler.admit(client, began + self._options.request_timeout_s)
        if encoding or len(body) > HEAVY_BYTES:
            async with self._turns.one():
                if time.perf_counter() - began > self._options.request_timeout_s:
                    words = "large bodies of others took all the time of this one"
                    raise Refusal(503, words, "deadline", retry_after(1))
                request = self._decoded(body, json_length, encoding)
        else:
            request = self._decoded(body, json_length, encoding)
        try:
            arrays, hit = await self._compute(request, receive, client, began)
        except NimifyError as error:
            raise _refusal(error) from None
        finally:
            self._metrics.duration.observe(time.perf_counter() - began)
        if sum(array.nbytes for array in arrays) > HEAVY_BYTES:
            async with self._turns.one():
                return self._reply(request, arrays, hit)
        return self._reply(request, arrays, hit)

    def _decoded(self, body: bytes, json_length: int | None, encoding: str) -> InferRequest:
        if encoding:
            body = inflated(body, encoding, self._options.max_body_bytes)
        try:
            return self._decoder.decode(body, json_length)
        except ValidationError as error:
            raise _refusal(error) from None

    def _reply(self, request: InferRequest, arrays: list[Array], hit: bool | None) -> Reply:
        answer, length = self._encoder.encode(request, arrays)
        if length is None and hit is None:
            return Reply(200, answer)
        headers: tuple[Header, ...] = (JSON_TYPE,)
        if length is not None:
            headers = self._binary_headers.get(length, ())
            if not headers:
                # The same tuple for the same length: whoever writes it out knows it again at a glance.
                headers = self._binary_headers[length] = (BINARY_TYPE, _json_part(length))
                if len(self._binary_headers) > MAX_KEPT:
                    self._binary_headers.clear()
        return Reply(200, answer, headers if hit is None else (*headers, _X_CACHE[hit]))

    def _let_in(self, client: str) -> None:
        if self._rate_limited:
            wait_s = self._limit.wait_s(client)
            if wait_s:
                rate = self._options.rate_limit_rps
                text = f"more than {rate:g} requests a second from this client"
                raise Refusal(429, text, "limited", retry_after(wait_s))
        busy = self._metrics.in_flight
        if busy > self._max_concurrency and busy - self.scheduler.waiting > self._max_concurrency:
            raise Refusal(
                503, f"{self._options.max_concurrency} requests are being answered", "busy", retry_after(1)
            )

    async def _compute(
        self, request: InferRequest, receive: Receive, client: str, began: float
    ) -> tuple[list[Array], bool | None]:
        """The model's answer, and whether the cache had it; None: there is no cache.

        ``began``: when the request was whole, in perf_counter's seconds; its deadlines count from there.
        """
        cache, deadline = self._cache, began + self._limit_s(request)
        if cache is None:
            return await self._ran(request, receive, client, deadline), None
        key = cache.key(request)
        arrays = cache.get(key)
        while arrays is None and (flight := self._flights.get(key)) is not None:
            # The same question is being computed: its answer is ours too. When whoever asked gave up or failed,
            # the next in line asks for itself.
            await self._joined(flight, deadline, receive)
            arrays = flight.result()
        if arrays is not None:
            return arrays, True
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            arrays = await self._ran(request, receive, client, deadline)
            cache.put(key, arrays)
            return arrays, False
        finally:
            del self._flights[key]
            flight.set_result(arrays)

    async def _ran(
        self, request: InferRequest, receive: Receive, client: str, deadline: float
    ) -> list[Array]:
        if self.model.inline(request.elements):
            return self._run(request)
        gone = asyncio.ensure_future(receive())
        try:
            return await self.scheduler.run(request, client, deadline, gone)
        finally:
            gone.cancel()

    def _run(self, request: InferRequest) -> list[Array]:
        metrics = self._metrics
        began = time.perf_counter()
        arrays = self.model.run(request.inputs, self._decoder.names_of(request.wanted))
        metrics.compute.observe(time.perf_counter() - began)
        metrics.batch.observe(request.batch)
        metrics.queue.counts[0] += 1  # it did not wait
        return arrays

    def _limit_s(self, request: InferRequest) -> float:
        return min(self._options.request_timeout_s, request.timeout_s or float("inf"))

    async def _joined(self, flight: asyncio.Future[Any], deadline: float, receive: Receive) -> None:
        """Wait for the run of the same question. Raises ClientGone, and Refusal when it is not done in time.

        When the drain ends, so does that run, with the refusal of whoever asked first, and ours comes then.
        """
        gone = asyncio.ensure_future(receive())
        limit_s = max(0.0, deadline - time.perf_counter())
        try:
            await asyncio.wait((flight, gone), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if flight.done():
                return
            if gone.done():
                raise ClientGone
            raise Refusal(503, "the same request was not answered in time", "deadline", retry_after(1))
        finally:
            gone.cancel()


def _settings(options: Options) -> SchedulerSettings:
    return SchedulerSettings(
        options.max_queue, options.request_timeout_s, options.latency_objective_ms / 1000 or None, options.max_batch,
        options.sessions,
    )  # fmt: skip


def _refusal(error: NimifyError) -> Refusal:
    if isinstance(error, InferenceError):
        return Refusal(422, error.message, "failed")
    return Refusal(400, error.message, "malformed")


def _json_part(length: int) -> Header:
    return (b"inference-header-content-length", b"%d" % length)


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
