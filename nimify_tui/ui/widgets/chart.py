"""LatencyChart: several series over one window, readable without colour, moving by whole columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nimify_tui.ui.widgets.canvas import LineCanvas
from nimify_tui.ui.widgets.cells import Line, Run, clean_spans, fit, inert, line_width
from nimify_tui.ui.widgets.moving import Curve, MovingGrid, MovingSpans
from nimify_tui.ui.widgets.plot import DOTS, Grid, Marker, sample
from nimify_tui.ui.widgets.scale import (
    Formatter,
    Point,
    Scale,
    Span,
    column_seconds,
    pick_scale,
    seconds_text,
    spans,
    sparkline,
    usual_gap,
    window_end,
)
from nimify_tui.ui.widgets.timeaxis import ChartMark, TimeAxis, foot_text

_LEFT = 6
_RIGHT = 11
#: Below this height the compact form is drawn.
COMPACT_LINES = 4


@dataclass(frozen=True, slots=True)
class ChartSeries:
    """One curve: its name (``p95``), style name, points in the order of time (None: not measured).

    ``form`` is the line's (plot.FORMS); points no further apart than ``gap_s`` belong together (None: three times their
    usual distance).
    """

    name: str
    style: str
    points: Sequence[Point]
    form: int = 0
    gap_s: float | None = None


@dataclass(frozen=True, slots=True)
class ChartData:
    """What a chart shows.

    series: the last one is drawn on top; now_at: unix seconds; window_s: how far back; slo: a line at this
    value, None draws none and says ``slo_text``; format: a value with its unit; facts: a text for the
    compact form's second line (source, age); empty: why there is nothing; cursor_at: a time that is pointed at;
    since: times at the foot are told from this moment on.
    """

    series: tuple[ChartSeries, ...]
    now_at: float
    window_s: float = 3600.0
    slo: float | None = None
    slo_text: str = "no SLO"
    marks: tuple[ChartMark, ...] = ()
    scale: Literal["auto", "linear", "log"] = "auto"
    format: Formatter = seconds_text
    facts: str = ""
    empty: str = "no measurements yet"
    cursor_at: float | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a chart shows in one column: from when to when, and for each series the lowest and highest value."""

    begin_at: float
    end_at: float
    spans: tuple[Span, ...]


