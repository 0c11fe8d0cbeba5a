"""Live logs of a workload's pods: followed only while somebody looks, a bounded number in each region.

Each demand of :class:`LogDemand` gets its own streams; they are put up for containers as the region sees
them, taken down when the demand is given back, and end by themselves when a pod is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from nimify_tui.base.clock import Clock
from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import LogDemand, LogLine, LogSink, Looks
from nimify_tui.domain.updates import Update
from nimify_tui.sources.following import Following
from nimify_tui.sources.kubernetes.cluster import Cluster
from nimify_tui.sources.kubernetes.kinds import ContainerStatus, Pod
from nimify_tui.sources.kubernetes.logstream import NEW_POD_LINES, Outlet, Seen, Stream
from nimify_tui.sources.kubernetes.pace import Sleep
from nimify_tui.sources.kubernetes.pods import seconds
from nimify_tui.sources.kubernetes.wire import Api

log = logging.getLogger(__name__)
#: Streams at once in a region: each is a connection to its API server and one of its node's agents.
MOST_STREAMS = 40
#: So many of them are opened at once.
OPENING = 8
#: The first lines wait at most so long for those of the other containers, so that they stand in order; seconds.
HOLD_S = 2.0
#: The stream of a pod that is gone has so long to bring its last words, seconds.
GRACE_S = 5.0
#: Lines from before the demand: of all containers together, of one at most.
EARLIER_LINES, EARLIER_OF_ONE = 8_000, 1_000
#: While lines are left out, it is said in the log at most so often, seconds.
SAY_S = 5.0

Pods = Callable[[LogDemand], Sequence[Pod]]
Link = Callable[[str], Api | None]


class PodLogs:
    """Follows every demanded log of Kubernetes regions.

    ``pods`` gives the pods of a demand as their region sees them, ``link`` a region's open connection
    (None while there is none), ``ours`` says whether a region is a cluster.
    """

    def __init__(
        self,
        looks: Looks,
        pods: Pods,
        link: Link,
        ours: Callable[[str], bool],
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._pods, self._link, self._clock, self._sleep = pods, link, clock, sleep
        self._following = Following(looks, ours, self._made, self._look, clock, sleep)
        self._opening: dict[str, asyncio.Semaphore] = {}

    async def run(self, _sink: Callable[[Sequence[Update]], None]) -> None:
        """Follow until cancelled."""
        await self._following.run()

    def _made(self, demand: LogDemand, tail: LogSink) -> _Followed:
        region = demand.key.region
        opening = self._opening.setdefault(region, asyncio.Semaphore(OPENING))
        return _Followed(demand, tail, partial(self._link, region), opening, self._clock, self._sleep)

    def _look(self, one: _Followed) -> None:
        one.look(self._pods(one.demand), self._room(one))

    def _room(self, one: _Followed) -> int:
        """How many streams ``one`` may have, beside the other demands in its region."""
        others = sum(
            len(each.streams)
            for each in self._following.followed.values()
            if each is not one and each.demand.key.region == one.demand.key.region
        )
        return max(0, MOST_STREAMS - others)


class _Followed:
    """One demand with its streams, by (uid of the pod, container, run when a run before is read)."""

    def __init__(
        self,
        demand: LogDemand,
        tail: LogSink,
        link: Callable[[], Api | None],
        opening: asyncio.Semaphore,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self.demand, self.tail = demand, tail
        self.streams: dict[tuple[str, str, int], Stream] = {}
        self._tasks: dict[tuple[str, str, int], asyncio.Task[None]] = {}
        self._ended: set[tuple[str, str, int]] = set()
        self._gone_at_s: dict[tuple[str, str, int], float] = {}
        self._link, self._opening, self._clock, self._sleep = link, opening, clock, sleep
        self._out = Outlet()
        self._begun_s: float | None = None
        self._held = True
        self._first = True
        self._said = ""
        self._refused = ""
        self._left_out = 0
        self._say_at_s = 0.0

    # -- which containers ----------------------------------------------------------------
    def look(self, pods: Sequence[Pod], room: int) -> None:
        """Bring the streams in line with the pods that there are."""
        seen = {self._key(each): each for pod in pods for each in containers_of(pod)}
        for key, task in list(self._tasks.items()):
            if task.done():
                self._refused = self._refused or self.streams[key].refused
                self._close(key)
                self._ended.add(key)
        self._ended &= seen.keys()
        for key, stream in list(self.streams.items()):
            if key in seen:
                stream.seen = seen[key]
                self._gone_at_s.pop(key, None)
            elif not self.demand.previous:
                self._gone(key, stream)
        wanted = [key for key in seen if key not in self.streams and key not in self._ended]
        if self.demand.previous:
            wanted = [key for key in wanted if seen[key].before]
        wanted.sort(key=lambda key: (not seen[key].troubled, -seen[key].started_at))
        space = 0 if self._refused else max(0, room - len(self.streams))
        first_lines = (
            min(EARLIER_OF_ONE, EARLIER_LINES // max(1, min(len(wanted), room)))
            if self._first
            else NEW_POD_LINES
        )
        for key in wanted[:space]:
            self._open(key, seen[key], first_lines)
        self._first = self._first and not seen
        self._say(wanted[space:], seen, bool(pods))

    def _key(self, seen: Seen) -> tuple[str, str, int]:
        return seen.uid, seen.container, seen.before if self.demand.previous else 0

    def _open(self, key: tuple[str, str, int], seen: Seen, first_lines: int) -> None:
        stream = Stream(
            seen, self._out, self._link, self._opening, self._clock,
            first_lines=first_lines, previous=self.demand.previous, sleep=self._sleep,
        )  # fmt: skip
        self.streams[key] = stream
        if self._begun_s is None:
            self._begun_s = self._clock.mono_s()
        self._tasks[key] = asyncio.get_running_loop().create_task(stream.run(), name=f"log of {seen.name}")

    def _gone(self, key: tuple[str, str, int], stream: Stream) -> None:
        now_s = self._clock.mono_s()
        if key not in self._gone_at_s:
            stream.gone = True
            self._gone_at_s[key] = now_s
        elif now_s - self._gone_at_s[key] >= GRACE_S:
            self._close(key)

    def _close(self, key: tuple[str, str, int]) -> None:
        task, stream = self._tasks.pop(key), self.streams.pop(key)
        if not task.done():
            task.cancel()
        elif not task.cancelled() and (error := task.exception()) is not None:
            log.error("the stream of %s ended by an error of its own", stream.seen.name, exc_info=error)
            words = f"{stream.seen.name}: not followed any more, by an error of our own ({error!r})"
            self._mark(words, stream.seen.pod)
        if self._gone_at_s.pop(key, None) is not None:
            self._mark(f"{stream.seen.name} is gone; its lines stay", stream.seen.pod)

    def _say(
        self, left: Sequence[tuple[str, str, int]], seen: dict[tuple[str, str, int], Seen], any_pod: bool
    ) -> None:
        """What is not followed, once for each new state of it."""
        region = clean_line(self.demand.key.region, 60)
        words = ""
        if self._refused:
            words = f"{region}: logs may not be read: {self._refused}"
        elif left:
            names = ", ".join(seen[key].name for key in left[:3])
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            words = (
                f"{region}: {len(self.streams)} of {len(self.streams) + len(left)} containers are followed, "
                f"not {names}{more}; a shows one replica alone"
            )
        elif self._link() is None:
            words = f"{region}: no contact yet, its lines come when there is"
        elif not any_pod:
            words = f"{region}: there is no pod"
        elif self.demand.previous and not any(each.before for each in seen.values()):
            words = f"{region}: no run before the current one is known"
        if words and words != self._said:
            self._mark(words)
        self._said = words

    def _mark(self, text: str, pod: str = "") -> None:
        self._out.put(LogLine(self._clock.now(), pod, 0, f"-- {text} --", mark=True))

    # -- lines ---------------------------------------------------------------------------
    def flush(self) -> None:
        """Hand on what came."""
        now_s = self._clock.mono_s()
        if self._held and self._begun_s is not None:
            opening = any(not each.settled for each in self.streams.values())
            if opening and now_s - self._begun_s < HOLD_S and not self._out.full:
                return
            self._held = False
        lines, left_out = self._out.take()
        for stream in self.streams.values():
            stream.catch_up()
        if lines:
            self.tail.append(lines)
        if left_out:
            self.tail.leave_out(left_out)
            self._left_out += left_out
        if self._left_out and now_s >= self._say_at_s:
            self._say_at_s = now_s + SAY_S
            self._mark(f"{self._left_out:,} lines came faster than they can be read and are left out before here")
            self._left_out = 0

    def end(self) -> None:
        """Nobody looks any more."""
        for task in self._tasks.values():
            task.cancel()


def pods_of(cluster: Cluster, demand: LogDemand) -> list[Pod]:
    """The pods that a demand means, as the cluster has them."""
    uid = cluster.find(demand.key.namespace, demand.key.name)
    pods = cluster.pods_of(uid) if uid else ()
    return [each for each in pods if demand.replica in ("", clean_line(each.metadata.name, 120))]


def containers_of(pod: Pod) -> list[Seen]:
    """The containers of a pod that have something to tell: all but those that prepared it and went well."""
    statuses = {each.name: each for each in pod.status.container_statuses or ()}
    names = [each.name for each in pod.spec.containers or ()] or list(statuses)
    preparing = [each for each in pod.status.init_container_statuses or () if _tells(each)]
    alone = len(names) + len(preparing) == 1
    found = [_seen(pod, each.name, each, alone) for each in preparing]
    return found + [_seen(pod, name, statuses.get(name), alone) for name in names]


def _tells(status: ContainerStatus) -> bool:
    state = status.state
    ended = state.terminated if state is not None else None
    return bool(state and (state.running or (state.waiting and status.restart_count))) or (
        ended is not None and ended.exit_code != 0
    )


def _seen(pod: Pod, name: str, status: ContainerStatus | None, alone: bool) -> Seen:
    state = status.state if status is not None else None
    running = state.running if state is not None else None
    last = status.last_state.terminated if status is not None and status.last_state is not None else None
    run = 1 + (status.restart_count if status is not None else 0)
    # A container that waits to be started again counts no new run yet: its newest one is the one before.
    waits = state is not None and running is None and state.terminated is None
    began = running.started_at if running is not None else pod.metadata.creation_timestamp
    return Seen(
        namespace=pod.metadata.namespace,
        pod=pod.metadata.name,
        uid=pod.metadata.uid,
        container=name,
        run=run,
        running=running is not None,
        ended=state is not None and running is None and (state.terminated is not None or last is not None),
        before=0 if last is None else run if waits else run - 1,
        troubled=status is None or not status.ready,
        started_at=seconds(began) or 0.0,
        alone=alone,
    )
