"""The logs tab: which logs are wanted, their lines merged into the view, search and filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import LogDemand, LogLine
from nimify_tui.domain.names import ServiceKey, short_region
from nimify_tui.fleet.frames import ReplicaRow, ServiceDetail, ServiceRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.logquery import QueryError, parse
from nimify_tui.ui.present.detail import crashed_replica, tells_before, unseen_regions
from nimify_tui.ui.present.logs import plain_log, pod_label
from nimify_tui.ui.widgets.logbuffer import Origin
from nimify_tui.ui.widgets.logview import LogView
from nimify_tui.ui.widgets.rule import Rule

if TYPE_CHECKING:
    from nimify_tui.ui.screens.detail import DetailScreen

#: The first lines of several regions wait for so many looks at most until each has some, so that they stand in order.
HOLD_LOOKS = 6
_FILTER_HINT = 'pod: container: region: level:warn+ text "quoted text" /regex/ not ...; empty: all'


class LogPane:
    """Owns the demands for the logs that are seen, one for each region, and gives them back."""

    def __init__(self, screen: DetailScreen) -> None:
        self._screen = screen
        self.rule = Rule("logs", id="logs-rule")
        self.view = LogView(id="logs", empty="no lines yet")
        self.view.told = lambda: self.rule.set(None, self.view.facts)
        self.demands: tuple[LogDemand, ...] = ()
        #: Of each demand: number of the next line, and how many were dropped.
        self._read: dict[LogDemand, tuple[int, int]] = {}
        self._looks = 0
        self._origins: dict[tuple[str, str, str, bool, bool, bool], Origin] = {}
        #: Containers seen so far: their names stand before the lines once there are two.
        self._containers: set[str] = set()

    # -- which log ---------------------------------------------------------------------------
    def choose(self, row: ServiceRow | None, detail: ServiceDetail | None) -> None:
        """The log that tells most: of a crashed replica, else all replicas of all regions; once.

        Regions that the service comes to later are taken in.
        """
        if row is None or not row.keys:
            return
        if self.demands:
            self._take_in(row)
            return
        crashed = crashed_replica(detail) if detail is not None else None
        if crashed is not None:
            replica, previous = crashed
            key = replica.replica.key
            self.follow(LogDemand(key.service, key.replica, previous))
        elif detail is not None or not row.stale:
            self.follow(*(LogDemand(key) for key in row.keys))

    def _take_in(self, row: ServiceRow) -> None:
        if len(self.demands) < 2 or self.demands[0].replica:
            return
        known = {each.key for each in self.demands}
        for key in row.keys:
            if key not in known:
                demand = LogDemand(key, "", self.demands[0].previous)
                self.demands = (*self.demands, demand)
                self._screen.console_app.context.demand(demand)

    def follow(self, *demands: LogDemand) -> None:
        """Follow other logs."""
        context = self._screen.console_app.context
        if demands == self.demands:
            return
        before, self.demands = self.demands, demands
        for demand in demands:
            context.demand(demand)
        for demand in before:
            context.release(demand)
        self._read.clear()
        self._origins.clear()
        self._containers.clear()
        self._looks = 0
        self.view.clear()
        self.poll()

    def follow_replica(self, row: ReplicaRow) -> None:
        """Follow one replica; of one that came up again after a crash the run before."""
        key = row.replica.key
        self.follow(LogDemand(key.service, key.replica, row.replica.restarts > 0 and tells_before(row.replica)))

    def last_lines(self, count: int) -> list[str]:
        """The newest lines of the view, cleaned."""
        buffer = self.view.buffer
        return [
            clean_line(buffer.line(number), 400)
            for number in range(max(buffer.first, buffer.end - count), buffer.end)
        ]

    def describe(self) -> str:
        """``r-3 @ eu-west-1, the run before``."""
        if not self.demands:
            return "no log"
        first = self.demands[0]
        replica = clean_line(first.replica, 60) or "all replicas"
        where = clean_line(first.key.region, 40)
        if len(self.demands) > 1:
            where = f"{len(self.demands)} regions"
        run = ", the run before" if first.previous else ""
        return f"{replica} @ {where}{run}"

    def release(self) -> None:
        """Nobody looks any more."""
        for demand in self.demands:
            self._screen.console_app.context.release(demand)
        self.demands = ()

    # -- lines -------------------------------------------------------------------------------
    def poll(self) -> None:
        """Take what came since the last time."""
        if not self.demands:
            return
        context = self._screen.console_app.context
        self.view.set_empty(self._nothing_yet())
        several = len(self.demands) > 1
        tails = [(demand, context.log_tail(demand)) for demand in self.demands]
        if several and self._looks < HOLD_LOOKS:
            self._looks += 1
            if not all(tail.since(0)[1] for _, tail in tails) and self._looks < HOLD_LOOKS:
                self.rule.set(f"logs: {self.describe()}", self.view.facts)
                return
            self._looks = HOLD_LOOKS
        found: list[tuple[LogDemand, LogLine]] = []
        lost = 0
        for demand, tail in tails:
            seq, known = self._read.get(demand, (0, 0))
            first, lines, dropped = tail.since(seq)
            found += [(demand, line) for line in lines]
            lost += max(0, dropped - known)
            self._read[demand] = (first + len(lines), dropped)
        if several:
            found.sort(key=lambda each: each[1].at)
        if found or lost:
            self._containers.update(line.container for _, line in found if line.container and not line.mark)
            origins = [self._origin(demand, line) for demand, line in found]
            texts = [
                line_text(line, self._lead(demand, line), origin)
                for (demand, line), origin in zip(found, origins, strict=True)
            ]
            self.view.append(texts, lost, origins)
        self.rule.set(f"logs: {self.describe()}", self.view.facts)

    def _nothing_yet(self) -> str:
        """What is said as long as there are no lines: whose, or which regions cannot tell any."""
        unseen = unseen_regions(self._screen.console_app.context.frame.regions)
        regions = list(dict.fromkeys(each.key.region for each in self.demands))
        if regions and all(each in unseen for each in regions):
            words = f"its logs come when {'it is' if len(regions) == 1 else 'they are'} back"
            return f"no contact with {', '.join(clean_line(each, 40) for each in regions)}: {words}"
        return f"no lines yet of {self.describe()}"

    def _origin(self, demand: LogDemand, line: LogLine) -> Origin:
        """The one that all lines of this kind share."""
        several, named = len(self.demands) > 1, len(self._containers) > 1
        key = (demand.key.region, line.replica, line.container, line.mark, several, named)
        origin = self._origins.get(key)
        if origin is None:
            lead = len(self._lead(demand, line))
            origin = Origin(demand.key.region, line.replica, line.container, lead, line.mark)
            self._origins[key] = origin
        return origin

    def _lead(self, demand: LogDemand, line: LogLine) -> str:
        """What stands before a line: the time, and where it comes from as far as that is mixed."""
        place = short_region(demand.key.region) if len(self.demands) > 1 else ""
        if line.mark:
            return " ".join(filter(None, (fmt.clock(line.at), place))) + " "
        who = "" if demand.replica else pod_label(demand.key.name, line.replica)
        who = "/".join(filter(None, (who, line.container if len(self._containers) > 1 else "")))
        return " ".join(filter(None, (fmt.clock(line.at), place, who))) + " "

    # -- commands ----------------------------------------------------------------------------
    def deeds(self) -> Mapping[str, Callable[[str], None]]:
        """By the part of a command's id after the dot."""
        return {
            "search": self._search,
            "filter": self._filter,
            "previous": lambda _: self._previous(),
            "replica": self._replica,
        }

    def _search(self, text: str) -> None:
        if text:
            self._found(text)
        else:
            self._screen.ask("/", self._found, hint="find in the log; n and N go on")

    def _found(self, text: str) -> None:
        if not self.view.search(text) and text:
            self._screen.console_app.say(f"{text!r} is not in these lines", "warn")

    def _filter(self, text: str) -> None:
        if text:
            self._set_filter(text)
        else:
            self._ask_filter("")

    def _ask_filter(self, value: str) -> None:
        self._screen.ask("&", self._set_filter, value=value, hint=_FILTER_HINT)

    def _set_filter(self, text: str) -> None:
        """Show what a filter lets through; one with a mistake in it stays in the prompt."""
        try:
            query = parse(text)
        except QueryError as error:
            self._ask_filter(text)
            self._screen.prompt.show_error(error.message)
            return
        self.view.set_filter(query if text.strip() else None)
        self.rule.set(None, self.view.facts)

    def _previous(self) -> None:
        self.follow(*(LogDemand(each.key, each.replica, not each.previous) for each in self.demands))

    def _replica(self, name: str) -> None:
        detail = self._screen.detail()
        if not self.demands or detail is None:
            return
        choices = _choices([service.key for service in detail.services], detail.replicas)
        if name:
            wanted = [each for each in choices if each[0].replica == name]
            if not wanted:
                self._screen.console_app.say(f"no replica {name!r} here", "warn")
                return
            self.follow(*wanted[0])
            return
        now = tuple(LogDemand(each.key, each.replica) for each in self.demands)
        index = next((at for at, each in enumerate(choices) if set(each) == set(now)), -1)
        if choices:
            self.follow(*choices[(index + 1) % len(choices)])


def _choices(keys: Sequence[ServiceKey], replicas: Sequence[ReplicaRow]) -> list[tuple[LogDemand, ...]]:
    """All regions together, each region, each replica."""
    every = [tuple(LogDemand(key) for key in keys)] if len(keys) > 1 else []
    one = [(LogDemand(key),) for key in keys]
    return every + one + [(LogDemand(each.replica.key.service, each.replica.key.replica),) for each in replicas]


def line_text(line: LogLine, lead: str, origin: Origin) -> str:
    """A line as the view shows it. Cleaned when drawn."""
    return f"{lead}{line.text if origin.mark else plain_log(line.text)}"
