"""Demands: what is looked up only while somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec

from nimify_tui.domain.history import ChartMetric
from nimify_tui.domain.names import ServiceKey


class DetailDemand(msgspec.Struct, frozen=True):
    """The detail of one row (chart, why, replicas, revisions, changes) in every frame from now on."""

    row_id: str


class LogDemand(msgspec.Struct, frozen=True):
    """Log lines of a service in one region, live.

    ``replica`` "" means all replicas merged. ``previous`` asks for the run before the current one
    (the default of the screen for a crashed replica).
    """

    key: ServiceKey
    replica: str = ""
    previous: bool = False


class ObjectDemand(msgspec.Struct, frozen=True):
    """The object behind a service (its workload) or, with ``replica``, behind one replica (its pod); read once.

    Another ``turn`` reads it again. The answer is an ObjectRead.
    """

    key: ServiceKey
    replica: str = ""
    turn: int = 0


class RightsDemand(msgspec.Struct, frozen=True):
    """What these credentials may do to a service; asked once while somebody looks at it.

    With ``pods`` also what they may do to its pods.
    """

    key: ServiceKey
    pods: bool = False


class StartDemand(msgspec.Struct, frozen=True):
    """What the replicas of a service that are starting say they are at: their last lines, now and then."""

    key: ServiceKey


class NumbersDemand(msgspec.Struct, frozen=True):
    """The numbers of a service that is in view: where not all can be read, these are."""

    key: ServiceKey


class HistoryDemand(msgspec.Struct, frozen=True):
    """What a region's Prometheus has of a service between ``begin`` and ``end``, a step each ``step_s`` seconds.

    ``begin`` and ``end`` are unix seconds and whole multiples of the step. The answer is a HistoryRead; a region
    without such a server (``Region.monitor``) answers nothing.
    """

    key: ServiceKey
    metric: ChartMetric
    begin: int
    end: int
    step_s: int


Demand = DetailDemand | HistoryDemand | LogDemand | NumbersDemand | ObjectDemand | RightsDemand | StartDemand


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a replica's log, as it was written (uncleaned: the screen cleans what it draws).

    ``container`` "" where replicas have none. ``mark`` is a line of ours in the stream: here something
    broke, went on, or is left out.
    """

    at: float
    replica: str
    run: int
    text: str
    container: str = ""
    mark: bool = False


class LogSink(Protocol):
    """Where a source puts the lines of a demanded log; fleet.logtail.LogTail is one."""

    def append(self, lines: Sequence[LogLine]) -> None:
        """More lines."""
        ...

    def gap(self, text: str, at: float | None = None) -> None:
        """Here something is missing."""
        ...

    def leave_out(self, count: int) -> None:
        """So many lines came too fast to be kept."""
        ...


class Demands(Protocol):
    """What is looked at now; the fleet is one."""

    def demands(self) -> Collection[Demand]:
        """What somebody looks at, from any thread."""
        ...

    def on_demand(self, listener: Callable[[Demand, bool], None]) -> None:
        """Tell ``listener`` what comes up (True) and what ends, in any thread."""
        ...


class Looks(Demands, Protocol):
    """What is looked at now, with where its log lines go."""

    def log_tail(self, demand: LogDemand) -> LogSink:
        """Where the lines of a demand go."""
        ...
