"""The arithmetic of a chart: time columns, value scales, down-sampling that keeps spikes. No drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

#: ``(unix seconds, value or None where nothing was measured)``, in the order of time.
Point = tuple[float, float | None]
#: Lowest and highest value in a column, None where nothing is known.
Span = tuple[float, float] | None

#: No latency, rate or size is this high; such a value counts as not measured.
_ABSURD = 1e15
#: What is smaller is drawn as zero: below it the arithmetic of a scale has no room.
_TINY = 1e-15
#: So many distances of neighbouring points (to twice as many) tell what is usual.
_DISTANCES = 50
_NICE_COLUMN_S = (
    4, 5, 6, 8, 10, 12, 15, 20, 30, 40, 60, 90, 120, 180, 240, 300, 360, 420, 480, 600, 720, 900, 1080, 1200, 1440,
    1800, 2400, 3600, 4800, 5400, 7200, 9600, 10800, 14400, 18000, 21600, 28800, 36000, 43200, 57600, 86400,
)  # fmt: skip


def seconds_text(value: float) -> str:
    """A duration in seconds with its unit, three digits at most: ``640ms``, ``1.9s``, ``12s``."""
    if value >= 9.95:
        return f"{value:.0f}s"
    if value >= 0.9995:
        return f"{value:.1f}s"
    if value >= 0.00995:
        return f"{value * 1000:.0f}ms"
    if value >= 0.0000995:
        return f"{value * 1000:.1f}ms"
    return "0" if value <= 0 else f"{value * 1e6:.0f}us"


def column_seconds(window_s: float, columns: int) -> int:
    """Seconds of one column (at least 4, a round number) so that ``columns`` cover ``window_s``."""
    for seconds in _NICE_COLUMN_S:
        if seconds * columns >= window_s:
            return seconds
    return max(3600, math.ceil(window_s / max(1, columns) / 3600) * 3600)


def window_end(now_at: float, column_s: float) -> float:
    """The end of the last complete column: the picture moves only when another one completes."""
    return math.floor(now_at / column_s) * column_s


def spans(points: Sequence[Point], start_at: float, step_s: float, count: int, gap_s: float) -> list[Span]:
    """Lowest and highest value for each of ``count`` columns from ``start_at``.

    Neighbouring points no further apart than ``gap_s``, with nothing missing between them, are joined by
    a straight line, so columns between two scrapes are not gaps; all else is a gap and stays one.
    """
    low = [math.inf] * count
    high = [-math.inf] * count

    # Written out: this is most of what a chart costs, and it stands between a key press and its echo. Most points are
    # in the column of the one before.
    floor, least, most = math.floor, -_ABSURD, _ABSURD
    known, at_before, value_before, first, until_at = False, 0.0, 0.0, 0, -math.inf
    for at, value in points:
        if value is None or not least < value < most:  # also NaN and infinity
            known = False
            continue
        if at < until_at:
            if value < low[first]:
                low[first] = value
            if value > high[first]:
                high[first] = value
            known, at_before, value_before = True, at, value
            continue
        column = floor((at - start_at) / step_s)
        if 0 <= column < count:
            until_at = start_at + (column + 1) * step_s
            if value < low[column]:
                low[column] = value
            if value > high[column]:
                high[column] = value
        if known and column > first + 1 and 0 < at - at_before <= gap_s:
            for between in range(max(first + 1, 0), min(column, count)):
                share = (start_at + (between + 0.5) * step_s - at_before) / (at - at_before)
                middle = value_before + (value - value_before) * min(1.0, max(0.0, share))
                low[between], high[between] = min(low[between], middle), max(high[between], middle)
        known, at_before, value_before, first = True, at, value, column
    return [(a, b) if a <= b else None for a, b in zip(low, high, strict=True)]


def usual_gap(points: Sequence[Point], step_s: float) -> float:
    """How far apart two points may be and still belong together: three usual distances, by some of all."""
    some = range(1, len(points), max(1, len(points) // _DISTANCES))
    distances = sorted([points[at][0] - points[at - 1][0] for at in some])
    usual = distances[len(distances) // 2] if distances else step_s
    return max(3.0 * usual, 1.5 * step_s)


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to heights: ``place(value, rows)`` is 0 at the bottom, ``rows`` - 1 at the top."""

    kind: Literal["linear", "log"]
    low: float
    high: float

    def place(self, value: float, rows: int) -> int:
        """The row (0 at the bottom) of ``value`` among ``rows``, clamped."""
        return self.placer(rows)(value)

    def placer(self, rows: int) -> Callable[[float], int]:
        """:meth:`place` for many values among so many ``rows``."""
        low, high, most = self.low, self.high, rows - 1
        if self.kind == "log":
            log, bottom = math.log, math.log(low)
            each = most / (math.log(high) - bottom)
            return lambda value: 0 if value <= low else most if value >= high else round((log(value) - bottom) * each)
        each = most / (high - low)
        return lambda value: 0 if value <= low else most if value >= high else round((value - low) * each)

    def value(self, row: int, rows: int) -> float:
        """The value at ``row``."""
        share = row / max(1, rows - 1)
        if self.kind == "log":
            return math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        return self.low + share * (self.high - self.low)


def nice_up(value: float) -> float:
    """The next of 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    for step in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10):
        if value <= step * power * 1.000001:
            return step * power
    return 10 * power


def pick_scale(
    series: Sequence[Sequence[Span]], slo: float | None, kind: Literal["auto", "linear", "log"] = "auto"
) -> Scale:
    """A scale that keeps all series readable: logarithmic when they lie more than a factor 20 apart.

    The SLO is inside the picture unless it is more than twice the highest value (linear only); where no value is above
    zero it gives the scale.
    """
    known = [span for its in series for span in its if span is not None]
    top = max([high for _, high in known], default=slo or 1.0)
    lows = [low for low, _ in known]
    if min(lows, default=0.0) <= _TINY:
        lows = [low for low in lows if low > _TINY]
    bottom = min(lows, default=top / 10 if top > _TINY else 0.1)
    chosen = kind if kind != "auto" else "log" if bottom > _TINY and top / bottom > 20 else "linear"
    if chosen == "log" and top > _TINY:
        if slo is not None and slo > _TINY:
            top, bottom = max(top, min(slo, top * 4)), min(bottom, max(slo, bottom / 4))
        return Scale("log", bottom / 1.1, max(top * 1.1, bottom * 2))
    if slo is not None and (slo <= 2 * top or top <= _TINY):
        top = max(top, slo * 1.1)
    return Scale("linear", 0.0, nice_up(top if top > _TINY else 0.0))


def sparkline(values: Sequence[float | None], bars: str, high: float | None = None) -> str:
    """One character for each value out of nine ``bars``; a blank where nothing is known.

    ``high``: the value of the full bar (the highest one when None); zero is the lowest bar that shows.
    """
    top = high if high is not None else max((v for v in values if v is not None), default=0.0)
    return "".join(
        bars[0] if v is None else bars[1] if top <= 0 else bars[min(8, max(1, math.ceil(v / top * 8)))]
        for v in values
    )


Formatter = Callable[[float], str]
