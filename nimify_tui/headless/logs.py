"""`nimify-tui logs`: the lines of a service, of all its regions at once, merged by their time."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence

from nimify_tui.base.clock import rfc3339
from nimify_tui.base.text import clean_line
from nimify_tui.domain.demands import LogDemand, LogLine
from nimify_tui.fleet.logtail import LogTail
from nimify_tui.headless.output import say, to_json_line
from nimify_tui.headless.targets import find_everywhere, silent_regions, wait_for_regions
from nimify_tui.session import Needs, Session, open_session

#: Lines are looked for this often, seconds: what came meanwhile is put in order.
POLL_S = 0.2
#: (region, line), as it is printed.
_Line = tuple[str, LogLine]


def logs(options: argparse.Namespace) -> int:
    """Log lines of a service as text (cleaned) or as JSON objects, from every region that has it.

    A region that does not answer is told on stderr, ends nothing, and makes the exit code 2.
    """
    with open_session(options, Needs()) as session:
        wait_for_regions(session, options)
        keys = find_everywhere(session, options)
        demands = [LogDemand(key, options.replica, options.previous) for key in keys]
        for demand in demands:
            session.demand(demand)
        try:
            return _Merged(session, demands, options).run()
        finally:
            for demand in demands:
                session.release(demand)


class _Merged:
    """The logs of several regions as one."""

    def __init__(self, session: Session, demands: Sequence[LogDemand], options: argparse.Namespace) -> None:
        self._session, self._options = session, options
        self._tails: list[tuple[str, LogTail]] = [
            (each.key.region, session.log_tail(each)) for each in demands
        ]
        self._read = [0 for _ in demands]
        self._silent: dict[str, str] = {}

    def run(self) -> int:
        """The newest ``--tail`` lines once reading has come to rest; then, with ``--follow``, what comes."""
        options = self._options
        self._tell_silent()
        missed = bool(self._silent)
        found, dropped = self._come_to_rest()
        if not found:
            say("no log lines" + (" of a run before" if options.previous else ""))
        if dropped or len(found) > options.tail:
            say(f"{dropped + max(0, len(found) - options.tail)} older lines are left out")
        self._print(found[-options.tail :] if options.tail else [])
        while options.follow:
            self._session.pause(POLL_S)
            self._tell_silent()
            self._print(self._new())
        self._tell_silent()
        return 2 if missed or self._silent else 0

    def _come_to_rest(self) -> tuple[list[_Line], int]:
        """(all lines so far in the order of their time, how many of the oldest were not kept)."""
        quiet_since = begin = time.monotonic()
        count = -1
        while (
            time.monotonic() - begin < self._options.timeout and time.monotonic() - quiet_since < 3 * POLL_S
        ):
            self._session.pause(POLL_S)
            now = sum(len(tail.since(0)[1]) for _, tail in self._tails)
            if now != count:
                count, quiet_since = now, time.monotonic()
        dropped = sum(tail.since(0)[2] for _, tail in self._tails)
        for number, (_, tail) in enumerate(self._tails):
            self._read[number] = max(self._read[number], tail.since(0)[0])
        return self._new(), dropped

    def _new(self) -> list[_Line]:
        """What came since the last call, in the order of its time; what is no line of a log is told at once."""
        found: list[_Line] = []
        for number, (region, tail) in enumerate(self._tails):
            first, more, _ = tail.since(self._read[number])
            if first > self._read[number]:
                say(
                    f"{region}: {first - self._read[number]} lines came faster than they could be read and are left out"
                )
            self._read[number] = first + len(more)
            for line in more:
                if line.mark:
                    say(f"{region}: {line.text}")
                else:
                    found.append((region, line))
        found.sort(key=lambda each: each[1].at)
        return found

    def _tell_silent(self) -> None:
        """Which regions stopped answering, and which do again."""
        now = silent_regions(self._session, self._options)
        for region, why in now.items():
            if region not in self._silent:
                say(f"{region}: {why}; its lines are missing until it is back")
        for region in self._silent:
            if region not in now:
                say(f"{region}: answers again")
        self._silent = now

    def _print(self, lines: Iterable[_Line]) -> None:
        several = len(self._tails) > 1
        for region, line in lines:
            if self._options.output in ("json", "yaml"):
                record = {
                    "at": rfc3339(line.at), "region": region, "replica": line.replica, "container": line.container,
                    "run": line.run, "text": line.text,
                }  # fmt: skip
                sys.stdout.write(to_json_line(record) + "\n")
            else:
                where = f"{clean_line(region, 40)}  " if several else ""
                sys.stdout.write(f"{where}{clean_line(line.replica, 80)}  {clean_line(line.text, 4096)}\n")
        sys.stdout.flush()
