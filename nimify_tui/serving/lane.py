"""The straight way of a small request to a tiny model: from the parser to the answer in one call.

The messages, the event and the task between the parser and an application cost more than the run of a model
that answers in 10 us, and far more than to say that there is no room: so a small request that will be refused for
that reason goes this way as well, whatever its model. What is refused, logged and counted, and how, is the
application's (`api`) and the model's (`infer`); a request that is anything but plain goes the application's way.
"""

from __future__ import annotations

import http
import time
from typing import TYPE_CHECKING, Any

from nimify_tui.serving.infer import MAX_STRAIGHT_BYTES, Headers, Inference, admitted
from nimify_tui.serving.replies import Header, Refusal, Reply
from nimify_tui.serving.screen import suspicious_headers
from nimify_tui.serving.trace import trace_of

if TYPE_CHECKING:
    from nimify_tui.serving.api import Api

Client = tuple[str, int] | None
RawHeaders = list[tuple[bytes, bytes]]
#: Headers that differ from request to request; all others are looked at once for each way of saying them.
VARYING = frozenset((b"content-length", b"x-request-id", b"traceparent", b"tracestate"))
#: So many ways of saying them are remembered.
MAX_KNOWN = 256


class Lane:
    """The straight way to one path of one model version. All methods belong to the event loop."""

    __slots__ = ("_api", "_inference", "_known", "_last", "_openings", "_path", "answers", "max_body_bytes")

    def __init__(self, api: Api, inference: Inference, path: bytes) -> None:
        self._api, self._inference, self._path = api, inference, path
        self._known: dict[tuple[tuple[bytes, bytes], ...], int | None] = {}
        self._openings: dict[tuple[int, tuple[Header, ...]], bytes] = {}
        self._last: tuple[tuple[Header, ...], bytes] = ((), b"")
        #: Whether there are answers here, and not only refusals.
        self.answers = inference.straight_bytes > 0
        self.max_body_bytes = inference.straight_bytes or MAX_STRAIGHT_BYTES

    def takes(self, headers: RawHeaders) -> tuple[int | None] | None:
        """What ``answer`` needs to know of these headers (without the varying ones); None: not this way."""
        key = tuple(headers)
        try:
            return (self._known[key],)
        except KeyError:
            pass
        if suspicious_headers(headers):
            return None
        try:
            json_length, compression = admitted({**dict(headers), b"content-length": b""})
        except Refusal:
            return None
        if compression:
            return None
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[key] = json_length
        return (json_length,)

    def refusal(self, client: Client) -> Refusal | None:
        """What there is to say instead of an answer, as things are now."""
        return None if self.answers else self._inference.refusal(client[0] if client else "")

    def answer(
        self, json_length: int | None, varying: Headers, body: bytes, client: Client, refusal: Refusal | None
    ) -> tuple[bytes, bytes]:
        """The answer, or the ``refusal``: its head without the last, empty line, and its body."""
        api = self._api
        began = time.perf_counter()
        request_id = api.request_id(varying.get(b"x-request-id"))
        words = ""
        try:
            host = client[0] if client else ""
            if refusal is None:
                reply = self._inference.answer_now(json_length, body, host)
            else:
                reply = self._inference.refuse_now(refusal, host)
        except Exception as error:  # noqa: BLE001  # as in the application: no request goes unanswered
            reply, words = api.settled(error, self._scope(varying, client), request_id)
        if reply.status != 200 or time.perf_counter() > api.quiet_until(began):
            api.told(self._scope(varying, client), reply, began, request_id, words)
        traced = b"".join(b"%b: %b\r\n" % each for each in trace_of(varying)) if b"traceparent" in varying else b""
        length = len(reply.body)
        opening = self._opening(reply)
        return b"%bcontent-length: %d\r\nx-request-id: %b\r\n%b" % (opening, length, request_id, traced), reply.body

    def _opening(self, reply: Reply) -> bytes:
        if reply.status == 200 and reply.headers is self._last[0]:
            return self._last[1]
        made = self._kept_opening(reply)
        if reply.status == 200:
            self._last = (reply.headers, made)
        return made

    def _kept_opening(self, reply: Reply) -> bytes:
        key = (reply.status, reply.headers)
        made = self._openings.get(key)
        if made is None:
            status = http.HTTPStatus(reply.status)
            lines = [b"HTTP/1.1 %d %b" % (status, status.phrase.encode())]
            lines += [name + b": " + value for name, value in reply.headers]
            made = b"\r\n".join((*lines, b""))
            if len(self._openings) >= MAX_KNOWN:
                self._openings.clear()
            self._openings[key] = made
        return made

    def _scope(self, varying: Headers, client: Client) -> dict[str, Any]:
        """What the application's ways of refusing and logging want to know."""
        return {
            "type": "http", "method": "POST", "path": self._path.decode("ascii"), "raw_path": self._path,
            "query_string": b"", "client": client, "headers": list(varying.items()),
        }  # fmt: skip
