"""Which series of a Prometheus are a replica's: by the labels of its pod, or by the address it is scraped at."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.services import Replica, ReplicaState, Service

#: (label of the namespace, label of the pod): what an exporter tells of another pod comes first; then the labels of
#: prometheus-operator and Prometheus' examples, of older examples, and of OpenTelemetry (k8s.pod.name).
POD_LABELS = (
    ("exported_namespace", "exported_pod"), ("namespace", "pod"), ("kubernetes_namespace", "kubernetes_pod_name"),
    ("k8s_namespace_name", "k8s_pod_name"),
)  # fmt: skip
#: Where there are no pods: the address of the scrape (https://prometheus.io/docs/concepts/jobs_instances/).
INSTANCE = ("", "instance")
READ = frozenset({ReplicaState.READY, ReplicaState.NOT_READY, ReplicaState.HUNG})
_PLAIN = re.compile(r"[A-Za-z0-9_:.\[\]-]{1,320}\Z")
_ODD = re.compile(r"[.\[\]]")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Spot(NamedTuple):
    """One replica: its namespace ("" where there is none) and the names by which its series are told."""

    key: ReplicaKey
    space: str
    names: tuple[str, ...]


def pods(services: Iterable[tuple[Service, Sequence[Replica]]]) -> list[list[Spot]]:
    """By service, in their order: the pods that can answer."""
    return [
        [Spot(each.key, service.key.namespace, (each.key.replica,)) for each in replicas if _asked(each)]
        for service, replicas in services
    ]


def instances(replicas: Iterable[Replica], *, near: bool) -> list[list[Spot]]:
    """By service: the replicas with an address. ``near``: the server is on this machine, so its loopback is ours.

    A server elsewhere knows what we reach at the loopback only by this host's name.
    """
    found: dict[object, list[Spot]] = {}
    for each in replicas:
        parts = urlsplit(each.admin_url)
        if not _asked(each) or not parts.hostname:
            continue
        port = parts.port or (443 if parts.scheme == "https" else 80)
        hosts = [parts.hostname]
        if parts.hostname in _LOOPBACK or parts.hostname.startswith("127."):
            hosts = [*(dict.fromkeys((parts.hostname, *_LOOPBACK)) if near else ()), os.uname().nodename]
        names = tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)
        found.setdefault(each.key.service, []).append(Spot(each.key, "", names))
    return list(found.values())


def batches(services: Iterable[Sequence[Spot]], size: int) -> list[list[Spot]]:
    """All of them in questions of at most ``size`` replicas."""
    spots = [spot for service in services for spot in service]
    return [spots[at : at + size] for at in range(0, len(spots), size)]


def expression(
    metrics: Collection[str], spots: Iterable[Spot], labels: tuple[str, str], window_s: int, also: str = ""
) -> str:
    """The range selector of these metrics of these replicas; ``also`` are more matchers."""
    space_label, label = labels
    spots = list(spots)
    matchers = ["__name__=~" + _any(metrics), f"{label}=~" + _any(name for spot in spots for name in spot.names)]
    if space_label:
        matchers.append(f"{space_label}=~" + _any(spot.space for spot in spots))
    if also:
        matchers.append(also)
    return "{" + ",".join(matchers) + f"}}[{window_s}s]"


def matching(labels: tuple[str, str], space: str, names: Iterable[str], pattern: str = "") -> str:
    """The matchers of all series of some replicas, and of those whose name is like ``pattern`` (RE2, no backslash)."""
    space_label, label = labels
    told = [pattern, _any(names)[1:-1]]
    matchers = [f'{label}=~"{"|".join(filter(None, told))}"']
    if space_label:
        matchers.insert(0, f"{space_label}=~{_any([space])}")
    return ",".join(matchers)


def label_words(there: Collection[str]) -> str:
    """By which labels pods are looked for on a server whose series have these, in words."""
    pairs = [f"{space}, {pod}" for space, pod in POD_LABELS if space in there and pod in there]
    return f"labels {' or '.join(pairs)}" if pairs else "its series have no label of pods"


def owner(spots: Iterable[Spot], labels: tuple[str, str]) -> Callable[[Mapping[str, str]], ReplicaKey | None]:
    """Whose a series is, by these labels; None when it is none of theirs, or is told by labels that come before."""
    space_label, label = labels
    by = {(spot.space, name): spot.key for spot in spots for name in spot.names}
    before = POD_LABELS[: POD_LABELS.index(labels)] if labels in POD_LABELS else ()

    def find(metric: Mapping[str, str]) -> ReplicaKey | None:
        for space, pod in before:  # no generator: it would cost more than all the rest, for each series
            if space in metric and pod in metric:
                return None
        return by.get((metric.get(space_label, "") if space_label else "", metric.get(label, "")))

    return find


def _asked(replica: Replica) -> bool:
    return replica.state in READ and _PLAIN.match(replica.key.replica) is not None


def _any(words: Iterable[str]) -> str:
    """A PromQL string with a regular expression that matches exactly these words: literals, which cost no scan."""
    return '"' + "|".join(sorted({_literal(word) for word in filter(_PLAIN.match, words)})) + '"'


def _literal(word: str) -> str:
    if _ODD.search(word) is None:
        return word
    return _ODD.sub(lambda found: "[.]" if found[0] == "." else f"\\\\{found[0]}", word)
