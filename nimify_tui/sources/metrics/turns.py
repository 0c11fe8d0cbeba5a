"""Whose pods are read through an API server, and how often: a pure plan.

Services are read whole or not at all, so that no sum is made of a part of their replicas.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from nimify_tui.domain.demands import Demand, DetailDemand, NumbersDemand
from nimify_tui.domain.names import ReplicaKey, ServiceKey
from nimify_tui.domain.services import Replica, ReplicaState, Service

#: Requests a second in one region; client-go lets a single controller make 5 to 10.
CAP_RPS = 10.0
#: A pod is read so often, seconds: the shorter where there are few. Beyond the longer a row's window has too little.
SHORTEST_S, LONGEST_S = 4.0, 8.0
_READ = frozenset({ReplicaState.READY, ReplicaState.NOT_READY, ReplicaState.HUNG})
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_PLACE = re.compile(r"((?:https:)?)(\d{1,5})(/[A-Za-z0-9._~/-]{1,200})\Z")


class Spot(NamedTuple):
    """One pod: who it is, and what is asked of the API server."""

    key: ReplicaKey
    path: str
    place: str
    #: The same where it tells statistics in another way, "" where it does not.
    stats_path: str = ""


class Plan(NamedTuple):
    """Who is read, how often (seconds), and who is not, with the reason."""

    spots: tuple[Spot, ...]
    every_s: float
    left_out: tuple[tuple[ReplicaKey, str], ...]


def spots_of(service: Service, replicas: Sequence[Replica]) -> list[Spot]:
    """The pods of a service that can answer."""
    space, place = service.key.namespace, service.metrics_at.removeprefix("https:")
    found = []
    for each in replicas:
        name = each.key.replica
        if each.state in _READ and (path := pod_path(space, name, service.metrics_at)):
            found.append(Spot(each.key, path, place, pod_path(space, name, service.stats_at)))
    return found


def pod_path(space: str, pod: str, place: str) -> str:
    """What is asked of the API server for a pod's page at ``place``; "" where a name could lead elsewhere."""
    match = _PLACE.match(place)
    if match is None or "/." in match[3] or not _NAME.match(space) or not _NAME.match(pod):
        return ""
    scheme, port, path = match.groups()
    return f"/api/v1/namespaces/{space}/pods/{scheme}{pod}:{port}/proxy{path}"


def in_turn(
    services: Iterable[tuple[Service, Sequence[Replica]]], looked_at: Collection[Demand]
) -> list[tuple[Service, Sequence[Replica]]]:
    """Who comes first: what is looked at in detail, then what is in view, then the others by their names."""
    rows = {each.row_id for each in looked_at if isinstance(each, DetailDemand)}
    shown = {each.key for each in looked_at if isinstance(each, NumbersDemand)}

    def place(pair: tuple[Service, Sequence[Replica]]) -> tuple[int, ServiceKey]:
        key = pair[0].key
        return (0 if key.row_id in rows or key.fold_id in rows else 1 if key in shown else 2), key

    return sorted(services, key=place)


def planned(
    services: Sequence[tuple[Service, Sequence[Replica]]], looked_at: Collection[Demand], refused: Collection[str] = ()
) -> Plan:
    """Who of one region is read. ``refused`` are namespaces without the right."""
    most = int(CAP_RPS * LONGEST_S)
    spots: list[Spot] = []
    left_out: list[tuple[ReplicaKey, str]] = []
    for service, replicas in in_turn(services, looked_at):
        can = [each for each in replicas if each.state in _READ]
        if len(can) > most and service.key.namespace not in refused:  # known without a look at each
            why = f"its {len(can)} replicas are more than the {most} that are read by {CAP_RPS:g} requests a second"
            left_out += [(each.key, why) for each in can]
            continue
        if not can or not spots_of(service, can[:1]):
            continue
        # Thousands may be left out, and that is found out every two seconds: their paths are not made.
        if service.key.namespace in refused:
            left_out += [(each.key, f"no right to pods/proxy in ns {service.key.namespace}") for each in can]
        elif len(spots) + len(can) > most:
            why = f"not read now: {CAP_RPS:g} requests a second reach for {most} replicas; what is looked at is read"
            left_out += [(each.key, why) for each in can]
        else:
            spots += spots_of(service, can)
    return Plan(tuple(spots), max(SHORTEST_S, len(spots) / CAP_RPS), tuple(left_out))
