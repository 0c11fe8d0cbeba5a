"""Series of a Prometheus as the pages that it once read: for each replica its newest scrape, whole and of one target.

A server puts the labels of its targets (job, instance, pod ...) on every series, renames a runtime's own label where
the two collide (``exported_model``), and may have one replica twice (a pair of servers behind one Thanos): the pages of
two targets are never added up. All series of one scrape have one and the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Protocol

from nimify_tui.sources.metrics.exposition import Series

#: The labels of runtimes themselves that the adapters look at, or that tell one of their series from another.
OWN = frozenset(
    {
        "le", "quantile", "model", "version", "model_name", "engine", "code", "reason", "finished_reason", "category",
        "action", "tier", "result", "handler", "path", "method", "status", "status_code", "gpu_uuid", "http_code",
        "engine_type", "tp_rank", "pp_rank", "dp_rank", "moe_ep_rank", "is_streaming", "cache_source", "endpoint",
        "request_type", "kv_cache_block_type", "http_route", "http_target", "http_status_code",
        "http_response_status_code",
        "exported_namespace", "exported_service", "destination_service_namespace", "destination_service_name",
        "ingress", "reporter", "response_code", "envoy_cluster_name", "cluster_name", "envoy_response_code_class",
    }
)  # fmt: skip
_EXPORTED = {f"exported_{name}": name for name in OWN}


class Row(Protocol):
    """A series with its samples (unix seconds, value), oldest first."""

    @property
    def metric(self) -> Mapping[str, str]:
        """Its labels, the name among them."""
        ...

    @property
    def values(self) -> list[tuple[float, float]]:
        """Its samples."""
        ...


class Target:
    """What one target told of a replica: when (newest first; what may still be coming in is left out), and the rows."""

    __slots__ = ("_named", "labels", "times")

    def __init__(self, labels: tuple[str, ...], times: list[float], rows: list[Row]) -> None:
        self.labels, self.times = labels, times
        self._named = [(row.metric.get("__name__", ""), _labels(row.metric), row.values) for row in rows]

    def page(self, when: float) -> dict[str, list[Series]]:
        """The series of one scrape by their names, with the runtime's own labels."""
        found: dict[str, list[Series]] = {}
        for name, labels, values in self._named:
            for each, value in reversed(values):
                if each <= when:
                    if each == when:
                        found.setdefault(name, []).append(Series(labels, value))
                    break
        return found

    def since(self, before: float, apart_s: float) -> list[float]:
        """The newest time, and of those before it until ``before`` some that are so far apart; oldest first."""
        found: list[float] = []
        for when in self.times:
            if when <= before:
                break
            if not found or found[-1] - when >= apart_s:
                found.append(when)
        return found[::-1]


def targets_of(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    """The rows of one replica by the target they were read from: what has the same labels but for runtimes' own."""
    there = [row for row in rows if row.values]
    common: set[str] = set.intersection(*(set(row.metric) for row in there)) if there else set()
    names = sorted(common - OWN - _EXPORTED.keys() - {"__name__"})
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in there:
        found.setdefault(tuple(row.metric[name] for name in names), []).append(row)
    return found


def told_by(rows: Iterable[Row], at: float, settle_s: float) -> list[Target]:
    """The targets of one replica, the one that was read most lately first.

    A scrape with fewer series than the one before may still be coming in (remote write sends it in pieces): it is
    believed ``settle_s`` seconds after its time.
    """
    found = []
    for labels, members in targets_of(rows).items():
        times = sorted({when for row in members for when, _ in row.values}, reverse=True)
        if len(times) > 1 and at - times[0] < settle_s and _count(members, times[0]) < _count(members, times[1]):
            del times[0]
        found.append(Target(labels, times, members))
    return sorted(found, key=lambda target: -target.times[0])


def interval_of(rows: Iterable[Row]) -> float | None:
    """How often a replica is scraped by the target that is read most lately, seconds; None for a single sample."""
    best: list[float] = []
    for members in targets_of(rows).values():
        times = sorted({when for row in members for when, _ in row.values})
        if not best or times[-1] > best[-1]:
            best = times
    gaps = sorted(later - earlier for earlier, later in pairwise(best))
    return gaps[len(gaps) // 2] if gaps else None


def _count(rows: list[Row], when: float) -> int:
    return sum(any(each == when for each, _ in row.values) for row in rows)


def _labels(metric: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The runtime's own labels, by their own names."""
    own = [pair for pair in metric.items() if pair[0] in OWN]
    if _EXPORTED.keys().isdisjoint(metric):
        return tuple(own)
    return tuple((dict(own) | {_EXPORTED[name]: value for name, value in metric.items() if name in _EXPORTED}).items())
