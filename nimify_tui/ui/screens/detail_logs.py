"""The logs tab: which log is wanted, its lines into the view, search and filter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import LogDemand, LogLine
from nimify_tui.domain.names import ServiceKey
from nimify_tui.domain.services import ReplicaState
from nimify_tui.fleet.frames import ReplicaRow, ServiceDetail, ServiceRow
from nimify_tui.ui import format as fmt
from nimify_tui.ui.present.detail import crashed_replica, unseen_regions
from nimify_tui.ui.present.logs import plain_log
from nimify_tui.ui.widgets.logview import LogView
from nimify_tui.ui.widgets.rule import Rule

if TYPE_CHECKING:
    from nimify_tui.ui.screens.detail import DetailScreen


class LogPane:
    """Owns the demand for one log at a time, and gives it back."""

    def __init__(self, screen: DetailScreen) -> None:
        self._screen = screen
        self.rule = Rule("logs", id="logs-rule")
        self.view = LogView(id="logs", empty="no lines yet")
        self.demand: LogDemand | None = None
        self._seq = 0
        self._dropped = 0

    # -- which log ---------------------------------------------------------------------------
    def choose(self, row: ServiceRow | None, detail: ServiceDetail | None) -> None:
        """The log that tells most: of a crashed replica, else of the worst region; once."""
        if self.demand is not None or row is None or not row.keys:
            return
        crashed = crashed_replica(detail) if detail is not None else None
        if crashed is not None:
            replica, previous = crashed
            key = replica.replica.key
            self.follow(LogDemand(key.service, key.replica, previous))
        elif detail is not None or not row.stale:
            self.follow(LogDemand(self._worst_key(row)))

    @staticmethod
    def _worst_key(row: ServiceRow) -> ServiceKey:
        return next((key for key in row.keys if key.region == row.reason_region), row.keys[0])

    def follow(self, demand: LogDemand) -> None:
        """Follow another log."""
        context = self._screen.console_app.context
        if demand == self.demand:
            return
        before, self.demand = self.demand, demand
        context.demand(demand)
        if before is not None:
            context.release(before)
        self._seq = self._dropped = 0
        self.view.clear()
        self.poll()

    def follow_replica(self, row: ReplicaRow) -> None:
        """Follow one replica; of one that came up again after a crash the run before."""
        replica = row.replica
        again = replica.restarts > 0 and replica.state in (ReplicaState.STARTING, ReplicaState.NOT_READY)
        self.follow(LogDemand(replica.key.service, replica.key.replica, again))

    def last_lines(self, count: int) -> list[str]:
        """The newest lines of the view, cleaned."""
        buffer = self.view.buffer
        return [
            clean_line(buffer.line(number), 400)
            for number in range(max(buffer.first, buffer.end - count), buffer.end)
        ]

    def describe(self) -> str:
        """``r-3 @ eu-west-1, the run before``."""
        if self.demand is None:
            return "no log"
        replica = clean_line(self.demand.replica, 60) or "all replicas"
        run = ", the run before" if self.demand.previous else ""
        return f"{replica} @ {clean_line(self.demand.key.region, 40)}{run}"

    def release(self) -> None:
        """Nobody looks any more."""
        if self.demand is not None:
            self._screen.console_app.context.release(self.demand)
            self.demand = None

    # -- lines -------------------------------------------------------------------------------
    def poll(self) -> None:
        """Take what came since the last time."""
        if self.demand is None:
            return
        context, region = self._screen.console_app.context, self.demand.key.region
        lost = region in unseen_regions(context.frame.regions)
        self.view.set_empty(
            f"no contact with {clean_line(region, 40)}: its logs come when it is back"
            if lost
            else f"no lines yet of {self.describe()}"
        )
        first, lines, dropped = context.log_tail(self.demand).since(self._seq)
        if lines or dropped != self._dropped:
            named = not self.demand.replica
            self.view.append((line_text(each, named) for each in lines), max(0, dropped - self._dropped))
            self._seq, self._dropped = first + len(lines), dropped
        self.rule.set(f"logs: {self.describe()}", self.view.facts)

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
            self._screen.ask("&", self._set_filter, hint="only lines that match; empty: all")

    def _set_filter(self, text: str) -> None:
        try:
            self.view.set_filter(re.compile(text, re.IGNORECASE) if text else "")
        except re.error as error:
            self._screen.console_app.say(f"not a regular expression ({error}); looked for as plain text", "warn")
            self.view.set_filter(text)
        self.rule.set(None, self.view.facts)

    def _previous(self) -> None:
        if self.demand is not None:
            self.follow(LogDemand(self.demand.key, self.demand.replica, not self.demand.previous))

    def _replica(self, name: str) -> None:
        detail = self._screen.detail()
        if self.demand is None or detail is None:
            return
        choices = [LogDemand(service.key) for service in detail.services]
        choices += [LogDemand(each.replica.key.service, each.replica.key.replica) for each in detail.replicas]
        if name:
            wanted = [each for each in choices if each.replica == name]
            if not wanted:
                self._screen.console_app.say(f"no replica {name!r} here", "warn")
                return
            self.follow(wanted[0])
            return
        now = LogDemand(self.demand.key, self.demand.replica)
        index = choices.index(now) if now in choices else -1
        if choices:
            self.follow(choices[(index + 1) % len(choices)])


def line_text(line: LogLine, named: bool) -> str:
    """A line as the view shows it: time, who (when several are mixed), text. Cleaned when drawn."""
    who = f"{line.replica} " if named else ""
    return f"{fmt.clock(line.at)} {who}{plain_log(line.text)}"
