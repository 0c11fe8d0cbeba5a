"""The runtimes whose metrics are understood: one adapter each, one line each in the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nimify_tui.domain.measures import ReplicaSample
from nimify_tui.sources.metrics.exposition import Page, Parser
from nimify_tui.sources.metrics.http import HttpAdapter
from nimify_tui.sources.metrics.nim import NimAdapter
from nimify_tui.sources.metrics.nimify import NimifyAdapter
from nimify_tui.sources.metrics.triton import TritonAdapter
from nimify_tui.sources.metrics.vllm import VllmAdapter


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

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """What the page says, None when it is of another family."""
        ...


#: Asked from left to right: a page of vLLM has widespread names of HTTP requests, too.
ADAPTERS: tuple[Callable[[], Adapter], ...] = (NimifyAdapter, VllmAdapter, NimAdapter, TritonAdapter, HttpAdapter)


class Reader:
    """Pages to samples, whichever runtime they come from. For one thread."""

    def __init__(self) -> None:
        self._adapters = [make() for make in ADAPTERS]
        self._parser = Parser(name for adapter in self._adapters for name in adapter.wanted)

    def read(self, data: bytes, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when no adapter knows the page. Raises ExpositionError."""
        page = self._parser.parse(data)
        for adapter in self._adapters:
            sample = adapter.sample(page, at, source)
            if sample is not None:
                return sample
        return None
