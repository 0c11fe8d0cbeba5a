"""What one service did in one region over the last hour: sums for columns of four seconds.

Histograms are kept as cumulative bucket counts, so that columns of any regions can be added and give
true quantiles. The three newest columns are open (late scrapes still count); older ones are packed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import fsum
from operator import add
from struct import Struct

from nimify_tui.fleet.quantiles import Bounds, common, project

COLUMN_S = 4.0
#: A process that is younger at its first scrape is counted from its start.
YOUNG_S = 10.0
#: Columns of an hour.
HOUR_COLUMNS = 900
#: Columns that late scrapes may still fill, where all are scraped at the fleet's own pace.
OPEN_COLUMNS = 3

#: What stands in a column before the buckets: seconds covered by scrapes, replicas that told, then sums.
#: ERRORS are the service's own (5xx and FAILED), FAILED well-formed requests that the model could not run,
#: CLIENT_ERRORS what clients did wrong.
(
    COVERED_S, REPLICAS, TOTAL, ERRORS, CLIENT_ERRORS, LIMITED, UNAVAILABLE, HOSTILE, COMPUTE_S, COMPUTES,
    DURATION_S, BATCH_ITEMS, BATCHES, CPU_S, QUEUE_S, FAILED,
) = range(16)  # fmt: skip
BUCKETS = 16


@lru_cache(512)
def _floats(count: int) -> Struct:
    """As this machine has them (no ``=`` before it): what is beyond 32 bits is then infinite, and no error."""
    return Struct(f"{count}f")


class Window:
    """The sum of some columns. ``span_s`` is how long a replica was watched in it on average."""

    __slots__ = ("bounds", "span_s", "values")

    def __init__(self, bounds: Bounds, values: list[float], span_s: float) -> None:
        self.bounds = bounds
        self.values = values
        self.span_s = span_s

    @property
    def total(self) -> float:
        """Requests."""
        return self.values[TOTAL]

    @property
    def rps(self) -> float:
        """Requests per second over all replicas."""
        return self.values[TOTAL] / self.span_s

    @property
    def counts(self) -> list[float]:
        """Cumulative bucket counts."""
        return self.values[BUCKETS:]

    def rate(self, index: int) -> float:
        """A sum per second over all replicas."""
        return self.values[index] / self.span_s

    def mean(self, sum_index: int, count_index: int) -> float | None:
        """A sum for each of what was counted; None when nothing was."""
        count = self.values[count_index]
        return self.values[sum_index] / count if count > 0.0 else None


class Series:
    """Columns of one service in one region. ``closed`` is told each column that is packed, with its number."""

    __slots__ = ("_columns", "_ids", "_packed", "bounds", "closed", "conflict", "keep", "open", "version")

    def __init__(self, closed: Callable[[int, Window], None] | None = None, keep: int = HOUR_COLUMNS) -> None:
        self.bounds: Bounds = ()
        #: Why there is no latency although there are histograms, "" if there is none.
        self.conflict = ""
        self.keep = keep
        #: Columns that late scrapes may still fill.
        self.open = OPEN_COLUMNS
        self.version = 0
        self.closed = closed
        self._columns: dict[int, array[float]] = {}
        self._ids = array("q")
        self._packed = array("f")

    def add(self, column: int, values: list[float], bounds: Bounds) -> None:
        """Add ``values`` (sums, then cumulative bucket counts for ``bounds`` and +Inf) to a column."""
        if bounds != self.bounds:
            values = self._fit(values, bounds)
        columns = self._columns
        known = columns.get(column)
        self.version += 1
        if known is not None:
            columns[column] = array("d", list(map(add, known, values)))  # of a list: it is as long as that, no more
            return
        if self._ids and column <= self._ids[-1]:
            return  # too late: that column is closed
        columns[column] = array("d", values)
        if len(columns) > self.open or column - min(columns) >= self.open:
            self._pack(max(columns) - self.open)

    def window(self, first: int, last: int) -> Window | None:
        """The sum of the columns ``first`` to ``last``; None when no scrape covers any of them."""
        rows: list[Sequence[float]] = [row for column, row in self._columns.items() if first <= column <= last]
        ids = self._ids
        if ids and first <= ids[-1]:
            width = BUCKETS + len(self.bounds) + 1
            packed = self._packed
            begin, end = bisect_left(ids, first), bisect_left(ids, last + 1)
            rows.extend(packed[at * width : (at + 1) * width].tolist() for at in range(begin, end))
        return self._sum(rows)

    def column(self, column: int) -> Window | None:
        """One column; None when no scrape covers it."""
        return self.window(column, column)

    @property
    def newest(self) -> int:
        """The newest column that there is, 0 if there is none."""
        return max(self._columns, default=self._ids[-1] if self._ids else 0)

    @property
    def oldest(self) -> int:
        """The oldest column that is kept, 0 if there is none."""
        return self._ids[0] if self._ids else min(self._columns, default=0)

    @property
    def kept(self) -> int:
        """How many columns are packed."""
        return len(self._ids)

    def _sum(self, rows: list[Sequence[float]]) -> Window | None:
        rows = [row for row in rows if row[COVERED_S] > 0.0]
        if not rows:
            return None
        # Each replica's share of a column was watched so long on average.
        span_s = sum(row[COVERED_S] / max(1.0, row[REPLICAS]) for row in rows)
        values = list(rows[0]) if len(rows) == 1 else [*map(fsum, zip(*rows, strict=True))]
        return Window(self.bounds, values, span_s)

    def _pack(self, last: int) -> None:
        for column in sorted(column for column in self._columns if column <= last):
            values = self._columns.pop(column)
            told = values.tolist()
            self._ids.append(column)
            self._packed.frombytes(_floats(len(told)).pack(*told))  # one by one they cost three times as much
            if told[COVERED_S] > 0.0 and self.closed is not None:
                self.closed(column, Window(self.bounds, told, told[COVERED_S] / max(1.0, told[REPLICAS])))
        surplus = len(self._ids) - self.keep
        if surplus > max(8, self.keep // 8):
            width = BUCKETS + len(self.bounds) + 1
            del self._ids[:surplus]
            del self._packed[: surplus * width]

    def _fit(self, values: list[float], bounds: Bounds) -> list[float]:
        """Bring ``values`` and what is kept onto common bounds."""
        head, counts = values[:BUCKETS], values[BUCKETS:]
        empty = [0.0] * (len(self.bounds) + 1)
        if not bounds:
            return head + empty
        if not self.bounds:
            self._change(bounds)
            return values
        shared = common(self.bounds, bounds)
        if not shared:
            self.conflict = "replicas have histograms without a common bucket bound"
            return head + empty
        if shared != self.bounds:
            self._change(shared)
        return head + project(bounds, counts, shared)

    def _change(self, bounds: Bounds) -> None:
        """Keep everything on other bounds from now on (a part of the old ones, or the first there are)."""
        old, width = self.bounds, BUCKETS + len(self.bounds) + 1

        def moved(row: Sequence[float]) -> list[float]:
            counts = project(old, row[BUCKETS:], bounds) if old else [0.0] * (len(bounds) + 1)
            return [*row[:BUCKETS], *counts]

        self._columns = {column: array("d", moved(row)) for column, row in self._columns.items()}
        packed = array("f")
        for at in range(len(self._ids)):
            packed.extend(moved(self._packed[at * width : (at + 1) * width].tolist()))
        self._packed, self.bounds = packed, bounds
