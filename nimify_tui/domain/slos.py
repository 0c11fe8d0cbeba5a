"""Objectives."""

from __future__ import annotations

import msgspec


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """An objective of a service (``service`` is its name; it holds in every region).

    ``objective`` is the wanted ratio of good requests (0.999); ``latency_ms`` with ``quantile``
    makes a request good only if it is that fast. ``window_s`` is the budget's window.
    """

    service: str
    objective: float = 0.999
    window_s: float = 30 * 86400.0
    latency_ms: float | None = None
    quantile: float = 0.95
