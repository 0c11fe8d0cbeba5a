"""Series of a Prometheus as the pages that it once read: for each replica its newest scrape, whole and of one target.

A server puts the labels of its targets (job, instance, pod ...) on every series, renames a runtime's own label where
the two collide (``exported_model``), and may have one replica twice (a pair of servers behind one Thanos): the pages of
two targets are never added up. All series of one scrape have one and the same time.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter

import msgspec

from nimify_tui.backends.prometheus.columns import Columns
from nimify_tui.sources.metrics.exposition import Labels, Rows, Series
from nimify_tui.sources.metrics.labelled import Column, LabelSets

#: Makes columns of the samples of some series as they came.
Read = Callable[[Sequence[msgspec.Raw]], Columns]

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


class Part:
    """The series of one target of a replica, by their names: which they are of all that was told, and what they are.

    ``places`` has the place of each; ``names`` has for each name the runtime's own labels of its series, and where of
    ``places`` the first of them is.
    """

    __slots__ = ("labels", "names", "places")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.places = array("I")
        self.names: dict[str, tuple[LabelSets, int]] = {}

    def add(self, name: str, own: Sequence[Labels], places: Iterable[int]) -> None:
        """All series of one name, in the order in which they came."""
        self.names[name] = (LabelSets(own), len(self.places))
        self.places.extend(places)


class Target:
    """What one target told of a replica: when (newest first; what may still be coming in is left out), and the rows."""

    __slots__ = ("_columns", "_part", "times")

    def __init__(self, part: Part, times: list[float], columns: Columns) -> None:
        self.times = times
        self._part, self._columns = part, columns

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels by which it is told from the others."""
        return self._part.labels

    @property
    def names(self) -> Mapping[str, object]:
        """The names of its series, as keys."""
        return self._part.names

    def page(self, when: float) -> dict[str, Rows]:
        """The series of one scrape by their names, with the runtime's own labels."""
        names, values = self._part.names, self._columns.whole(when)
        if values is not None:
            return {name: Column(own, values[at : at + own.count]) for name, (own, at) in names.items()}
        found: dict[str, Rows] = {}
        every = self._columns.at(when)
        for name, (own, first) in names.items():
            told = [
                Series(labels, value) for at, labels in enumerate(own.all, first) if (value := every[at]) is not None
            ]
            if told:
                found[name] = told
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


def parts_of(metrics: Sequence[Mapping[str, str]], places: Sequence[int]) -> list[Part]:
    """The series of one replica by the target they were read from: what has the same labels but for runtimes' own.

    Its series are those at these ``places`` of all ``metrics``.
    """
    kinds: dict[tuple[str, ...], _Kind] = {}
    of = []
    for place in places:
        bears = tuple(metrics[place])
        kind = kinds.get(bears)
        if kind is None:
            kind = kinds[bears] = _Kind(bears)
        of.append(kind)
    common = set.intersection(*map(set, kinds)) if kinds else set[str]()
    target = _picked(sorted(common - OWN - _EXPORTED.keys() - {"__name__"}))
    found: dict[tuple[str, ...], dict[str, tuple[list[Labels], list[int]]]] = {}
    for place, kind in zip(places, of, strict=True):
        metric = metrics[place]
        own, there = found.setdefault(target(metric), {}).setdefault(metric.get("__name__", ""), ([], []))
        own.append(kind.own(metric))
        there.append(place)
    parts = []
    for labels, told in found.items():
        parts.append(Part(labels))
        for name, (own, there) in told.items():
            parts[-1].add(name, own, there)
    return parts


def told_by(
    parts: Iterable[Part], texts: Sequence[msgspec.Raw], read: Read, at: float, settle_s: float
) -> list[Target]:
    """The targets of one replica, the one that was read most lately first; ``texts`` are all samples.

    A scrape with fewer series than the one before may still be coming in (remote write sends it in pieces): it is
    believed ``settle_s`` seconds after its time.
    """
    found = []
    for part in parts:
        columns = _columns(part, texts, read)
        times = columns.times()
        if len(times) > 1 and at - times[0] < settle_s and _fewer(columns, times[0], times[1]):
            del times[0]
        if times:
            found.append(Target(part, times, columns))
    return sorted(found, key=lambda target: -target.times[0])


def beside(proxy: Target | None, when: float, every_s: float) -> dict[str, Rows] | None:
    """The newest page of the proxy that is no newer than ``when``, as good as: it is scraped at a time of its own."""
    if proxy is None:
        return None
    near = next((each for each in proxy.times if each <= when + every_s / 2.0), None)
    return proxy.page(near) if near is not None and when - near <= 2.0 * every_s else None


def interval_of(parts: Iterable[Part], texts: Sequence[msgspec.Raw], read: Read) -> float | None:
    """How often a replica is scraped by the target that is read most lately, seconds; None for a single sample."""
    best: list[float] = []
    for part in parts:
        times = _columns(part, texts, read).times()
        if times and (not best or times[0] > best[0]):
            best = times
    gaps = sorted(later - earlier for later, earlier in pairwise(best))
    return gaps[len(gaps) // 2] if gaps else None


class _Kind:
    """Series whose labels have the same names, in the same order."""

    __slots__ = ("_names", "_picked")

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = [name for name in names if name in OWN]
        renamed = not _EXPORTED.keys().isdisjoint(names)
        self._picked = None if renamed else _picked(self._names)

    def own(self, metric: Mapping[str, str]) -> Labels:
        """The runtime's own labels, by their own names."""
        if self._picked is not None:
            return tuple(zip(self._names, self._picked(metric), strict=True))
        own = {name: metric[name] for name in self._names}
        return tuple((own | {_EXPORTED[name]: value for name, value in metric.items() if name in _EXPORTED}).items())


def _picked(names: Sequence[str]) -> Callable[[Mapping[str, str]], tuple[str, ...]]:
    """Takes the values of these labels."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda metric: tuple([metric[name] for name in names])


def _columns(part: Part, texts: Sequence[msgspec.Raw], read: Read) -> Columns:
    return read(list(map(texts.__getitem__, part.places)))


def _fewer(columns: Columns, newest: float, before: float) -> bool:
    """Whether the newest scrape has fewer series than the one before."""
    told = columns.told(newest)
    return told < columns.count and told < columns.told(before)
