"""A chart over the whole of 120x40 while time goes on and nobody moves its cursor: how often, how much, how long."""

from __future__ import annotations

import statistics

from tests.bench.bytes_per_tick import QUIET_S, FedRun, started
from tests.bench.harness import Result, at_most
from tests.support import private_home, wait_for

BAR_MS, BAR_BYTES, LEAST_S = 8.0, 14_000, 4.0
#: Looks at it, and so many seconds between two of them.
LOOKS, APART_S = 40, 10
NAME = "a chart of 120x40 is painted again"


class ChartRun(FedRun):
    """The chart program. On a slow machine a picture comes later than it is quiet for the first time."""

    def send(self, command: str) -> int:
        """See :class:`FedRun`."""
        before, painted = self.tty.total_bytes, self.counts()["repaints"]
        sent = super().send(command)
        if not sent and self.counts()["repaints"] > painted:
            wait_for(lambda: self.tty.total_bytes > before, 10, why="the picture", detail=self.tty.text)
            self.tty.wait_quiet(QUIET_S)
        return self.tty.total_bytes - before


def run() -> list[Result]:
    """The three budgets. A second whose picture never came is no measurement."""
    sizes: list[int] = []
    with private_home() as home, started(home, "tests.bench.programs.chart", (), "p99") as (tty, report, pipe):
        program = ChartRun(tty, report, pipe)
        before = program.counts()["repaints"]
        sizes += [program.send(f"at {APART_S * look}") for look in range(1, LOOKS + 1)]
        counts = program.counts()
    repaints, sent = counts["repaints"] - before, [each for each in sizes if each]
    problems = [] if len(sent) == repaints > 0 else [f"{repaints} repaints and {len(sent)} times that bytes came"]
    took_ms = [each / 1000 for each in counts["took_us"][-repaints:]] or [0.0]
    seconds = LOOKS * APART_S
    detail = {"repaints": repaints, "seconds": seconds, "max_ms": round(max(took_ms), 1)}
    return [
        at_most(NAME, round(statistics.median(took_ms), 1), "ms of CPU", BAR_MS, detail, problems),
        at_most("what that sends", max(sent, default=0), "B", BAR_BYTES, {"mean": round(statistics.mean(sent or [0]))}),
        at_most("repaints in 4 s while nobody moves its cursor", round(repaints * LEAST_S / seconds, 2), "", 1.0),
    ]
