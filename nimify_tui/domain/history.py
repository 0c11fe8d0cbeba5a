"""What a service did over a stretch of time, as a region's Prometheus tells it: the answer to a HistoryDemand."""

from __future__ import annotations

import enum

import msgspec


class ChartMetric(enum.StrEnum):
    """What a chart shows. LATENCY are p50, p95 and p99."""

    LATENCY = "latency"
    REQUESTS = "requests"
    ERRORS = "errors"


class Step(msgspec.Struct, frozen=True, gc=False):
    """What is known of the ``History.step_s`` seconds that end at ``at`` (unix seconds); what is not known is no step.

    ``counts`` are requests a second by their latency: cumulative for each of ``History.bounds``, +Inf last, so that
    regions can be added. ``total`` and ``errors`` are requests a second. ``low`` and ``high`` are the least and the
    greatest of each line of the metric (seconds, requests a second or a ratio) within the step, measured over pieces of
    ``History.piece_s``: a spike that the whole step would smooth away is still there. () where nobody told them.
    """

    at: float
    counts: tuple[float, ...] = ()
    total: float | None = None
    errors: float | None = None
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of one service in one region, oldest first; gaps are steps that are not there.

    ``at`` is when it was read, ``source`` who told it ("Prometheus prom:9090"), ``bounds`` the finite bounds of
    ``Step.counts`` (seconds), ``runtime`` whose names of metrics were found. ``queries`` are PromQL to copy: (what it
    shows, expression). ``note`` says what is not whole; ``error`` and ``remedy`` why there is nothing.
    """

    at: float
    source: str = ""
    runtime: str = ""
    step_s: float = 0.0
    piece_s: float = 0.0
    bounds: tuple[float, ...] = ()
    steps: tuple[Step, ...] = ()
    queries: tuple[tuple[str, str], ...] = ()
    note: str = ""
    error: str = ""
    remedy: str = ""
