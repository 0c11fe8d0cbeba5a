"""What the readers of servers of language models have in common: a row of names each, and one way to read them."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import NamedTuple

from nimify_tui.domain.measures import ReplicaSample, TokenSample
from nimify_tui.sources.metrics.exposition import Page, Series
from nimify_tui.sources.metrics.reading import (
    CPU,
    FDS,
    RSS,
    STARTED,
    Histograms,
    first,
    mean,
    one,
    parts,
    total,
)


class Names(NamedTuple):
    """What a runtime calls each thing: "" what it does not tell, several where it was renamed, the newest first.

    Histograms without their endings: ``duration`` to ``itl``, and ``batch``, of which the sum and the count are read.
    ``queries`` and ``hits`` are of its prefix cache, ``hit_rate`` is their ratio as it makes it itself.
    """

    duration: str
    ttft: str
    itl: tuple[str, ...]
    running: str
    waiting: str
    prompt: str
    generated: str
    kv: tuple[str, ...]
    queue: str = ""
    compute: str = ""
    batch: str = ""
    queries: tuple[str, ...] = ()
    hits: tuple[str, ...] = ()
    preemptions: str = ""
    hit_rate: str = ""

    @property
    def samples(self) -> frozenset[str]:
        """The names of all samples that are read."""
        histograms = parts(*filter(None, (self.duration, self.queue, self.compute, self.ttft, *self.itl)))
        batch = {f"{self.batch}_sum", f"{self.batch}_count"} if self.batch else set[str]()
        others = (
            self.running, self.waiting, self.prompt, self.generated, *self.kv, *self.queries, *self.hits,
            self.preemptions, self.hit_rate,
        )  # fmt: skip
        return histograms | batch | set(filter(None, others))


class LanguageAdapter(abc.ABC):
    """Makes samples of pages of one runtime. For one thread."""

    name: str
    names: Names
    announced = frozenset[str]()
    #: Why there are no percentiles, where what would help is known.
    no_histogram = ""

    def __init__(self) -> None:
        self._histograms = Histograms()

    @abc.abstractmethod
    def knows(self, page: Page) -> bool:
        """Whether the page is of this runtime: by its names alone."""

    @abc.abstractmethod
    def requests(self, page: Page) -> dict[str, float] | None:
        """Its requests by how they ended."""

    def held(self, series: Iterable[Series] | None) -> float | None:
        """How many requests are running, or waiting, by the gauges of its engines."""
        return total(series)

    def looked_up(self, page: Page) -> tuple[float | None, float | None]:
        """What its prefix cache was asked for, and what of that it had."""
        series, names = page.series, self.names
        queries = first(total(series.get(name)) for name in names.queries)
        return queries, first(total(series.get(name)) for name in names.hits)

    def sample(self, page: Page, at: float, source: str) -> ReplicaSample | None:
        """The sample, None when the page is of another runtime."""
        if not self.knows(page):
            return None
        series, read, names = page.series, self._histograms.read, self.names
        duration, (queries, hits) = read(page, names.duration), self.looked_up(page)
        note = "" if duration is not None else self.no_histogram or f"no histogram: it tells no {names.duration}"
        return ReplicaSample(
            at=at, source=source, runtime=self.name,
            started_at=one(series.get(STARTED)),
            requests=self.requests(page),
            duration=duration,
            latency_note=note,
            queue=read(page, names.queue) if names.queue else None,
            compute=read(page, names.compute) if names.compute else None,
            batch_sum=total(series.get(f"{names.batch}_sum")) if names.batch else None,
            batch_count=total(series.get(f"{names.batch}_count")) if names.batch else None,
            in_flight=self.held(series.get(names.running)),
            queued=self.held(series.get(names.waiting)),
            cpu_s=one(series.get(CPU)),
            rss_bytes=one(series.get(RSS)),
            open_fds=one(series.get(FDS)),
            tokens=TokenSample(
                ttft=read(page, names.ttft),
                itl=first(read(page, name) for name in names.itl),
                prompt_tokens=total(series.get(names.prompt)),
                generation_tokens=total(series.get(names.generated)),
                prefix_queries=queries,
                prefix_hits=hits,
                preemptions=total(series.get(names.preemptions)),
                kv_ratio=first(mean(series.get(name)) for name in names.kv),
                prefix_ratio=mean(series.get(names.hit_rate)),
            ),
        )  # fmt: skip
