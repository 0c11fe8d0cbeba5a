"""Forty services in our table, changed from outside: one command a line out of a FIFO.

``tick N``: 20 visible cells get other values; ``same``: a new frame with the same values; ``fill N``: other N
rows, with the time until their frame is out; ``waste``: what a careless widget would do. After each command,
when its frame has been drawn, the counts go to a file.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from textual.app import ComposeResult

from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.table import Cell, Key, LiveTable, Row
from tests.bench.programs.fed import FedApp

ROWS = 40
CHANGED = 20
TITLES = ("SERVICE", "WHERE", "FAMILY", "READY", "RPS", "P50", "P95", "P99", "ERR", "BURN", "SINCE", "REASON")
WIDTHS = (16, 13, 7, 6, 6, 6, 6, 6, 5, 5, 5, 12)
COLUMNS = tuple(Column(title.lower(), title, width) for title, width in zip(TITLES, WIDTHS, strict=True))


def p95_ms(number: int, tick: int) -> int:
    """The p95 of service ``number`` after a tick: its digits (nearly always all three) change each time."""
    return 100 + (tick * 137 + number * 59) % 900 if number < CHANGED and tick else 100


def row(number: int, tick: int) -> Row:
    """Service ``number`` as a tick leaves it; a slow one is drawn as a warning, so colours change too."""
    start = (f"service-{number:02d}", "us-east-1", "ours", "2/2", "120", "12ms")
    slow = p95_ms(number, tick)
    return Row((*start, Cell(f"{slow}ms", "warn" if slow > 700 else ""), "340ms", "0.0%", "0.1", "", ""), state="ok")


class TableApp(FedApp):
    """The table alone."""

    def __init__(self, fifo: Path, report: Path) -> None:
        super().__init__(fifo, report)
        self._tick = 0
        self.frames = 0
        self.fills_us: list[int] = []
        self._filling_since: float | None = None

    def compose(self) -> ComposeResult:
        yield LiveTable(COLUMNS, gap=1)

    def begin(self) -> None:
        """The rows before the first tick."""
        self._show()

    def obey(self, command: str) -> None:
        """See the module's text."""
        word, _, number = command.partition(" ")
        if word == "tick":
            self._tick = int(number)
        if word == "waste":
            self.redraw(forget=True)
        if word == "fill":
            self._fill(int(number))
        else:
            self._show()

    def counts(self) -> dict[str, Any]:
        """Frames, and how long each filling took."""
        return {"frames": self.frames, "fills_us": self.fills_us}

    def _show(self) -> None:
        rows: dict[Key, Row] = {number: row(number, self._tick) for number in range(ROWS)}
        self.query_one(LiveTable).set_rows(range(ROWS), rows)

    def _fill(self, count: int) -> None:
        rows: dict[Key, Row] = {f"{count}-{number}": row(number, 1) for number in range(count)}
        self._filling_since = time.perf_counter()
        self.query_one(LiveTable).set_rows(list(rows), rows)

    def post_display_hook(self) -> None:
        """Textual's hook after each frame."""
        self.frames += 1
        if self._filling_since is not None:
            self.fills_us.append(round((time.perf_counter() - self._filling_since) * 1e6))
            self._filling_since = None


if __name__ == "__main__":
    TableApp(Path(sys.argv[1]), Path(sys.argv[2])).run(mouse=False)
