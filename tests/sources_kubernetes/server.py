"""A list and watch server in memory that fails as it is told: pages, versions, compaction, cuts. For tests only.

It keeps to the API's rules of versions (https://kubernetes.io/docs/reference/using-api/api-concepts/):
a list is of one version, a watch sends what came after one, and what was compacted is 410.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any

from nimify_tui.backends.kubernetes.errors import Gone, Throttled, TooLargeVersion, Unreachable
from nimify_tui.base.clock import ManualClock
from nimify_tui.base.errors import NimifyError
from nimify_tui.sources.kubernetes.kinds import Kind
from nimify_tui.sources.kubernetes.reflector import Reflector


class Recorder:
    """Takes what a reflector tells, and keeps the picture that somebody has who only listens."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.deltas = 0
        self.touched: list[str] = []
        self.troubles: list[tuple[NimifyError, float]] = []
        self.states: list[str] = []

    def delta(self, kind: Kind, gone: Sequence[Any], seen: Sequence[Any]) -> None:
        self.deltas += 1
        for each in gone:
            assert self.seen.pop(each.metadata.uid, None) is not None, "gone, but never told of"
            self.touched.append(each.metadata.uid)
        for each in seen:
            self.seen[each.metadata.uid] = each.metadata.resource_version
            self.touched.append(each.metadata.uid)

    def dropped(self, kind: Kind, objects: Sequence[Any]) -> None:
        self.delta(kind, objects, ())

    def contact(self) -> None:
        pass

    def kind_changed(self, reflector: Reflector) -> None:
        self.states.append(str(reflector.state))

    def trouble(self, error: NimifyError, wait_s: float) -> None:
        self.troubles.append((error, wait_s))


class Stream:
    """A body in pieces; ends cleanly, or by ``error``."""

    def __init__(self, pieces: AsyncIterator[bytes], headers: Mapping[str, str] | None = None) -> None:
        self._pieces = pieces
        self.headers: Mapping[str, str] = headers or {}

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self._pieces])

    def chunks(self) -> AsyncIterator[bytes]:
        return self._pieces


class Server:
    """Objects with versions, and whatever goes wrong: ``chaos`` is the share of steps at which something does."""

    def __init__(self, clock: ManualClock, rng: random.Random, page: int = 3) -> None:
        self.clock, self.rng, self.page = clock, rng, page
        self.version = 10
        self.oldest = 0
        self.objects: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[int, str, dict[str, Any]]] = []
        self.snapshots: dict[int, list[dict[str, Any]]] = {}
        self.chaos = 0.0
        self.steps = 0
        self.next_uid = 0
        self.lists = self.watches = 0
        self.idle = asyncio.Event()
        self.fail_next: list[NimifyError] = []
        self.queries: list[dict[str, str]] = []
        self.waits_s: list[float] = []

    # -- the world -----------------------------------------------------------------------

    def put(self, uid: str = "") -> str:
        kind = "MODIFIED" if uid in self.objects else "ADDED"
        if not uid:
            self.next_uid += 1
            uid = f"u{self.next_uid}"
        self.version += 1
        made = {"metadata": {"name": uid, "uid": uid, "resourceVersion": str(self.version)}}
        self.objects[uid] = made
        self.log.append((self.version, kind, made))
        return uid

    def delete(self, uid: str) -> None:
        self.version += 1
        old = self.objects.pop(uid)
        gone = {"metadata": {**old["metadata"], "resourceVersion": str(self.version)}}
        self.log.append((self.version, "DELETED", gone))

    def compact(self) -> None:
        """Everything before now is forgotten: old versions and open lists are 410."""
        self.oldest = self.version
        self.log.clear()
        self.snapshots.clear()

    def happen(self) -> None:
        """While there are steps left, the world goes on a little."""
        if self.steps <= 0:
            return
        self.steps -= 1
        draw = self.rng.random()
        if draw < 0.4 or not self.objects:
            self.put()
        elif draw < 0.7:
            self.put(self.rng.choice(list(self.objects)))
        elif draw < 0.93:
            self.delete(self.rng.choice(list(self.objects)))
        else:
            self.compact()

    def truth(self) -> dict[str, str]:
        return {uid: each["metadata"]["resourceVersion"] for uid, each in self.objects.items()}

    # -- the wire ------------------------------------------------------------------------

    def _trouble(self) -> None:
        if self.fail_next:
            raise self.fail_next.pop(0)
        if self.steps > 0 and self.rng.random() < self.chaos:
            raise self.rng.choice(
                [Unreachable("refused"), Throttled("wait", "", 2.0), Gone("410"), TooLargeVersion("behind")]
            )

    @contextlib.asynccontextmanager
    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, accept: str = "", read_timeout_s: float = 30.0,
        limit_bytes: int = 0,
    ) -> AsyncGenerator[Stream]:  # fmt: skip
        query = dict(query or {})
        self.queries.append(query)
        self.waits_s.append(read_timeout_s)
        await asyncio.sleep(0)
        self.happen()
        self._trouble()
        yield Stream(self._watch(query) if "watch" in query else self._list(query))

    async def _list(self, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        version, _, offset = query.get("continue", f"{self.version}:0").partition(":")
        if "continue" not in query:
            self.lists += 1
            items = list(self.objects.values())
            self.rng.shuffle(items)
            self.snapshots[self.version] = items
        at, begin = int(version), int(offset)
        if at not in self.snapshots:
            raise Gone("410: the continue token is too old")
        items = self.snapshots[at]
        more = begin + self.page < len(items)
        meta = {"resourceVersion": version} | ({"continue": f"{version}:{begin + self.page}"} if more else {})
        body = json.dumps({"metadata": meta, "items": items[begin : begin + self.page] or None})
        self.happen()
        yield body.encode()

    async def _watch(self, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        self.watches += 1
        at = int(query["resourceVersion"])
        while True:
            if at < self.oldest:
                status = {"code": 410, "reason": "Expired", "message": "too old resource version"}
                yield json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
                return
            text = b""
            for version, kind, made in [each for each in self.log if each[0] > at]:
                text += json.dumps({"type": kind, "object": made}).encode() + b"\n"
                at = version
            if self.rng.random() < 0.3:
                at = max(at, self.version)
                mark = {"metadata": {"resourceVersion": str(at)}}
                text += json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n"
            for piece in self._cut(text):
                self.clock.advance(self.rng.choice((0.0, 0.4, 3.0)))
                if self.steps > 0 and self.rng.random() < self.chaos:
                    if piece:
                        yield piece[: self.rng.randrange(len(piece))]
                    if self.rng.random() < 0.5:
                        raise Unreachable("cut in the middle")
                    return
                yield piece
            if self.steps <= 0 and at >= self.version:
                self.idle.set()
                await asyncio.Event().wait()
            self.happen()
            await asyncio.sleep(0)

    def _cut(self, text: bytes) -> list[bytes]:
        pieces = []
        while text:
            size = self.rng.choice((1, 7, 60, 300, len(text)))
            pieces.append(text[:size])
            text = text[size:]
        return pieces