class LatencyChart(LineCanvas):
    """See the module's text. Below 4 lines of height it draws sparklines instead of axes."""

    def __init__(
        self,
        *,
        marker: Marker | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own parameter name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._marker = marker
        self._data: ChartData | None = None
        self._picture: list[Line] = []
        self._axis: TimeAxis | None = None
        self._columns: list[list[Span]] = []
        self._moving: list[MovingSpans] = []
        self._grid = MovingGrid()

    def set_data(self, data: ChartData | None) -> int:
        """Show ``data``; returns how many lines were repainted (0 until another column completed)."""
        self._data = data
        self._compose_picture()
        return self.redraw()

    def sized(self) -> None:
        """Compute the picture for the new size."""
        self._compose_picture()

    def draw(self, y: int) -> Line:
        """A line of the picture."""
        return self._picture[y] if y < len(self._picture) else ()

    @property
    def column_s(self) -> int:
        """Seconds of one column at this width."""
        window_s = self._data.window_s if self._data is not None else 3600.0
        return column_seconds(window_s, self._plot_width())

    def axis_for(self, now_at: float, window_s: float, since: float | None = None) -> TimeAxis:
        """The columns of a window that ends at ``now_at``, at this width."""
        width = self._plot_width()
        step = float(column_seconds(window_s, width))
        start_at = window_end(now_at, step) - width * step
        return TimeAxis(start_at, step, width, _LEFT + 2, self.cols, since)

    @property
    def dots(self) -> int:
        """Dot columns of a column."""
        return DOTS[self.marker][0]

    @property
    def marker(self) -> Marker:
        """The rung of the ladder that this terminal can draw."""
        return self._marker or _marker(self.glyphs.chart)

    def reading(self, at: float) -> Reading | None:
        """What is shown at a time; None where nothing is drawn."""
        axis = self._axis
        if axis is None:
            return None
        x, across = axis.column(at), self.dots
        begin_at = axis.start_at + x * axis.step
        shown = tuple(_together(one[x * across : (x + 1) * across]) for one in self._columns)
        return Reading(begin_at, begin_at + axis.step, shown)

    def legend(self, form: int) -> str:
        """A piece of a line of this form."""
        return sample(form, self.marker)

    def _plot_width(self) -> int:
        return max(4, self.cols - _LEFT - 2 - _RIGHT)

    def _compose_picture(self) -> None:
        data = self._data
        self._axis, self._columns = None, []
        if not self.cols or data is None:
            self._picture = []
        elif not any(value is not None for one in data.series for _, value in one.points):
            self._picture = [((inert(f"  {data.empty}", self.cols), "dim"),)]
        elif self.rows_high < COMPACT_LINES:
            self._picture = _compact(data, self.cols, self.glyphs.bars, self.glyphs.event)
        else:
            self._picture = self._full(data)

    # -- the full picture --------------------------------------------------------------------
    def _full(self, data: ChartData) -> list[Line]:
        axis = self._axis = self.axis_for(data.now_at, data.window_s, data.since)
        width, height, across = axis.width, self.rows_high - 1, self.dots
        dot_s = axis.step / across
        self._moving += [MovingSpans() for _ in data.series[len(self._moving) :]]
        del self._moving[len(data.series) :]
        columns = self._columns = [
            moving.of(one.points, axis.start_at, dot_s, width * across, one.gap_s)
            for moving, one in zip(self._moving, data.series, strict=True)
        ]
        scale = pick_scale(columns, data.slo, data.scale)
        curves = [Curve(its, one.style, one.form) for its, one in zip(columns, data.series, strict=True)]
        grid = self._grid.of(curves, scale, round(axis.start_at / dot_s), width, height, self.marker)
        slo_row = self._slo_row(data, scale, height)
        labels = self._right_labels(data, columns, scale, height, slo_row)
        ticks = _ticks(scale, height, data.format, slo_row, data.slo)
        cursor = -1 if data.cursor_at is None else axis.column(data.cursor_at)
        lines = [self._plot_line(grid, y, ticks.get(y, ""), labels.get(y), y == slo_row, cursor) for y in range(height)]
        lines.append(axis.line(data.marks, self.glyphs, "log" if scale.kind == "log" else ""))
        return lines

    def _slo_row(self, data: ChartData, scale: Scale, height: int) -> int:
        if data.slo is None or not scale.low <= data.slo <= scale.high:
            return -1
        return height - 1 - scale.place(data.slo, height)

    def _plot_line(self, grid: Grid, y: int, tick: str, label: Run | None, slo: bool, cursor: int) -> Line:
        glyphs = self.glyphs
        axis = glyphs.axis_cross if slo else glyphs.tick if tick else glyphs.axis
        runs: list[Run] = [(fit(tick, _LEFT, "right"), "dim"), (f" {axis}", "rule")]
        pointed = (cursor, glyphs.vertical) if 0 <= cursor < grid.width else None
        runs += grid.line(y, glyphs.slo if slo else "", pointed)
        if label is not None:
            runs += [(" ", ""), (fit(label[0], _RIGHT - 1), label[1])]
        return tuple(runs)

    def _right_labels(
        self, data: ChartData, columns: list[list[Span]], scale: Scale, height: int, slo_row: int
    ) -> dict[int, Run]:
        """``p99 3.2s`` beside the end of each curve, the SLO beside its line; each on its own row."""
        #: (value, row, label): the order of values is kept when labels have to make room for each other.
        wanted: list[tuple[float, int, Run]] = []
        if data.slo is None:
            wanted.append((float("inf"), 0, (inert(data.slo_text, _RIGHT - 1), "dim")))
        elif slo_row >= 0:
            wanted.append((data.slo, slo_row, (f"SLO {data.format(data.slo)}", "dim")))
        else:
            above = data.slo > scale.high
            text = "SLO above" if above else "SLO below"
            wanted.append((data.slo, 0 if above else height - 1, (text, "dim")))
        for one, its_columns in zip(reversed(data.series), reversed(columns), strict=True):
            last = next((span[1] for span in reversed(its_columns) if span is not None), None)
            value = _last_value(one)
            row = height - 1 if last is None else height - 1 - scale.place(last, height)
            name = inert(one.name, 5)
            text = f"{name} {self.glyphs.dash if value is None else data.format(value)}"
            wanted.append((scale.low if last is None else last, row, (text, one.style)))
        if len(wanted) > height and data.slo is None:
            del wanted[0]  # that there is no SLO matters less than a curve's value
        wanted.sort(key=lambda item: -item[0])
        del wanted[height:]
        pinned = next((i for i, (value, _, _) in enumerate(wanted) if value == data.slo), 0)
        rows = _apart([row for _, row, _ in wanted], pinned, height)
        return {row: run for row, (_, _, run) in zip(rows, wanted, strict=True)}


def _apart(rows: Sequence[int], pinned: int, height: int) -> list[int]:
    """Rows in the same order, none twice, each near to where it wanted to be; ``pinned`` moves last of all."""
    placed = list(rows)
    for index in range(pinned - 1, -1, -1):
        placed[index] = min(placed[index], placed[index + 1] - 1)
    for index in range(len(placed)):
        least = placed[index - 1] + 1 if index else 0
        placed[index] = max(placed[index], least)
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = min(placed[index], height - (len(placed) - index))
    return placed


def _marker(name: str) -> Marker:
    return "braille" if name == "braille" else "blocks" if name == "blocks" else "ascii"


def _together(some: Sequence[Span]) -> Span:
    """Lowest and highest of several columns."""
    known = [each for each in some if each is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def _last_value(one: ChartSeries) -> float | None:
    return next((value for _, value in reversed(one.points) if value is not None), None)


def _ticks(scale: Scale, height: int, text: Formatter, slo_row: int, slo: float | None) -> dict[int, str]:
    """Axis labels by line: top, bottom, one or two between, and the SLO; no two the same."""
    rows = sorted({0, height - 1, *((height - 1) * part // 3 for part in (1, 2) if height >= 7)})
    if slo_row >= 0:
        rows = [row for row in rows if abs(row - slo_row) > 1 or row in (0, height - 1)]
    ticks: dict[int, str] = {}
    for row in rows:
        label = text(scale.value(height - 1 - row, height))
        if label not in ticks.values():
            ticks[row] = label
    if slo_row >= 0 and slo is not None:
        ticks[slo_row] = text(slo)
    return ticks


def _compact(data: ChartData, width: int, bars: str, event: str) -> list[Line]:
    """Sparklines side by side (the last series first), then one line of facts."""
    shown = tuple(reversed(data.series))[: max(1, width // 36)]
    room = max(4, width // len(shown) - 18)
    step = float(column_seconds(data.window_s, room))
    end_at = window_end(data.now_at, step)
    columns = [spans(one.points, end_at - room * step, step, room, usual_gap(one.points, step)) for one in shown]
    high = max((span[1] for its in columns for span in its if span is not None), default=1.0)
    runs: list[Run] = []
    for one, its in zip(shown, columns, strict=True):
        value = _last_value(one)
        runs.append(("  " + fit(one.name, 4), "bold"))
        runs.append((sparkline([None if s is None else s[1] for s in its], bars, high), one.style))
        runs.append((fit(f"  {'–' if value is None else data.format(value)}", 9), "bold"))
    length = room * step
    window = f"{length / 60:.0f} min" if length < 5400 else f"{length / 3600:.1f} h"
    window = window if length < 172800 else f"{length / 86400:.0f} d"
    slo = f"SLO {data.format(data.slo)}" if data.slo is not None else data.slo_text
    facts = [f"  {window} to {foot_text(end_at, length)}", slo]
    if data.facts:
        facts.append(data.facts)
    if data.marks:
        mark = max(data.marks, key=lambda m: m.at)
        facts.append(f"{event if mark.kind != 'incident' else '!'} {mark.label} at {foot_text(mark.at, length)}")
    line = clean_spans(runs, width)
    assert line_width(line) <= width
    return [line, clean_spans([(" · ".join(facts), "dim")], width)]
