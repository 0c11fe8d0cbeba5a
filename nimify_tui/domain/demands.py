"""Demands: what is looked up only while somebody looks at it."""

from __future__ import annotations

import msgspec

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


class RightsDemand(msgspec.Struct, frozen=True):
    """What these credentials may do to a service; asked once while somebody looks at it."""

    key: ServiceKey


Demand = DetailDemand | LogDemand | RightsDemand


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a replica's log, as it was written (uncleaned: the screen cleans what it draws)."""

    at: float
    replica: str
    run: int
    text: str
