"""A chart over the whole screen, an hour of three percentiles with a spike and a gap, moved by a FIFO.

``at N``: N seconds later. After each command, when its frame has been drawn, the counts go to a file: commands,
repaints, and the CPU that each took from the data to the frame.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import sys
import time
from pathlib import Path

from textual.app import ComposeResult

from nimify_tui.ui.frugal import FrugalApp
from nimify_tui.ui.terminal import probe
from nimify_tui.ui.theme import style_path
from nimify_tui.ui.widgets.chart import ChartData, ChartSeries, LatencyChart
from nimify_tui.ui.widgets.timeaxis import ChartMark

START_AT, WINDOW_S, STEP_S = 1_800_000_000.0, 3600.0, 4.0


def points(base: float, until: float) -> list[tuple[float, float | None]]:
    """A curve up to a time: the same values for the same times."""
    found: list[tuple[float, float | None]] = []
    for number in range(math.floor((until - WINDOW_S) / STEP_S), math.floor(until / STEP_S)):
        at = number * STEP_S
        value = base * (1.0 + 0.3 * random.Random(f"{base}{number}").random()) * (8.0 if number % 211 == 0 else 1.0)
        found.append((at, None if number % 300 < 20 else value))
    return found


class ChartApp(FrugalApp):
    """The chart alone."""

    CSS_PATH = [style_path("base.tcss"), style_path("widgets.tcss")]

    def __init__(self, fifo: Path, report: Path) -> None:
        super().__init__(probe())
        self._fifo, self._report = fifo, report
        self._pending = b""
        self.applied = self.repaints = 0
        self.took_us: list[int] = []
        self._since: float | None = None

    def compose(self) -> ComposeResult:
        yield LatencyChart(id="chart")

    def on_mount(self) -> None:
        super().on_mount()
        self._show(0.0)
        handle = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK)  # also writing: never an end of file
        asyncio.get_running_loop().add_reader(handle, self._read, handle)
        self.call_after_refresh(self._tell)

    def _read(self, handle: int) -> None:
        *lines, self._pending = (self._pending + os.read(handle, 65536)).split(b"\n")
        for line in lines:
            self._show(float(line.decode().removeprefix("at ")))
            self.applied += 1
        self.call_after_refresh(self._tell)

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

    def _tell(self) -> None:
        new = self._report.with_suffix(".new")
        counts = {"applied": self.applied, "repaints": self.repaints, "took_us": self.took_us}
        new.write_text(json.dumps(counts), encoding="utf-8")
        new.rename(self._report)


if __name__ == "__main__":
    ChartApp(Path(sys.argv[1]), Path(sys.argv[2])).run(mouse=False)
