"""A chart over the whole screen, an hour of three percentiles with a spike and a gap, moved by a FIFO.

``at N``: N seconds later. After each command, when its frame has been drawn, the counts go to a file: commands,
repaints, and the CPU that each took from the data to the frame.
"""

from __future__ import annotations

import math
import random
import sys
import time
from pathlib import Path
from typing import Any

from textual.app import ComposeResult

from nimify_tui.ui.widgets.chart import ChartData, ChartSeries, LatencyChart
from nimify_tui.ui.widgets.timeaxis import ChartMark
from tests.bench.programs.fed import FedApp

START_AT, WINDOW_S, STEP_S = 1_800_000_000.0, 3600.0, 4.0


def points(base: float, until: float) -> list[tuple[float, float | None]]:
    """A curve up to a time: the same values for the same times."""
    found: list[tuple[float, float | None]] = []
    for number in range(math.floor((until - WINDOW_S) / STEP_S), math.floor(until / STEP_S)):
        at = number * STEP_S
        value = base * (1.0 + 0.3 * random.Random(f"{base}{number}").random()) * (8.0 if number % 211 == 0 else 1.0)
        found.append((at, None if number % 300 < 20 else value))
    return found


class ChartApp(FedApp):
    """The chart alone."""

    def __init__(self, fifo: Path, report: Path) -> None:
        super().__init__(fifo, report)
        self.repaints = 0
        self.took_us: list[int] = []
        self._since: float | None = None

    def compose(self) -> ComposeResult:
        yield LatencyChart(id="chart")

    def begin(self) -> None:
        """The first picture."""
        self._show(0.0)

    def obey(self, command: str) -> None:
        """See the module's text."""
        self._show(float(command.removeprefix("at ")))

    def counts(self) -> dict[str, Any]:
        """Repaints, and what each took."""
        return {"repaints": self.repaints, "took_us": self.took_us}

    def _show(self, later_s: float) -> None:
        now = START_AT + later_s
        series = tuple(
            ChartSeries(name, name, points(base, now)) for name, base in (("p50", 0.2), ("p95", 0.5), ("p99", 0.9))
        )
        data = ChartData(series, now, slo=1.0, marks=(ChartMark(START_AT - 900, "r12"),))
        begun = time.thread_time()
        if self.query_one(LatencyChart).set_data(data):
            self.repaints += 1
            self._since = begun

    def post_display_hook(self) -> None:
        """Textual's hook after each frame."""
        if self._since is not None:
            self.took_us.append(round((time.thread_time() - self._since) * 1e6))
            self._since = None


if __name__ == "__main__":
    ChartApp(Path(sys.argv[1]), Path(sys.argv[2])).run(mouse=False)
