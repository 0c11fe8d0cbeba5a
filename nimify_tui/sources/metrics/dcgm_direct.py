"""Reads dcgm-exporters themselves where no Prometheus does: pods through their API server, containers at their address.

Each is asked once in thirty seconds (it collects no more often), a few at a time; one that does not answer costs the
others nothing, and its numbers grow old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from nimify_tui.backends.http import HttpClient
from nimify_tui.backends.kubernetes.errors import Forbidden
from nimify_tui.backends.kubernetes.rights import Access
from nimify_tui.base.clock import Clock
from nimify_tui.base.errors import ClusterError, NimifyError
from nimify_tui.base.text import clean_line
from nimify_tui.domain.gpus import GpuPanel
from nimify_tui.domain.updates import GpusSeen, SecuritySeen, Update
from nimify_tui.sources.gpu_faults import GpuFaults
from nimify_tui.sources.metrics.dcgm import WANTED, Card, Way, cards, said_by
from nimify_tui.sources.metrics.dcgm_xids import XidHistory
from nimify_tui.sources.metrics.exposition import Parser
from nimify_tui.sources.metrics.proxied import Link

log = logging.getLogger(__name__)
#: An exporter is read so often; who is due is looked for so often, seconds.
EVERY_S, LOOK_S = 30.0, 1.0
#: Exporters of one region that are read, at how many requests a second, how many of them at once, and how long one may
#: take (seconds).
MOST, CAP_RPS, AT_ONCE, TIMEOUT_S = 300, 10.0, 4, 5.0
#: A page of a node with eight cards has some 60 kB; with seven slices of each some 300 kB.
MAX_BYTES = 2 * 1024 * 1024
_ACCEPT = "text/plain;version=0.0.4, */*;q=0.5"


class Exporter(NamedTuple):
    """One exporter: its name in words, the node whose cards it tells, and how its page is fetched.

    ``fetch`` raises NimifyError.
    """

    who: str
    node: str
    fetch: Callable[[], Awaitable[bytes]]


def by_proxy(link: Link, space: str, pod: str, path: str, node: str) -> Exporter:
    """An exporter's pod, read through the proxy of the API server at ``path``. It takes the right get pods/proxy."""

    async def fetch() -> bytes:
        try:
            async with link.get(
                path, accept=_ACCEPT, read_timeout_s=3 * TIMEOUT_S, limit_bytes=MAX_BYTES
            ) as answer:
                return await answer.read()
        except Forbidden as error:  # it may also be the pod's own word
            if (await link.may(Access("get", "", "pods/proxy", space))).allowed:
                raise ClusterError(f"pod {pod} answers {error.status}") from error
            raise ClusterError(f"no right to pods/proxy in ns {space}", "ask for `get`") from error

    return Exporter(f"pod {space}/{pod}", node, fetch)


def by_address(client: HttpClient, name: str, url: str, node: str) -> Exporter:
    """An exporter at an address that is reached from here."""

    async def fetch() -> bytes:
        reply = await client.get(f"{url}/metrics", timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES)
        if reply.status != 200:
            raise ClusterError(f"{url}/metrics answers {reply.status}")
        return reply.body

    return Exporter(name, node, fetch)


class DirectCards:
    """Reads the exporters that ``exporters`` gives by region (asked each second, must be quick) until cancelled."""

    def __init__(
        self, exporters: Callable[[], Mapping[str, Sequence[Exporter]]], faults: GpuFaults, clock: Clock
    ) -> None:
        self._exporters, self._faults, self._clock = exporters, faults, clock
        self._regions: dict[str, RegionExporters] = {}
        self._due_s: dict[str, float] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def run(self, sink: Callable[[Sequence[Update]], None]) -> None:
        """Read until cancelled; a region that is slow delays no other."""
        try:
            while True:
                self._start(sink)
                await asyncio.sleep(LOOK_S)
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _start(self, sink: Callable[[Sequence[Update]], None]) -> None:
        now_s = self._clock.mono_s()
        for name, found in self._exporters().items():
            if name in self._busy or self._due_s.get(name, 0.0) > now_s or (not found and name not in self._regions):
                continue
            region = self._regions.setdefault(name, RegionExporters(name, self._faults, self._clock))
            self._due_s[name] = now_s + EVERY_S
            task = asyncio.create_task(self._turn(region, found, sink), name=f"{name}: GPUs")
            self._busy[name] = task
            task.add_done_callback(lambda _, name=name: self._busy.pop(name, None))  # type: ignore[misc]  # a default binds it

    async def _turn(
        self, region: RegionExporters, found: Sequence[Exporter], sink: Callable[[Sequence[Update]], None]
    ) -> None:
        try:
            sink(await region.turn(found))
        except Exception:  # whatever a page makes of it: it is logged whole, and read again
            log.exception("the GPUs of a region could not be told")


class RegionExporters:
    """One region's exporters, and what each told last."""

    def __init__(self, name: str, faults: GpuFaults, clock: Clock) -> None:
        self._name, self._clock = name, clock
        self._history = XidHistory(name, faults)
        self._parser = Parser(WANTED)
        self._pages: dict[str, list[Card]] = {}

    async def turn(self, found: Sequence[Exporter]) -> list[Update]:
        """Read each once, and tell all cards of the region together."""
        read = found[:MOST]
        gate, failed = asyncio.Semaphore(AT_ONCE), dict[str, str]()

        async def one(number: int, each: Exporter) -> None:
            await asyncio.sleep(number / CAP_RPS)
            async with gate:
                if why := await self._read(each):
                    failed[each.who] = why

        await asyncio.gather(*(one(number, each) for number, each in enumerate(read)))
        there = {each.who for each in read}
        self._pages = {who: page for who, page in self._pages.items() if who in there}
        source = "DCGM, read from its exporters"
        everything = [card for page in self._pages.values() for card in page]
        gpus, events = self._history.told(everything, source)
        if events:
            await asyncio.to_thread(self._history.write)
        return self._told(GpuPanel(
            at=min((card.at for card in everything), default=None), gpus=tuple(gpus), source=source, region=self._name,
            reason="" if gpus else (next(iter(failed.values()), "") or "no dcgm-exporter runs there"),
            partial=_partial(failed, len(read), len(found)) if gpus else "",
        ), events)  # fmt: skip

    def _told(self, panel: GpuPanel, events: list[SecuritySeen]) -> list[Update]:
        return [GpusSeen(self._clock.now(), self._name, panel), *events]

    async def _read(self, each: Exporter) -> str:
        """Read one; "" or why it could not be."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                body = await each.fetch()
            page = self._parser.parse(body)
            at = self._clock.now()
            self._pages[each.who] = cards(said_by(page, at), Way(f"DCGM in {each.who}", EVERY_S, each.node))
        except TimeoutError:
            return f"{each.who} did not answer within {TIMEOUT_S:g} s"
        except NimifyError as error:
            words = f"{error.message}: {error.remedy}" if error.remedy else error.message
            return f"{each.who}: {clean_line(words, 160)}"
        except Exception:  # whatever a page makes of it: it is logged whole, and the others are read on
            log.exception("the page of a dcgm-exporter could not be understood")
            return f"{each.who}: its page could not be understood"
        return ""


def _partial(failed: Mapping[str, str], read: int, there: int) -> str:
    words = []
    if failed:
        words.append(f"{len(failed)} of {read} exporters not read: {next(iter(failed.values()))}")
    if there > read:
        words.append(f"{there - read} exporters more than the {MOST} that are read")
    return "; ".join(words)
