"""Objects as they are on the server: read once for each demand, with their events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from nimify_tui.backends.kubernetes.errors import BadAnswer, NotFound, Unreachable
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.redact import redact
from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import Looks, ObjectDemand
from nimify_tui.domain.objects import ObjectEvent, ObjectText
from nimify_tui.sources.answering import Answering, Sink
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.describing import words_of
from nimify_tui.sources.kubernetes.kinds import EVENT, POD, Event
from nimify_tui.sources.kubernetes.pages import PAGE, read_items
from nimify_tui.sources.kubernetes.pods import seconds
from nimify_tui.sources.kubernetes.wire import Api
from nimify_tui.sources.masking import shown
from nimify_tui.sources.yaml_text import lines_of

#: A server that does not answer so long is told of, seconds.
READ_S = 15.0
#: etcd keeps objects up to 1.5 MB.
MOST_BYTES = 8 * 1024 * 1024
MOST_EVENTS = 200


@dataclass(frozen=True)
class Place:
    """Where an object lies."""

    kind: str
    namespace: str
    name: str
    uid: str
    path: str


def place_of(cluster: Cluster, demand: ObjectDemand) -> Place | None:
    """The object that a demand means, as the cluster has it; None when it is not there (any more)."""
    uid = cluster.find(demand.key.namespace, demand.key.name)
    if not uid:
        return None
    if not demand.replica:
        kind, meta = cluster.kind_of[uid], cluster.workloads[uid].metadata
        return Place(kind.name, meta.namespace, meta.name, uid, f"{kind.path(meta.namespace)}/{meta.name}")
    for pod in cluster.pods_of(uid):
        its = pod.metadata
        if clean_line(its.name, 120) == demand.replica:
            return Place(POD.name, its.namespace, its.name, its.uid, f"{POD.path(its.namespace)}/{its.name}")
    return None


class ObjectReader:
    """Answers every ObjectDemand of Kubernetes regions, once.

    ``place`` finds the object of a demand in what its region has told, ``link`` gives a region's open
    connection, ``ours`` says whether a region is a cluster.
    """

    def __init__(
        self,
        looks: Looks,
        place: Callable[[ObjectDemand], Place | None],
        link: Callable[[str], Api | None],
        ours: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self._looks, self._place, self._link, self._ours = looks, place, link, ours
        self._clock = clock

    async def run(self, sink: Sink) -> None:
        """Answer until cancelled."""
        await Answering(self._looks, self._ours, self._read, self._clock).run(sink)

    async def _read(self, demand: ObjectDemand) -> ObjectText:
        place, link = self._place(demand), self._link(demand.key.region)
        if link is None:
            raise Unreachable(f"no contact with {demand.key.region} yet", "wait until the region is LIVE")
        if place is None:
            raise NotFound(f"{demand.replica or demand.key.name} is not there (any more)", "esc goes back")
        async with link.get(place.path, read_timeout_s=READ_S, limit_bytes=MOST_BYTES) as reply:
            body = await reply.read()
        now = self._clock.now()
        # A large object takes a tenth of a second to print: not on the loop that serves all regions.
        lines, words = await asyncio.to_thread(_printed, body, now)
        events: tuple[ObjectEvent, ...] = ()
        events_error = ""
        try:
            events = await self._events(link, place)
        except NimifyError as error:
            events_error = error.message
        return ObjectText(
            at=now, name=place.name, kind=place.kind, yaml=lines, words=words, events=events, events_error=events_error
        )

    async def _events(self, link: Api, place: Place) -> tuple[ObjectEvent, ...]:
        query = {"fieldSelector": f"involvedObject.uid={place.uid}", "limit": str(MOST_EVENTS)}
        async with link.get(EVENT.path(place.namespace), query, read_timeout_s=READ_S) as reply:
            body = await reply.read()
        try:
            page = PAGE.decode(body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadAnswer("the server answers with something that is no list of events") from error
        found, _ = read_items(EVENT, page.items or (), {})
        events = [_event(each) for each in found]
        return tuple(sorted(events, key=lambda each: -(each.at or 0.0)))


def _event(event: Event) -> ObjectEvent:
    series = event.series
    last = series.last_observed_time if series is not None else None
    times = (last, event.last_timestamp, event.event_time, event.first_timestamp, event.metadata.creation_timestamp)
    return ObjectEvent(
        at=next((at for each in times if (at := seconds(each)) is not None), None),
        type=clean_line(event.type, 40),
        reason=clean_line(event.reason, 80),
        text=redact(clean_line(event.message, 1000)),
        count=max(1, event.count or 0, series.count if series is not None else 0),
    )


def _printed(body: bytes, now: float) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The object as YAML lines, and in words. Raises BadAnswer for what is no object."""
    try:
        made = msgspec.json.decode(body)
        if not isinstance(made, dict):
            raise BadAnswer("the server answers with something that is no object")
        if made.get("kind") == "Secret":
            raise BadAnswer("a Secret is never shown")
        masked: dict[str, Any] = shown(made)
        return tuple(lines_of(masked)), tuple(words_of(masked, now))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadAnswer("the server answers with something that is no JSON") from error
    except RecursionError as error:
        raise BadAnswer("the object is nested too deeply to be shown") from error
