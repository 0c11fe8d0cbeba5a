"""One kind of one cluster, kept the same as the server's: list once, then watch and resume, list again only when told.

The rules are client-go's (tools/cache/reflector.go): a list in pages gives the version to watch from;
every event and every bookmark moves that version on; a watch that ends is resumed from it; 410 (as a
status or as an ERROR event) means that it is too old, so all is listed again while the old rows stay.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from nimify_tui.backends.kubernetes.errors import (
    BadAnswer,
    CredentialsFailed,
    Forbidden,
    Gone,
    NotFound,
    Throttled,
    TooLargeVersion,
    Unauthorized,
    from_status,
)
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import NetworkError, NimifyError
from nimify_tui.sources.kubernetes.kinds import BOOKMARK, WATCH, Kind, Object, WatchEvent
from nimify_tui.sources.kubernetes.pace import Pace
from nimify_tui.sources.kubernetes.pages import PAGE, read_items
from nimify_tui.sources.kubernetes.wire import Api

PAGE_ITEMS = 500
#: A page of 500 pods is 2 to 10 MB. A server that knows no pages may send 6,000 pods in one; more is no sane answer,
#: and would be held in memory twice.
PAGE_BYTES = 64 * 1024 * 1024
LINE_BYTES = 16 * 1024 * 1024
#: The server ends a watch after a random time between these, seconds (client-go's minWatchTimeout).
WATCH_S = (300, 600)
#: The same for a kind that has no bookmarks, seconds: after five minutes its version is compacted away, and the end of
#: a watch costs a whole list.
UNMARKED_WATCH_S = (3000, 3600)
#: Longer than the server's first bookmark of an idle watch takes (120 s), seconds.
SILENCE_S = 150.0
#: A watch that ends sooner is no watch but a proxy that closes streams, seconds.
SHORT_S = 1.0
#: A kind that is forbidden or missing is asked for again after so long, seconds, and up to a quarter later: rights
#: change seldom, and somebody with few of them must not list all day. Who was given a right asks for a new connection.
REFUSED_RETRY_S = 3600.0
_REFUSED_SPREAD = 0.25


class KindState(enum.StrEnum):
    """How well one kind is seen."""

    WAITING = "waiting"
    LISTED = "listed"
    FORBIDDEN = "forbidden"
    MISSING = "missing"
    FAILING = "failing"


class Feed(Protocol):
    """Who takes what a reflector finds."""

    def delta(self, kind: Kind, gone: Sequence[Any], seen: Sequence[Any]) -> None:
        """These objects are no more, these are new or other than before; ``gone`` happened first."""
        ...

    def dropped(self, kind: Kind, objects: Sequence[Any]) -> None:
        """These objects may not be seen any more; whether they are there is not known."""
        ...

    def contact(self) -> None:
        """The server said something."""
        ...

    def kind_changed(self, reflector: Reflector) -> None:
        """:attr:`Reflector.state` or its cause is another one."""
        ...

    def trouble(self, error: NimifyError, wait_s: float) -> None:
        """The server cannot be read for the moment; it is asked again in ``wait_s`` seconds."""
        ...


class Garbled(BadAnswer):
    """What came is no list, no event or no object: what was read before it cannot be built upon."""

    def __init__(self, message: str, remedy: str = "is it an API server? look at its address and at proxies") -> None:
        super().__init__(message, remedy)


class Reflector:
    """See the module's text. ``rows`` are the objects by uid, as the server told last."""

    def __init__(
        self, kind: Kind, namespace: str, api: Api, pace: Pace, feed: Feed, clock: Clock, rng: random.Random
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.rows: dict[str, Any] = {}
        self.state = KindState.WAITING
        self.cause: NimifyError | None = None
        #: Objects that could not be read: a field of another type than the API says.
        self.unreadable = 0
        #: How many were read of a first list that is under way.
        self.reading = 0
        #: True once a whole list was taken over.
        self.complete = False
        self._api, self._pace, self._feed, self._clock, self._rng = api, pace, feed, clock, rng
        self._path = kind.path(namespace)
        self._version = ""
        self._gone_in_a_row = 0
        #: What objects have in common (see kinds.Object.packed); begun anew with each list.
        self._shared: dict[str, Any] = {}

    async def run(self) -> None:
        """Follow the kind until cancelled; may be run again and then goes on where it was.

        Returns when the server does not have a custom kind (any more).
        """
        while True:
            await self._pace.wait()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except NotFound as error:
                self._refused(error)
                if self.kind.custom:
                    return
                await self._refused_pause()
            except NimifyError as error:
                await self._failed(error)

    async def _failed(self, error: NimifyError) -> None:
        match error:
            case Gone():
                self._version = ""
                self._gone_in_a_row += 1
                if self._gone_in_a_row > 1:
                    self._pace.failed()
            case Forbidden():
                self._refused(error)
                await self._refused_pause()
            case _:
                if isinstance(error, TooLargeVersion | Garbled):
                    self._version = ""
                wait_s = self._pace.failed(error.retry_after_s if isinstance(error, Throttled) else 0.0)
                if isinstance(error, Throttled | Unauthorized | CredentialsFailed):
                    self.cause = error
                else:
                    self._become(KindState.FAILING, error)
                self._feed.trouble(error, wait_s)

    def _refused(self, error: NimifyError) -> None:
        """Of a kind that must not be read, or that the server does not have, nothing is known any more."""
        self._version = ""
        gone, self.rows = list(self.rows.values()), {}
        self.complete = False
        if gone:
            self._feed.dropped(self.kind, gone)
        self._become(KindState.FORBIDDEN if isinstance(error, Forbidden) else KindState.MISSING, error)

    async def _refused_pause(self) -> None:
        await self._pace.sleep(REFUSED_RETRY_S * (1.0 + _REFUSED_SPREAD * self._rng.random()))

    def _become(self, state: KindState, cause: NimifyError | None = None) -> None:
        changed = state is not self.state or (cause and cause.message) != (self.cause and self.cause.message)
        self.state, self.cause = state, cause
        if changed:
            self._feed.kind_changed(self)

    # -- list ----------------------------------------------------------------------------

    async def _list(self) -> None:
        self._shared = {}
        version, found, bad = await self._pages()
        self._swap(found)
        self._version, self.unreadable, self.complete = version, bad, True
        self._become(KindState.LISTED)

    async def _pages(self) -> tuple[str, dict[str, Any], int]:
        """All pages of one list: the version of the first one, the objects by uid, how many were unreadable."""
        version, token, bad = "", "", 0
        found: dict[str, Any] = {}
        while True:
            query = {**dict(self.kind.query), "limit": str(PAGE_ITEMS)}
            if token:
                query["continue"] = token
            async with self._api.get(self._path, query, limit_bytes=PAGE_BYTES) as answer:
                try:
                    body = await answer.read()
                except BadAnswer as error:
                    raise Garbled(
                        f"the list of {self.kind.plural} is too large: {error.message}",
                        "name the namespaces that are read: namespaces = [...] of the region's configuration",
                    ) from error
            self._feed.contact()
            try:
                page = PAGE.decode(body)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise Garbled(f"the list of {self.kind.plural} is no list of objects") from error
            objects, unreadable = read_items(self.kind, page.items or (), self._shared)
            bad += unreadable
            found.update((each.metadata.uid, each) for each in objects)
            # Were the pages of different versions, the events from the oldest on make up for it.
            version = version or page.metadata.resource_version
            token = page.metadata.continue_
            if not token:
                break
            self.reading = len(found)
            if not self.complete:
                self._feed.kind_changed(self)
        if not version:
            raise Garbled(f"the list of {self.kind.plural} names no version")
        return version, found, bad

    def _swap(self, found: dict[str, Any]) -> None:
        if self.kind.keep and len(found) > self.kind.keep:
            newest = sorted(found.items(), key=lambda item: item[1].metadata.creation_timestamp or "")
            found = dict(newest[-self.kind.keep :])
        before, self.rows = self.rows, found
        gone = [each for uid, each in before.items() if uid not in found]
        seen = [each for uid, each in found.items() if uid not in before or not _same(before[uid], each)]
        if gone or seen:
            self._feed.delta(self.kind, gone, seen)

    # -- watch ---------------------------------------------------------------------------

    async def _watch(self) -> None:
        marked = self.kind.bookmarks
        span_s = self._rng.randint(*(WATCH_S if marked else UNMARKED_WATCH_S))
        query = {
            **dict(self.kind.query), "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._version,
            "timeoutSeconds": str(span_s),
        }  # fmt: skip
        # Where silence is normal while nothing happens, the heartbeat and the kernel's keepalive find a dead line.
        silence_s = SILENCE_S if marked else span_s + SILENCE_S
        begun_s = self._clock.mono_s()
        async with self._api.get(self._path, query, read_timeout_s=silence_s) as answer:
            self._feed.contact()
            self._become(KindState.LISTED)
            rest = b""
            async for chunk in answer.chunks():
                self._feed.contact()
                rest += chunk
                end = rest.rfind(b"\n")
                if end >= 0:
                    lines, rest = rest[:end], rest[end + 1 :]
                    self._take(lines)
                elif len(rest) > LINE_BYTES:
                    raise Garbled(f"a line of the watch of {self.kind.plural} has no end")
        # What is left of a line is sent again: the version was not moved on.
        if self._clock.mono_s() - begun_s < SHORT_S:
            raise NetworkError(
                f"the watch of {self.kind.plural} ends as soon as it begins", "look at proxies in between"
            )
        self._gone_in_a_row = 0

    def _take(self, lines: bytes) -> None:
        batch = _Batch()
        try:
            for what, one in self._together(lines) or self._each(lines):
                self._apply(what, one, batch)
        finally:
            # Half of what comes while a fleet rolls is old by the end of its piece, and is not worth the packing.
            for uid, one in batch.seen.items():
                batch.seen[uid] = self.rows[uid] = one.packed(self._shared)
            if batch.gone or batch.seen:
                self._feed.delta(self.kind, list(batch.gone.values()), list(batch.seen.values()))

    def _together(self, lines: bytes) -> list[tuple[str, Any]] | None:
        """Each event's type and object in one go; None when one of them has to be looked at by itself."""
        if self.kind.events is None:
            return None
        try:
            events = self.kind.events.decode_lines(lines)
        except (msgspec.MsgspecError, RecursionError):
            return None
        found = [(each.type, each.object) for each in events]
        return None if any(what == "ERROR" for what, _ in found) else found

    def _each(self, lines: bytes) -> Iterator[tuple[str, Any]]:
        """The same, one after the other. Raises what an ERROR event says."""
        try:
            events = WATCH.decode_lines(lines)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Garbled(f"the watch of {self.kind.plural} sends something else than events") from error
        for event in events:
            if event.type == "ERROR":
                raise from_status(0, bytes(event.object), what=f"watch of {self.kind.plural}")
            yield event.type, self._object(event)

    def _apply(self, what: str, one: Any, batch: _Batch) -> None:
        meta = one.metadata
        uid = meta.uid
        if what == "DELETED":
            if uid in self.rows:
                batch.drop(uid, self.rows.pop(uid))
        elif what in ("ADDED", "MODIFIED") and type(one) is not Object:
            if self.kind.keep and uid not in self.rows and len(self.rows) >= self.kind.keep:
                oldest = next(iter(self.rows))
                batch.drop(oldest, self.rows.pop(oldest))
            batch.take(uid, one, uid in self.rows)
            self.rows[uid] = one
        if meta.resource_version:
            self._version = meta.resource_version
        self._gone_in_a_row = 0

    def _object(self, event: WatchEvent) -> Any:
        """The object of an event; only its metadata (an ``Object``) for bookmarks and where it cannot be read."""
        try:
            if event.type != "BOOKMARK":
                try:
                    return self.kind.decoder.decode(event.object)
                except msgspec.ValidationError:
                    self.unreadable += 1
            return BOOKMARK.decode(event.object)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Garbled(f"the watch of {self.kind.plural} sends an object that is none") from error


class _Batch:
    """What some events together changed, each object once: one that came and went among them is not told of."""

    def __init__(self) -> None:
        self.gone: dict[str, Any] = {}
        self.seen: dict[str, Any] = {}
        self._new: set[str] = set()

    def take(self, uid: str, one: Any, known: bool) -> None:
        if not known and self.gone.pop(uid, None) is None:
            self._new.add(uid)
        self.seen[uid] = one

    def drop(self, uid: str, one: Any) -> None:
        self.seen.pop(uid, None)
        if uid in self._new:
            self._new.discard(uid)
        else:
            self.gone[uid] = one


def _same(one: Object, other: Object) -> bool:
    return one.metadata.resource_version == other.metadata.resource_version
