"""W3C Trace Context 1 (https://www.w3.org/TR/trace-context/): what is taken from a caller and passed on."""

from __future__ import annotations

import re

from nimify_tui.serving.infer import Headers

#: W3C Trace Context 1: version ff and ids of zeros alone are not valid.
TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}\Z")
TRACESTATE = re.compile(rb"[a-z0-9][\x20-\x7e]{1,511}\Z")


def trace_of(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The caller's trace context (W3C Trace Context 1) for the answer; nothing when it is not valid."""
    parent = headers[b"traceparent"]
    if not TRACEPARENT.match(parent):
        return []
    state = headers.get(b"tracestate", b"")
    return [(b"traceparent", parent), *([(b"tracestate", state)] if TRACESTATE.match(state) else [])]
