"""Objectives."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from nimify_tui.base.durations import seconds
from nimify_tui.base.errors import ConfigurationError, ValidationError
from nimify_tui.base.text import clean_line

#: The annotation of a workload, or the label of a container, that tells its objective:
#: ``objective=0.999 window=30d latency_ms=80 quantile=0.95 ttft_ms=500 min_requests=20``, as in the configuration.
ANNOTATION = "nimify.dev/slo"
#: A longer one is no objective.
ANNOTATION_CHARS = 200


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """An objective of a service (``service`` is its name; it holds in every region).

    ``objective`` is the wanted ratio of good requests (0.999); ``latency_ms`` makes a request good only if it is
    that fast, ``ttft_ms`` only if its first token comes so soon; ``quantile`` is the one of the latency that is
    shown against it. ``window_s`` is the budget's window. Of fewer than ``min_requests`` nothing is concluded.
    """

    service: str
    objective: float = 0.999
    window_s: float = 30 * 86400.0
    latency_ms: float | None = None
    quantile: float = 0.95
    ttft_ms: float | None = None
    min_requests: int = 20


class Burning(enum.StrEnum):
    """Whether the error budget goes too fast. FAST wakes somebody, SLOW is for the working day."""

    NO = ""
    SLOW = "slow"
    FAST = "fast"


def read_slo(service: str, text: str) -> Slo:
    """The objective in an annotation. Raises ValidationError, whose message begins with the annotation's name."""
    found: dict[str, Any] = {}
    for word in text.split() if len(text) <= ANNOTATION_CHARS else [text]:
        name, _, value = word.partition("=")
        try:
            if name not in _READS or name in found:
                raise ValueError
            found[name] = _READS[name](value)
        except (ValueError, ConfigurationError) as error:
            raise ValidationError(
                f"{ANNOTATION}: {clean_line(word, 40)!r} is none of {', '.join(_READS)}, or not so much",
                'write it like "objective=0.999 window=30d latency_ms=80"',
            ) from error
    if not found:
        raise ValidationError(f"{ANNOTATION} is empty", 'write it like "objective=0.999 window=30d latency_ms=80"')
    window_s = found.pop("window", None)
    return Slo(service=service, **found, **({} if window_s is None else {"window_s": window_s}))


def _between(text: str, least: float, most: float) -> float:
    value = float(text)
    if not least < value < most:  # a NaN is not either
        raise ValueError(text)
    return value


def _ratio(text: str) -> float:
    return _between(text, 0.0, 1.0)


def _milliseconds(text: str) -> float:
    return _between(text, 0.0, 1e9)


def _window_s(text: str) -> float:
    return _between(str(seconds(text)), 0.0, 400 * 86400.0)


def _count(text: str) -> int:
    return int(_between(text, 0.5, 1e9))


_READS = {
    "objective": _ratio, "window": _window_s, "latency_ms": _milliseconds, "quantile": _ratio,
    "ttft_ms": _milliseconds, "min_requests": _count,
}  # fmt: skip
