"""Quantiles out of cumulative histogram buckets, and their merging.

Linear inside a bucket as Prometheus' ``histogram_quantile`` does it (promql/quantile.go, bucketQuantile).
A quantile in the first or in the open bucket is only a bound, and says so.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import add
from typing import NamedTuple

Bounds = tuple[float, ...]


class Quantile(NamedTuple):
    """``value`` in seconds; ``bound`` is "" for an estimate, else why it is only a bound.

    ``at_most``: it may be less (it is in the first bucket); a bound that is not so may be more (in the open one).
    """

    value: float
    bound: str = ""
    at_most: bool = False

    @property
    def sign(self) -> str:
        """``>`` for at least, ``<`` for at most, a blank for an estimate."""
        return ("<" if self.at_most else ">") if self.bound else " "


def quantile(q: float, bounds: Bounds, counts: Sequence[float]) -> Quantile | None:
    """The ``q`` quantile (0 to 1) of cumulative ``counts`` (one a bound, then +Inf); None without observations."""
    found = bucketed(q, bounds, counts)
    if found is None:
        return None
    value, index = found
    if index >= len(bounds):
        return Quantile(value, f"at least {_seconds(value)}: in the open bucket of the histogram")
    if index == 0:
        return Quantile(value, f"at most {_seconds(value)}: in the first bucket of the histogram", at_most=True)
    return Quantile(value)


def bucketed(q: float, bounds: Bounds, counts: Sequence[float]) -> tuple[float, int] | None:
    """As :func:`quantile`: its value in seconds, and the place of its bucket; in the first and the open one a bound."""
    total = counts[-1]
    if total <= 0.0 or not bounds:
        return None
    rank = q * total
    index = bisect_left(counts, rank)
    while index < len(counts) and counts[index] <= 0.0:
        index += 1  # rank 0: the first bucket that holds anything
    if index >= len(bounds):
        return bounds[-1], index
    if index == 0:
        return bounds[0], index
    low, below, here = bounds[index - 1], counts[index - 1], counts[index]
    share = (rank - below) / (here - below) if here > below else 1.0
    return low + (bounds[index] - low) * min(1.0, max(0.0, share)), index


def share_within(limit_s: float, bounds: Bounds, counts: Sequence[float]) -> float | None:
    """Which ratio of the observations was at most ``limit_s`` (linear inside a bucket); None without observations."""
    total = counts[-1]
    if total <= 0.0 or not bounds:
        return None
    index = bisect_left(bounds, limit_s)
    if index >= len(bounds):
        return counts[len(bounds) - 1] / total
    low, below = (bounds[index - 1], counts[index - 1]) if index else (0.0, 0.0)
    inside = (limit_s - low) / (bounds[index] - low)
    return (below + (counts[index] - below) * inside) / total


def at_most_within(limit_s: float, bounds: Bounds, counts: Sequence[float]) -> tuple[float, str]:
    """Which ratio of the observations was within ``limit_s`` at most, and why it may be less ("": it is an estimate).

    Where the limit lies in the first or in the open bucket, or there is no bucket, nobody knows on which side of it the
    observations of that bucket are: they are taken as within it, so that only what was surely slower counts as slower.
    """
    total = counts[-1]
    if not bounds or total <= 0.0:
        return 1.0, "" if bounds else "no latency buckets"
    if limit_s < bounds[0]:
        return counts[0] / total, f"its first bucket ends at {_seconds(bounds[0])}"
    if limit_s > bounds[-1]:
        return 1.0, f"its last bound is {_seconds(bounds[-1])}"
    within = share_within(limit_s, bounds, counts)
    return (1.0 if within is None else within), ""


def common(one: Bounds, other: Bounds) -> Bounds:
    """The bounds that both have; cumulative counts at those can be added."""
    if one == other:
        return one
    shared = set(other)
    return tuple(bound for bound in one if bound in shared)


def project(bounds: Bounds, counts: Sequence[float], onto: Bounds) -> list[float]:
    """Cumulative ``counts`` at the bounds ``onto`` (a part of ``bounds``), and +Inf."""
    if bounds == onto:
        return list(counts)
    place = {bound: index for index, bound in enumerate(bounds)}
    return [*(counts[place[bound]] for bound in onto), counts[-1]]


def merge(parts: Iterable[tuple[Bounds, Sequence[float]]]) -> tuple[Bounds, list[float]] | None:
    """Add histograms on the bounds that all have; None when they have none in common or nothing is given."""
    given = [(bounds, counts) for bounds, counts in parts if bounds]
    if not given:
        return None
    bounds, counts = given[0][0], list(given[0][1])
    for other, more in given[1:]:
        if other == bounds:
            counts = list(map(add, counts, more))
            continue
        shared = common(bounds, other)
        if not shared:
            return None
        counts = list(map(add, project(bounds, counts, shared), project(other, more, shared)))
        bounds = shared
    return bounds, counts


def _seconds(value: float) -> str:
    return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"
