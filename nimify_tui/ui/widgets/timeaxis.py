"""The foot of a chart: round times, or the time since a moment, and marks of what happened."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from nimify_tui.ui.glyphs import Glyphs
from nimify_tui.ui.widgets.cells import Line, Run, inert

_DAY_S = 86400
#: Windows longer than this (seconds) have days at their foot instead of times.
_DAYS_FROM_S = 2.5 * _DAY_S
_LABEL_S = (
    60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, _DAY_S, 2 * _DAY_S, 5 * _DAY_S, 10 * _DAY_S,
)  # fmt: skip
#: Cells that a label needs, with the space around it.
_LABEL_CELLS = 11
_MARK_CHARS = 8


Kind = Literal["deploy", "incident", "change", "unusual"]
_RANK: dict[Kind, int] = {"deploy": 0, "incident": 1, "change": 2, "unusual": 3}


@dataclass(frozen=True, slots=True)
class ChartMark:
    """Something that happened at ``at`` (unix seconds), e.g. label ``r12``.

    Where there is no room for all, deploys come before incidents, those before other changes, and what is only unlike
    the rest comes last.
    """

    at: float
    label: str
    kind: Kind = "deploy"


def mark_glyph(kind: str, glyphs: Glyphs) -> str:
    """What stands before a mark's label."""
    return {"incident": "!", "unusual": "?"}.get(kind, glyphs.event)


def clock(at: float) -> str:
    """``18:42``, UTC."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%H:%M")


def foot_text(at: float, window_s: float, since: float | None = None) -> str:
    """A time at the foot of a window so long: ``18:42``, ``Nov 28``; ``+15m`` from ``since`` on."""
    if since is not None:
        return _since(at - since)
    if window_s <= _DAYS_FROM_S:
        return clock(at)
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%b %d")


def _since(seconds: float) -> str:
    for unit, letter in ((_DAY_S, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"+{seconds / unit:.{0 if seconds >= 10 * unit else 1}f}".removesuffix(".0") + letter
    return f"+{seconds:.0f}s" if seconds >= 1 else "+0"


def label_times(start_at: float, end_at: float, count: int, since: float | None = None) -> list[float]:
    """Round times (whole minutes) between start and end, about ``count``; rounded from ``since`` on."""
    base, window_s = since or 0.0, end_at - start_at
    least = _DAY_S if since is None and window_s > _DAYS_FROM_S else 0
    for step in _LABEL_S:
        if step >= least and window_s / step <= count:
            first = (int(start_at - base) // step + (0 if since is not None else 1)) * step
            return [base + at for at in range(first, int(end_at - base), step) if base + at >= start_at]
    return []


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """``width`` columns of ``step`` seconds from ``start_at``, drawn from cell ``left`` on; ``room`` is the line's."""

    start_at: float
    step: float
    width: int
    left: int
    room: int
    since: float | None = None

    @property
    def end_at(self) -> float:
        """The end of the last column."""
        return self.start_at + self.width * self.step

    def column(self, at: float) -> int:
        """The column of a time, the nearest one for times outside."""
        return min(self.width - 1, max(0, int((at - self.start_at) / self.step)))

    def line(self, marks: Iterable[ChartMark], glyphs: Glyphs, lead: str = "") -> Line:
        """Marks first (of a kind the newest before older ones), then the end, then round times where there is room."""
        cells, styles = [" "] * self.room, ["dim"] * self.room
        cells[2 : 2 + len(lead)] = lead

        def write(at: float, text: str, shift: int, style: str) -> None:
            x = min(max(0, self.left + self.column(at) - shift), len(cells) - len(text))
            if x >= 0 and all(cell == " " for cell in cells[max(0, x - 1) : x + len(text) + 1]):
                cells[x : x + len(text)] = text
                styles[x : x + len(text)] = [style] * len(text)

        shown = [each for each in marks if self.start_at <= each.at < self.end_at + self.step]
        for mark in sorted(shown, key=lambda m: (_RANK[m.kind], -m.at)):
            style = "bad" if mark.kind == "incident" else "dim"
            label = _one_cell_each(inert(mark.label, 40)[:_MARK_CHARS])
            write(mark.at, mark_glyph(mark.kind, glyphs) + label, 0, style)
        window_s = self.end_at - self.start_at
        end = foot_text(self.end_at, window_s, self.since)
        write(self.end_at, end, 2, "dim")
        count = max(2, self.width // _LABEL_CELLS)
        for at in label_times(self.start_at, self.end_at, count, self.since):
            if (text := foot_text(at, window_s, self.since)) != end:
                write(at, text, 2, "dim")
        return _runs(cells, styles)


def _one_cell_each(label: str) -> str:
    """A label whose characters are one cell each, so that it can be written into cells."""
    return "".join(char if char.isascii() else "?" for char in label)


def _runs(cells: list[str], styles: list[str]) -> Line:
    text, begin = "".join(cells), 0
    runs: list[Run] = []
    for style, same in groupby(styles):
        end = begin + len(list(same))
        runs.append((text[begin:end], style))
        begin = end
    return tuple(runs)
