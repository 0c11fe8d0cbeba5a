"""Numbers that carry their unit, time, source and how far they can be trusted."""

from __future__ import annotations

import enum

import msgspec

from nimify_tui.domain.asked import Found


class MeasureState(enum.StrEnum):
    """How far a number can be trusted. Absent is never zero."""

    FRESH = "fresh"
    STALE = "stale"
    ABSENT = "absent"
    BOUND = "bound"


class Measure(msgspec.Struct, frozen=True, gc=False):
    """One measured number.

    ``value`` is None exactly when ``state`` is ABSENT. ``bound`` is ``<`` for one that may be less (a quantile in the
    first bucket), ``>`` for one that may be more, also when it is old; BOUND without it is the latter. ``unit`` is one
    of "s", "rps", "ratio", "bytes", "bytes_per_second", "count", "percent", "celsius", "watt", "megahertz". ``at`` is
    unix seconds of the newest observation in it.
    """

    value: float | None
    unit: str
    at: float | None = None
    source: str = ""
    state: MeasureState = MeasureState.FRESH
    reason: str = ""
    bound: str = ""

    @property
    def sign(self) -> str:
        """``<`` for at most, ``>`` for at least, "" for what it is."""
        return self.bound or (">" if self.state is MeasureState.BOUND else "")


def absent(unit: str, reason: str, source: str = "") -> Measure:
    """A number that is not known, and why."""
    return Measure(None, unit, None, source, MeasureState.ABSENT, reason)


class Histogram(msgspec.Struct, frozen=True, gc=False):
    """A cumulative Prometheus histogram as scraped.

    ``bounds_s`` are the finite upper bounds (seconds, ascending; share the tuple between samples),
    ``counts`` the cumulative counts for each finite bound and, last, for +Inf; so
    ``len(counts) == len(bounds_s) + 1``. ``sum_s`` is the sum of all observations.
    """

    bounds_s: tuple[float, ...]
    counts: tuple[float, ...]
    sum_s: float = 0.0


class ModelSample(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a scrape said of one of several models; fields as in :class:`ReplicaSample`."""

    requests: dict[str, float] | None = None
    duration: Histogram | None = None


class TokenSample(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a scrape said of a server of language models; counters since that process started, None: not told.

    ``ttft`` is the time to the first token, ``itl`` the time between two tokens. Prefix counters are in whatever
    the server counts (vLLM: tokens). ``kv_ratio`` is the mean use of the KV cache over its engines, 0 to 1.
    ``prefix_ratio`` is the hit ratio of the prefix cache as the server itself makes it (over a time of its own, 0 to
    1), for those that count no hits.
    """

    ttft: Histogram | None = None
    itl: Histogram | None = None
    prompt_tokens: float | None = None
    generation_tokens: float | None = None
    prefix_queries: float | None = None
    prefix_hits: float | None = None
    preemptions: float | None = None
    kv_ratio: float | None = None
    prefix_ratio: float | None = None


class Front(msgspec.Struct, frozen=True, gc=False):
    """What something before services told of them: ``who`` in words, durations by (namespace, name of the service)."""

    who: str
    services: dict[tuple[str, str], Histogram]


class ReplicaSample(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one scrape of one replica said; cumulative counters since that process started.

    ``requests`` maps the status code ("200") to its count. ``rejected`` maps a reason to its count,
    ``security`` maps (category, action) to its count, ``cache`` maps (tier, result) to its count,
    ``cache_bytes`` a tier to its size.
    Absent families are None, not zero. ``models`` are the numbers by model, None where there is only one.
    ``every_s`` is how often this replica is read, seconds, where that is not the fleet's own pace: it is far
    away, and its clock is another one. The code "" of ``requests`` is one that is not told. Histograms without
    bounds are a count and a sum: a mean, no percentile. ``latency_note`` says why there is no percentile, or what
    ``duration`` measures where that is not the whole request. ``tokens``: of servers of language models. ``front``:
    of what stands before other services, which it tells of. ``digests``
    are the SHA-256 of the models that it has loaded, where it tells those. ``via`` is
    who has told it where that is not the replica itself ("Prometheus prom:9090"), ``found`` the series that did,
    ``partial`` why that may be only a part ("" where it is all). ``runtime`` is the family whose names of metrics were
    read, ``documented`` whether some of those names are known from their maker's documentation alone: no page that a
    server wrote is there to check them.
    """

    at: float
    source: str
    started_at: float | None = None
    requests: dict[str, float] | None = None
    duration: Histogram | None = None
    queue: Histogram | None = None
    compute: Histogram | None = None
    batch_sum: float | None = None
    batch_count: float | None = None
    in_flight: float | None = None
    queued: float | None = None
    rejected: dict[str, float] | None = None
    security: dict[tuple[str, str], float] | None = None
    cache: dict[tuple[str, str], float] | None = None
    cache_bytes: dict[str, float] | None = None
    cache_evictions: float | None = None
    cpu_s: float | None = None
    rss_bytes: float | None = None
    open_fds: float | None = None
    models: dict[str, ModelSample] | None = None
    every_s: float | None = None
    latency_note: str = ""
    via: str = ""
    partial: str = ""
    runtime: str = ""
    documented: bool = False
    tokens: TokenSample | None = None
    front: Front | None = None
    digests: tuple[str, ...] | None = None
    found: Found | None = None


class ReplicaUse(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a replica takes of its host as the host measures it, for those that tell no metrics of their own.

    ``cpu_ratio`` 1.0 is one whole processor; ``memory_bytes`` without idle file pages. None: not known.
    """

    at: float
    source: str
    cpu_ratio: float | None = None
    memory_bytes: int | None = None
