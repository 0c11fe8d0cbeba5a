"""Time as a dependency, so that tests step it and replay brings its own."""

from __future__ import annotations

import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """What the time is."""

    def now(self) -> float:
        """Wall clock, unix seconds (UTC)."""
        ...

    def mono_s(self) -> float:
        """Monotonic seconds, only for differences inside one process."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Wall clock, unix seconds (UTC)."""
        return time.time()

    def mono_s(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told: for tests and replay."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self._at = at
        self._mono_s = 0.0

    def now(self) -> float:
        """The time that was set, unix seconds."""
        return self._at

    def mono_s(self) -> float:
        """Seconds advanced so far."""
        return self._mono_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by ``seconds``."""
        self._at += seconds
        self._mono_s += seconds


_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration_s(text: str) -> float:
    """``90``, ``90s``, ``5m`` or ``1h`` in seconds. Raises ValueError for anything else, and beyond a day."""
    text = text.strip()
    number, unit = (text[:-1], text[-1]) if text[-1:].isalpha() else (text, "")
    if unit not in _UNITS_S:
        raise ValueError(f"{text[:40]!r} is no duration such as 90s, 5m or 1h")
    try:
        value = float(number) * _UNITS_S[unit]
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no duration such as 90s, 5m or 1h") from None
    if not 0 < value < 86400:
        raise ValueError(f"{text[:40]!r} is not between 0 and 24 h")
    return value


def rfc3339(at: float) -> str:
    """Unix seconds as RFC 3339 in UTC with milliseconds, e.g. ``2026-11-23T18:42:07.120Z``."""
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
