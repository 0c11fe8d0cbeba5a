"""Objectives."""

from __future__ import annotations

import enum

import msgspec


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
