"""A small console for pty tests: ``python -m tests.widgets.program ROWS``.

Keys: ``t`` changes 20 visible cells, ``n`` sets the same rows again, ``r`` forces a whole repaint, ``o`` asks for
a layout, ``m`` opens a dialog, ``b`` blocks the loop's writer by drawing a flood, ``q`` quits.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import Any

from textual.widget import Widget

from nimify_tui.ui.terminal import probe
from nimify_tui.ui.widgets.dialog import Dialog
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import Cell, Column, LiveTable, Row
from nimify_tui.ui.widgets.textline import StatusLine
from tests.widgets.support import HostApp

COLUMNS = (
    Column("service", "SERVICE", 14, 20, flex=1, tree=True, shorten="middle"),
    Column("where", "WHERE", 11, priority=1),
    Column("ready", "READY", 6, align="right"),
    Column("rps", "RPS", 6, align="right", priority=4),
    Column("p50", "P50", 6, align="right", priority=5),
    Column("p95", "P95", 6, align="right"),
    Column("reason", "REASON", 12, flex=4),
)


def row(number: int, value: int) -> Row:
    cells = (f"svc-{number}", "3 regions", "5/6", str(value), "640ms", Cell(f"{value}ms", "warn"), "OOM at 16Gi")
    return Row(cells, state=("ok", "degraded", "down", "unknown")[number % 4])


class Program(HostApp):
    BINDINGS = [(key, f"do('{key}')", key) for key in ("t", "n", "r", "o", "m", "b", "q", "s")]

    def __init__(self, rows: int) -> None:
        def make() -> Sequence[Widget]:
            return [StatusLine(["ready"]), Rule("services"), LiveTable(COLUMNS)]

        super().__init__(make, probe())
        self._count = rows
        self._ticks = 0

    def on_mount(self) -> None:
        self.table = self.query_one(LiveTable)
        self.rows = {number: row(number, number % 90) for number in range(self._count)}
        self.order = tuple(self.rows)
        self.table.set_rows(self.order, self.rows)
        self.table.focus()
        if not self.is_headless:  # a tick that no key has to reach
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.action_do, "t")

    def action_do(self, key: str) -> None:
        if key == "t":
            self._ticks += 1
            changed = {n: self.rows[n]._replace(cells=self._changed(n)) for n in range(20)}
            self.rows = self.rows | changed
            self.table.set_rows(self.order, self.rows)
        elif key == "n":
            self.table.set_rows(self.order, dict(self.rows))
        elif key == "r":
            self.screen.refresh()
        elif key == "o":
            self.screen.refresh(layout=True)
        elif key == "m":
            self.push_screen(Dialog("plan", [["Restart svc-1"], ["second line"]], ask="y"))
        elif key == "b":
            self.set_interval(0.01, self._flood)
        elif key == "s":
            self.sample_line()
            self.query_one(StatusLine).set_spans(["ready ", self.line.text])
        else:
            self.exit()

    def _changed(self, number: int) -> tuple[Any, ...]:
        cells = list(self.rows[number].cells)
        cells[5] = Cell(f"{(self._ticks * 7 + number) % 90}ms", "warn")
        return tuple(cells)

    def _flood(self) -> None:
        self._ticks += 1
        rows = {number: row(number, (number * self._ticks * 7919) % 9973) for number in range(40)}
        self.table.set_rows(tuple(rows), rows)


if __name__ == "__main__":
    app = Program(int(sys.argv[1]))
    app.run(mouse=False)
    sys.exit(app.return_code)
