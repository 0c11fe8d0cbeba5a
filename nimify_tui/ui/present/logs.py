"""Structured log lines as people read them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

#: A longer line is shown as it is: it costs too much to take apart at thousands of lines a second.
_MAX_CHARS = 4096
#: What stands first, whatever the writer calls it; the time is shown already.
_FIRST = ("event", "msg", "message")
#: A model's digest; its first digits tell it from others, as everywhere on the screen.
_SHA256 = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")
_SKIPPED = frozenset({"ts", "time", "timestamp", "level", "severity", *_FIRST})


def plain_log(text: str) -> str:
    """``{"level":"error","event":"probe failed","status":503}`` as ``ERROR probe failed status=503``.

    Any other line, and one that is no JSON object, stays as it is. Nothing is left out but the time
    and all but the first digits of a sha256.
    """
    if not text.startswith("{") or len(text) > _MAX_CHARS:
        return text
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return text
    if not isinstance(fields, dict):
        return text
    level = fields.get("level", fields.get("severity", ""))
    first = [str(fields[name]) for name in _FIRST if name in fields]
    rest = [f"{key}={_value(value)}" for key, value in fields.items() if key not in _SKIPPED]
    return _SHA256.sub(r"\1", " ".join(filter(None, [str(level).upper(), *first, *rest])))


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def pod_label(service: str, replica: str) -> str:
    """A replica among those of its service: of a Deployment's pod the five letters that are its own."""
    rest = replica.removeprefix(f"{service}-")
    if rest == replica:
        return replica
    template, _, own = rest.rpartition("-")
    return own if len(own) == 5 and len(template) >= 6 and template.isalnum() else replica
