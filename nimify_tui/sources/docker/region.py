"""A Docker host as a source: its list, its event stream and its heartbeat, and what they make of it as updates."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import msgspec

from nimify_tui.backends.docker.errors import (
    AccessDenied,
    BadAnswer,
    BrokenOff,
    EngineRefused,
    EngineSilent,
    NotThere,
)
from nimify_tui.backends.docker.groups import Group, group_of
from nimify_tui.backends.docker.kinds import Container, Event, Listed, seconds
from nimify_tui.backends.docker.logs import lines_of
from nimify_tui.backends.docker.place import EnginePlace
from nimify_tui.backends.docker.taps import Tap
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NimifyError
from nimify_tui.base.retry import Backoff
from nimify_tui.domain.changes import Change, ChangeKind
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import Region, RegionHealth, RegionState
from nimify_tui.domain.updates import Changed, RegionListed, RegionSeen, Update
from nimify_tui.sources.docker.health import BEAT_S, BEAT_WAIT_S, Monitor
from nimify_tui.sources.docker.host import Host, Known
from nimify_tui.sources.docker.story import ENDING, Story

T = TypeVar("T")
Sink = Callable[[Sequence[Update]], None]
Sleep = Callable[[float], Awaitable[None]]
#: What changed is told at most so often, seconds.
FLUSH_S = 0.05
#: Containers that are asked for at once.
AT_ONCE = 8
#: Of what the engine still remembers (its newest 256 events) so much is told at first, seconds.
HISTORY_S = 3600.0
#: The list is compared with what is known so often, seconds.
LOOK_OVER_S = 60.0
#: A container that was made and not started is looked at so often for a while, seconds.
YOUNG_LOOK_S = 1.0
#: Tries to reach an engine, seconds.
PROBE_S = (0.5, 15.0)
#: An event is some kB; a longer line is none.
_LINE_BYTES = 4 * 1024 * 1024
#: What is read of an ended container's log.
_LAST_LINES, _LAST_BYTES = "20", 64 * 1024
#: Events that matter: a health check also makes three for each of its runs, which are left where they are.
#: The last two are Podman's names for "die" and "destroy".
_EVENTS = (
    "create", "start", "die", "stop", "kill", "oom", "destroy", "rename", "update", "pause", "unpause", "restart",
    "health_status", "died", "remove",
)  # fmt: skip
_DECODE = msgspec.json.Decoder(Event).decode


class _ReadAnew(Exception):
    """An engine that did not answer for long answers again."""


class Link(Protocol):
    """An open way to an engine; ``backends.docker.connection.Connection`` is one."""

    place: EnginePlace
    engine_version: str

    async def get(self, path: str, kind: type[T], query: Mapping[str, str] | None = None) -> T:
        """Ask."""
        ...

    async def read(self, path: str, query: Mapping[str, str] | None = None, limit_bytes: int = 0) -> bytes:
        """Ask for what is no JSON."""
        ...

    def stream(
        self, path: str, query: Mapping[str, str] | None = None, read_timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Pieces as they come."""
        ...

    async def tap(self, path: str, query: Mapping[str, str]) -> Tap:
        """A stream that is looked into now and then."""
        ...

    async def ping(self, timeout_s: float) -> None:
        """Whether it answers."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


Connect = Callable[[], Awaitable[Link]]


class DockerSource:
    """Turns what one engine tells into updates, for ever.

    ``connect`` makes and opens the connection and has greeted the engine; it raises NimifyError.
    """

    def __init__(
        self,
        region: Region,
        connect: Connect,
        clock: Clock,
        rng: random.Random | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._region, self._connect, self._clock, self._sleep = region, connect, clock, sleep
        self._probes = Backoff(*PROBE_S, rng)
        self._monitor = Monitor(clock, region.address)
        self._host: Host | None = None
        self._story = Story(region.name)
        self._changes: list[Change] = []
        #: The time of the newest event, as the engine wrote it (nanoseconds); 0 before the first.
        self._heard_ns = 0
        self._dirty: set[str] = set()
        self._work = asyncio.Event()
        self._news = asyncio.Event()
        self._listed = False
        self._must_list = False
        self._lost_at: float | None = None

    @property
    def host(self) -> Host | None:
        """All that is known of the host, for those who look things up on demand; None before the first contact."""
        return self._host

    async def run(self, sink: Sink) -> None:
        """Watch until cancelled; an engine that cannot be reached is a state of the region, never an error."""
        sink([self._seen()])
        while True:
            try:
                link = await self._connect()
                try:
                    await self._follow(link, sink)
                finally:
                    await link.close()
            except _ReadAnew:
                continue
            except NimifyError as error:
                wait_s = self._probes.next_s()
                self._monitor.lost(error, wait_s)
                sink([self._seen(), *self._lost(error)])
                await self._sleep(wait_s)

    async def _follow(self, link: Link, sink: Sink) -> None:
        """Everything that runs over one connection; ends with the first thing that breaks."""
        if self._host is None or self._host.place != link.place:
            self._host, self._listed = Host(self._region.name, link.place), False
        self._monitor.keeper = f"engine {link.engine_version}"
        self._must_list = True
        self._work.clear()
        self._dirty.clear()
        parts: list[Coroutine[Any, Any, None]] = [
            self._events(link, self._host), self._inspect(link, self._host), self._beat(link, self._host),
            self._tell(sink, self._host),
        ]  # fmt: skip
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- reading -------------------------------------------------------------------------

    async def _events(self, link: Link, host: Host) -> None:
        """First the stream, then the list: nothing that happens in between is missed."""
        filters = json.dumps({"type": ["container"], "event": list(_EVENTS)})
        since = f"{self._heard_ns // 10**9}.{self._heard_ns % 10**9:09d}"
        if not self._heard_ns:
            since = f"{self._clock.now() - HISTORY_S:.0f}"
        async with link.stream("/events", {"since": since, "filters": filters}) as pieces:
            listed = await self._list(link, host)
            self._dirty = {each.id for each in listed}
            self._monitor.reading = f"{len(listed)} containers" if not self._listed else ""
            self._work.set()
            async for line in whole_lines(pieces):
                self._monitor.contact()
                self._heard(line, host)
        raise BrokenOff(
            f"the engine at {link.place.address} ended its stream of events", "it is connected to again"
        )

    async def _list(self, link: Link, host: Host) -> list[Listed]:
        listed = await link.get("/containers/json", list[Listed], {"all": "true"})
        host.keep_only(each.id for each in listed)
        return listed

    async def _look_over(self, link: Link, host: Host) -> None:
        """A stream may be cut on its way without a word, and Podman does not tell all: compare with the list."""
        others = [each.id for each in await self._list(link, host) if host.differs(each.id, each.state)]
        if others:
            self._dirty.update(others)
            self._work.set()

    def _heard(self, line: bytes, host: Host) -> None:
        try:
            event = _DECODE(line)
        except msgspec.DecodeError:
            return  # a newer engine may tell what is not known here; that alone is lost
        uid = event.uid
        if not uid:
            return
        # Told again, or a little out of order: every event only says where to look, and a Change has its own id.
        self._heard_ns = max(self._heard_ns, event.nanoseconds)
        key, group = _whose(event, host, self._region.name)
        change = self._story.of(event, key, group)
        if change is not None:
            self._changes.append(change)
        if event.what == "kill" and event.attribute("signal") in ENDING:
            host.asked_to_end(uid, event.at)
        if event.what == "destroy":
            host.gone(uid)
            self._news.set()
        self._dirty.add(uid)  # also of one that is gone: an answer from before may be under way
        self._work.set()

    async def _inspect(self, link: Link, host: Host) -> None:
        """Ask what became of the containers of which something was heard."""
        while True:
            young = [] if self._must_list else host.young(self._clock.now())
            try:
                async with asyncio.timeout(YOUNG_LOOK_S if young else None):
                    await self._work.wait()
            except TimeoutError:
                self._dirty.update(young)
            self._work.clear()
            while self._dirty:
                some = [self._dirty.pop() for _ in range(min(AT_ONCE, len(self._dirty)))]
                results = await asyncio.gather(
                    *(self._one(link, host, each) for each in some), return_exceptions=True
                )
                broken = [each for each in results if isinstance(each, BaseException)]
                if broken:
                    self._dirty.update(some)
                    if not isinstance(broken[0], EngineSilent):
                        raise broken[0]
                    self._monitor.missed(broken[0])
                    self._news.set()
                    await self._sleep(BEAT_S)
            if self._must_list:
                self._must_list, self._monitor.reading = False, ""
                self._monitor.contact()
                self._probes.reset()
            self._news.set()

    async def _one(self, link: Link, host: Host, uid: str) -> None:
        try:
            one = await link.get(f"/containers/{uid}/json", Container)
        except NotThere:
            self._monitor.unreadable.pop(uid, None)
            host.gone(uid)
            return
        except (BadAnswer, EngineRefused) as error:
            self._monitor.unreadable[uid] = error.message  # this one alone; the others are no worse for it
            return
        self._monitor.unreadable.pop(uid, None)
        known = host.seen(one, self._clock.now())
        if known is not None and known.wants_words:
            await self._last_words(link, host, known)

    async def _last_words(self, link: Link, host: Host, known: Known) -> None:
        """The last lines of a container that did not end well; what cannot be read is no reason to stop."""
        one = known.one
        query = {"stdout": "true", "stderr": "true", "tail": _LAST_LINES}
        run = one.state.finished_at
        if (started := seconds(one.state.started_at)) is not None and one.state.status == "exited":
            # What it wrote at once may be older than its start is said to be.
            query["since"] = f"{int(started) - 1}"
        try:
            data = await link.read(f"/containers/{one.id}/logs", query, _LAST_BYTES)
            text = "\n".join(lines_of(data, tty=one.config.tty))
        except (NotThere, BadAnswer):
            text = ""
        except NimifyError as error:
            if isinstance(error, EngineSilent | BrokenOff | AccessDenied):
                raise
            text = ""  # a logging driver that cannot be read
        host.heard(one.id, text, run)

    async def _beat(self, link: Link, host: Host) -> None:
        """Ask whether it answers, for ever; one that answers again is read anew."""
        look_at_s = self._clock.mono_s() + LOOK_OVER_S
        while True:
            begun_s = self._clock.mono_s()
            was_down = self._monitor.down
            try:
                await link.ping(BEAT_WAIT_S)
                if begun_s >= look_at_s and self._listed and not (self._must_list or was_down):
                    look_at_s = begun_s + LOOK_OVER_S
                    await self._look_over(link, host)
            except EngineSilent as error:
                self._monitor.missed(error)
                pause_s = BEAT_S if self._monitor.down else 0.0  # asked again at once until it is clear
            else:
                self._monitor.contact()
                pause_s = BEAT_S
                if was_down:
                    raise _ReadAnew
            self._news.set()
            await self._sleep(max(0.0, pause_s - (self._clock.mono_s() - begun_s)))

    # -- telling -------------------------------------------------------------------------

    async def _tell(self, sink: Sink, host: Host) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            now = self._clock.now()
            updates: list[Update] = []
            if self._monitor.down and self._lost_at is None and self._monitor.last_contact_at is not None:
                updates += self._lost(None)
            if not self._listed and not self._must_list:
                self._listed = True
                updates.append(RegionListed(now, self._region.name, *host.everything(now)))
            elif self._listed:
                updates += host.news(now)
            if self._listed:
                updates += [Changed(each.at, each) for each in self._changes]
                self._changes.clear()
            health = self._monitor.health
            if health.state is RegionState.LIVE:
                updates += self._back()
            sink([RegionSeen(now, self._region, health), *updates])
            await self._sleep(FLUSH_S)

    def _seen(self) -> RegionSeen:
        health: RegionHealth = self._monitor.health
        return RegionSeen(self._clock.now(), self._region, health)

    def _lost(self, error: NimifyError | None) -> list[Update]:
        contact = self._monitor.last_contact_at
        if contact is None or self._lost_at is not None or not self._monitor.down:
            return []
        self._lost_at = contact
        why = error.message if error is not None else self._monitor.health.cause
        return [self._region_change(contact, f"no contact with {self._region.name} ({why})", "lost")]

    def _back(self) -> list[Update]:
        if self._lost_at is None:
            return []
        now, since = self._clock.now(), self._lost_at
        self._lost_at = None
        return [
            self._region_change(
                now, f"contact with {self._region.name} is back after {now - since:.0f} s", "back"
            )
        ]

    def _region_change(self, at: float, text: str, word: str) -> Changed:
        name = self._region.name
        change = Change(
            id=f"{name}-{word}-{at:.3f}", at=at, kind=ChangeKind.REGION, region=name, key=None, text=text,
            evidence=self._monitor.keeper, source="this console",
        )  # fmt: skip
        return Changed(at, change)


def _whose(event: Event, host: Host, region: str) -> tuple[ServiceKey, Group | None]:
    """The service that an event is about, also of a container that is gone: its labels stand in the event."""
    known = host.containers.get(event.uid)
    if known is not None:
        return host.key_of(known.group), known.group
    told: dict[str, Any] = {"Labels": dict(event.actor.attributes or {})}
    one = msgspec.convert({"Id": event.uid, "Name": event.attribute("name"), "Config": told}, Container)
    group = group_of(one)
    return host.key_of(group), group


async def whole_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines. Raises BadAnswer for one that is too long to be an event."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in _filled(whole):
            yield line
        if len(rest) > _LINE_BYTES:
            raise BadAnswer(f"the engine sends a line of more than {_LINE_BYTES} bytes")


def _filled(lines: Iterable[bytes]) -> Iterable[bytes]:
    return (line for line in lines if line.strip())
