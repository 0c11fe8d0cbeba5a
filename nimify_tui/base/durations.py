"""Durations as people write them: ``90s``, ``1h``, ``30d``."""

from __future__ import annotations

import re

from nimify_tui.base.errors import ConfigurationError

_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(s|m|h|d|w)\Z", re.ASCII)
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def seconds(duration: str) -> float:
    """A duration such as "30d" in seconds. Raises ConfigurationError."""
    match = _DURATION.match(duration)
    if match is None:
        raise ConfigurationError(f"{duration[:40]!r} is no duration", 'write it like "90s", "1h" or "30d"')
    return float(match[1]) * _UNIT_S[match[2]]
