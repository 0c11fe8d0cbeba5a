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
    match = _PLACE.match(service.metrics_at)
    space = service.key.namespace
    if match is None or not _NAME.match(space) or "/." in match[3]:
        return []
    pods, stats = f"/api/v1/namespaces/{space}/pods", _PLACE.match(service.stats_at)

    def at(place: re.Match[str] | None, pod: str) -> str:
        if place is None:
            return ""
        scheme, port, path = place.groups()
        return f"{pods}/{scheme}{pod}:{port}/proxy{path}"

    place = f"{match[2]}{match[3]}"
    return [
        Spot(each.key, at(match, each.key.replica), place, at(stats, each.key.replica))
        for each in replicas
        if each.state in _READ and _NAME.match(each.key.replica)
    ]


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
        found = spots_of(service, can)
        if not found:
            continue
        if service.key.namespace in refused:
            left_out += [(each.key, f"no right to pods/proxy in ns {service.key.namespace}") for each in found]
        elif len(spots) + len(found) > most:
            why = f"not read now: {CAP_RPS:g} requests a second reach for {most} replicas; what is looked at is read"
            left_out += [(each.key, why) for each in found]
        else:
            spots += found
    return Plan(tuple(spots), max(SHORTEST_S, len(spots) / CAP_RPS), tuple(left_out))
