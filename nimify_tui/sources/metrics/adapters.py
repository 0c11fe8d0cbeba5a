"""The runtimes whose metrics are understood: one adapter each, one line each in the table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import msgspec

from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.sources.metrics import triton, trtllm
from nimify_tui.sources.metrics.exposition import Page, Parser, Rows
from nimify_tui.sources.metrics.http import HttpAdapter
from nimify_tui.sources.metrics.ingress import IngressAdapter
from nimify_tui.sources.metrics.kserve import KserveAdapter
from nimify_tui.sources.metrics.mesh import Mesh
from nimify_tui.sources.metrics.nim import NimAdapter
from nimify_tui.sources.metrics.nimify import NimifyAdapter
from nimify_tui.sources.metrics.reading import PROCESS
from nimify_tui.sources.metrics.sglang import SglangAdapter
from nimify_tui.sources.metrics.statistics import NO_METRICS, series_of
from nimify_tui.sources.metrics.triton import TritonAdapter
from nimify_tui.sources.metrics.trtllm import TrtllmAdapter
from nimify_tui.sources.metrics.vllm import VllmAdapter

_NONE = frozenset[str]()


class Adapter(Protocol):
    """Knows the names of one runtime family. ``wanted`` are sample names (``x_bucket``, ``x_total``)."""

    @property
    def name(self) -> str:
        """The family."""
        ...

    @property
    def wanted(self) -> frozenset[str]:
        """What it reads."""
        ...

    @property
    def announced(self) -> frozenset[str]:
        """The families that its pages announce always, also before anything was counted in them."""
        ...

    def knows(self, page: Page) -> bool:
        """Whether the page is of this family: by the names on it alone, so that a value changes nothing in it."""
        ...

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """What the page says, None when it is of another family."""
        ...


#: Asked from left to right: a page of vLLM has widespread names of HTTP requests, too. NIM 2.x and Dynamo's workers are
#: told apart by nothing: their pages are their backend's.
ADAPTERS: tuple[Callable[[], Adapter], ...] = (
    NimifyAdapter, VllmAdapter, SglangAdapter, TrtllmAdapter, NimAdapter, TritonAdapter, KserveAdapter, IngressAdapter,
    HttpAdapter,
)  # fmt: skip
#: By family: the names of metrics that are known from their makers' documentation alone. A page that has one is of a
#: generation that no recorded page was checked with, and its numbers say so.
DOCUMENTED: Mapping[str, frozenset[str]] = {"trtllm": trtllm.DOCUMENTED, "triton": triton.DOCUMENTED}


class Reader:
    """Pages to samples, whichever runtime they come from. For one thread."""

    def __init__(self) -> None:
        self._adapters = [make() for make in ADAPTERS]
        self.mesh = Mesh()
        self.wanted = frozenset(name for adapter in self._adapters for name in adapter.wanted)
        self._parser = Parser(self.wanted | self.mesh.wanted)

    def read(self, data: bytes, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when no adapter knows the page. Raises ExpositionError."""
        page = self._parser.parse(data)
        return self._whole(self._of(page, at, source), page, at, source)

    def statistics(self, data: bytes, at: float, source: str) -> ReplicaSample | None:
        """The sample of an answer of Triton's statistics API, None when it has no model. Raises ValidationError."""
        sample = self.understand(series_of(data), at, source)
        if sample is None:
            return None
        return msgspec.structs.replace(sample, queued=None, latency_note=NO_METRICS)

    def understand(
        self,
        series: Mapping[str, Rows],
        at: float,
        source: str,
        proxy: Mapping[str, Rows] | None = None,
    ) -> ReplicaSample | None:
        """The sample of series whose page somebody else has read, and who keeps no announcements.

        ``proxy`` are those of the mesh's proxy beside it, which may have been read as another page.
        """
        bare = Page(series, frozenset())
        known = next((adapter for adapter in self._adapters if adapter.knows(bare)), None)
        sample = known.sample(Page(series, known.announced), at, source) if known is not None else None
        return self._whole(_labelled(sample, bare), Page(proxy or {}, frozenset()), at, source)

    def _whole(self, sample: ReplicaSample | None, page: Page, at: float, source: str) -> ReplicaSample | None:
        return self.mesh.alone(page, at, source) if sample is None else self.mesh.complete(sample, page)

    def wanted_with(self, found: Collection[str]) -> frozenset[str]:
        """All that the adapters want of which something is ``found``: what was not counted yet may come any moment."""
        there = frozenset(found) - PROCESS
        return frozenset[str]().union(*(each.wanted for each in self._adapters if not there.isdisjoint(each.wanted)))

    def _of(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        for adapter in self._adapters:
            sample = _labelled(adapter.sample(page, at, source), page)
            if sample is not None:
                return sample
        return None


def _labelled(sample: ReplicaSample | None, page: Page) -> ReplicaSample | None:
    """What was read under a name that documentation alone tells says so; announcements are no reading."""
    if sample is None or DOCUMENTED.get(sample.runtime, _NONE).isdisjoint(page.series):
        return sample
    return msgspec.structs.replace(sample, documented=True)
