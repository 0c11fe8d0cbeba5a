"""Reads the metrics of every replica that has an address for them, each on its own time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Sequence

from nimify_tui.backends.http import HttpClient
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import DeadlineError, NetworkError, NimifyError
from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.domain.names import ReplicaKey
from nimify_tui.domain.served import ServedModel
from nimify_tui.domain.services import Replica, ReplicaState
from nimify_tui.domain.updates import ModelsSeen, Sampled, SampleFailed, Update
from nimify_tui.sources.metrics.adapters import Reader
from nimify_tui.sources.metrics.announced import announced
from nimify_tui.sources.metrics.statistics import PATH as STATISTICS

INTERVAL_S = 2.0
TIMEOUT_S = 1.0
#: Scrapes under way at once; a stopped replica holds its place for TIMEOUT_S only.
AT_ONCE = 64
#: A page of our runtime has some 12 kB.
MAX_BYTES = 2 * 1024 * 1024
#: A server is asked so often which models it has, seconds; one that has a single one so seldom.
MODELS_S, ONE_MODEL_S = 6.0, 60.0
#: What has come in is handed on so often, seconds.
_FLUSH_S = 0.1
_SCRAPED = frozenset({ReplicaState.READY, ReplicaState.NOT_READY, ReplicaState.HUNG})


class _Target:
    """One replica: where, when next, and whether it is being asked now."""

    __slots__ = ("busy", "due_s", "models", "models_due_s", "stats_url", "url")

    def __init__(self, url: str, stats_url: str, due_s: float) -> None:
        self.url = url
        self.stats_url = stats_url
        self.due_s = due_s
        self.busy = False
        self.models_due_s = due_s
        self.models: tuple[ServedModel, ...] | None = None


class ScrapeSource:
    """Scrapes what ``targets`` gives (asked in the loop, about ten times a second; must be quick).

    Replicas are spread over the interval; one that does not answer delays nobody.
    """

    def __init__(
        self,
        targets: Callable[[], Iterable[Replica]],
        clock: Clock,
        interval_s: float = INTERVAL_S,
        timeout_s: float = TIMEOUT_S,
        at_once: int = AT_ONCE,
    ) -> None:
        self._targets = targets
        self._clock = clock
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._at_once = at_once
        self._known: dict[ReplicaKey, _Target] = {}
        self._found: list[Update] = []
        self._reader = Reader()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Scrape until cancelled."""
        async with HttpClient() as client:
            try:
                while True:
                    self._refresh()
                    self._start(client)
                    if self._found:
                        found, self._found = self._found, []
                        sink(found)
                    await asyncio.sleep(_FLUSH_S)
            finally:
                for task in self._running:
                    task.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)

    def _refresh(self) -> None:
        now_s = self._clock.mono_s()
        there = {
            each.key: (each.admin_url, each.stats_url)
            for each in self._targets()
            if each.admin_url and each.state in _SCRAPED
        }
        for key in [key for key in self._known if key not in there]:
            del self._known[key]
        for key, (url, stats_url) in there.items():
            known = self._known.get(key)
            if known is None or (known.url, known.stats_url) != (url, stats_url):
                # A new one is read at once, the next time at its own place in the interval.
                self._known[key] = _Target(url, stats_url, now_s)

    def _start(self, client: HttpClient) -> None:
        now_s = self._clock.mono_s()
        due = [(key, target) for key, target in self._known.items() if target.due_s <= now_s and not target.busy]
        due.sort(key=lambda pair: pair[1].due_s)
        for key, target in due[: max(0, self._at_once - len(self._running))]:
            target.busy = True
            target.due_s = self._next_s(key, now_s)
            task = asyncio.create_task(self._scrape(client, key, target))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _next_s(self, key: ReplicaKey, now_s: float) -> float:
        """The next time that is this replica's: its own phase of the interval, at least half of it away."""
        phase_s = zlib.crc32(repr(key).encode()) % 1000 / 1000 * self._interval_s
        earliest_s = now_s + self._interval_s / 2
        turns = -((phase_s - earliest_s) // self._interval_s)
        return phase_s + turns * self._interval_s

    async def _scrape(self, client: HttpClient, key: ReplicaKey, target: _Target) -> None:
        try:
            try:
                sample = await self._read(client, target)
            except DeadlineError:
                raise
            except NimifyError:
                if not target.stats_url:
                    raise
                sample = await self._read_statistics(client, target)
            at = self._clock.now()
            if sample is None:
                self._found.append(SampleFailed(at, key, "its metrics are of a runtime that is not known here"))
            elif self._known.get(key) is target:
                self._found.append(Sampled(at, key, sample))
                await self._ask_models(client, key, target, sample)
        except DeadlineError:
            self._found.append(SampleFailed(self._clock.now(), key, f"no answer within {self._timeout_s:g} s"))
        except NimifyError as error:
            self._found.append(SampleFailed(self._clock.now(), key, error.message))
        finally:
            target.busy = False

    async def _read(self, client: HttpClient, target: _Target) -> ReplicaSample | None:
        reply = await client.get(f"{target.url}/metrics", timeout_s=self._timeout_s, max_bytes=MAX_BYTES)
        if reply.status != 200:
            raise NetworkError(f"/metrics answered {reply.status}")
        return self._reader.read(reply.body, self._clock.now(), target.url)

    async def _read_statistics(self, client: HttpClient, target: _Target) -> ReplicaSample | None:
        url = f"{target.stats_url}{STATISTICS}"
        reply = await client.get(url, timeout_s=self._timeout_s, max_bytes=MAX_BYTES)
        if reply.status != 200:
            raise NetworkError(f"neither its metrics answer nor {STATISTICS} ({reply.status})")
        return self._reader.statistics(reply.body, self._clock.now(), url)

    async def _ask_models(
        self, client: HttpClient, key: ReplicaKey, target: _Target, sample: ReplicaSample
    ) -> None:
        """Now and then, which models it has; told when that is something new. A server without a list is let be."""
        now_s = self._clock.mono_s()
        if now_s < target.models_due_s:
            return
        several = sample.models is not None or len(target.models or ()) > 1
        target.models_due_s = now_s + (MODELS_S if several else ONE_MODEL_S)
        try:
            found = await announced(client, target.stats_url or target.url, self._timeout_s)
        except NimifyError:  # its numbers were read: this time it has no time for more
            return
        if found is None:
            target.models_due_s = float("inf")
        elif found != target.models and self._known.get(key) is target:
            target.models = found
            target.models_due_s = now_s + (MODELS_S if len(found) > 1 else ONE_MODEL_S)
            self._found.append(ModelsSeen(self._clock.now(), key, found))
