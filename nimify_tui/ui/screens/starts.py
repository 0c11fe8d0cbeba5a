"""Services in view: what those that start are at is looked up while they are in view, and their numbers first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nimify_tui.domain.demands import NumbersDemand, StartDemand
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.regions import RegionKind
from nimify_tui.domain.services import ReplicaState, ServiceState
from nimify_tui.fleet.frames import Frame, ServiceDetail
from nimify_tui.ui.context import ConsoleContext
from nimify_tui.ui.widgets.table import LiveTable

#: So many services that start at once, and so many of which numbers are asked for.
MOST, MOST_SHOWN = 8, 100


class Starts:
    """The demands of one screen."""

    def __init__(self) -> None:
        self._demands: frozenset[StartDemand | NumbersDemand] = frozenset()

    def look(
        self, context: ConsoleContext, keys: Iterable[ServiceKey], shown: Iterable[ServiceKey] = ()
    ) -> None:
        """``keys`` are in view and start, of ``shown`` the numbers are; none any more when there are none."""
        starts = [StartDemand(key) for key in list(dict.fromkeys(keys))[:MOST]]
        numbers = [NumbersDemand(key) for key in list(dict.fromkeys(shown))[:MOST_SHOWN]]
        wanted = frozenset[StartDemand | NumbersDemand]([*starts, *numbers])
        for each in wanted - self._demands:
            context.demand(each)
        for each in self._demands - wanted:
            context.release(each)
        self._demands = wanted


def starting_in_view(table: LiveTable, frame: Frame) -> list[ServiceKey]:
    """The services whose rows are in view and say that they are starting, in the region that does."""
    found = []
    for each in table.order[table.top : table.top + table.body_height]:
        row = frame.rows.get(str(each))
        if row is not None and row.state is ServiceState.STARTING:
            states = dict(row.region_states)
            found += [key for key in row.keys if states.get(key.region) is ServiceState.STARTING]
    return found


def metered_in_view(table: LiveTable, frame: Frame) -> list[ServiceKey]:
    """The services whose rows are in view, in regions whose numbers are read by a few requests a second."""
    far = {each.region.name for each in frame.regions if each.region.kind is RegionKind.KUBERNETES}
    if not far:
        return []
    rows = [frame.rows.get(str(each)) for each in table.order[table.top : table.top + table.body_height]]
    return [key for row in rows if row is not None for key in row.keys if key.region in far]


def starting_replicas(details: Sequence[ServiceDetail]) -> list[ServiceKey]:
    """The services of details of which a replica is starting, or that wait for something before there is one."""
    found = []
    for detail in details:
        busy = {each.replica.key.service for each in detail.replicas if each.replica.state is ReplicaState.STARTING}
        none = {each.replica.key.service for each in detail.replicas}
        found += [each.key for each in detail.services if each.key in busy or each.key not in none]
    return found
