"""A picture that goes on: what it was a moment ago, moved by whole columns, and only what differs made anew.

While nobody moves its cursor a chart differs from the one before by a column at its end, and by what came in late.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from nimify_tui.ui.widgets.plot import Grid, Marker
from nimify_tui.ui.widgets.scale import Point, Scale, Span, spans, usual_gap

#: When a point is.
_at = itemgetter(0)
#: Columns begin as exactly as this where one picture goes on from another, in columns.
_EXACT = 1e-6


class _Asked(NamedTuple):
    points: Sequence[Point]
    start_at: float
    step_s: float
    gap_s: float


class MovingSpans:
    """The spans of one series (scale.spans). They are the same as if there had been none before."""

    def __init__(self) -> None:
        self._asked = _Asked((), 0.0, 0.0, 0.0)
        self._spans: list[Span] = []

    def of(
        self, points: Sequence[Point], start_at: float, step_s: float, count: int, gap_s: float | None = None
    ) -> list[Span]:
        """Lowest and highest value for each of ``count`` columns; ``gap_s`` None: by the points' usual distance."""
        asked = _Asked(points, start_at, step_s, gap_s or usual_gap(points, step_s))
        found = self._gone_on(asked, count)
        if found is None:
            found = spans(points, start_at, step_s, count, asked.gap_s)
        self._asked, self._spans = asked, found
        return found

    def _gone_on(self, asked: _Asked, count: int) -> list[Span] | None:
        points, start_at, step_s, gap_s = asked
        old = self._asked
        if not points or not old.points or (step_s, gap_s, count) != (old.step_s, old.gap_s, len(self._spans)):
            return None
        columns = (start_at - old.start_at) / step_s
        moved = round(columns)
        if abs(columns - moved) > _EXACT or not 0 <= moved < count:
            return None
        gone = bisect_left(old.points, points[0][0], key=_at)
        common = _common(points, old.points[gone:])
        if not common:
            return None
        # The column of the last common point is not whole, nor is that of the first where others went.
        begin = math.floor((points[0][0] - start_at) / step_s) + 1 if gone else 0
        end = min(count - moved, math.floor((points[common - 1][0] - start_at) / step_s))
        begin = max(0, begin)
        if begin >= end:
            return None
        first = bisect_left(points, start_at + begin * step_s, key=_at)
        last = max(0, bisect_left(points, start_at + end * step_s, key=_at) - 1)  # what comes next is joined to it
        return [
            *(spans(points[:first], start_at, step_s, begin, gap_s) if begin else ()),
            *self._spans[moved + begin : moved + end],
            *spans(points[last:], start_at + end * step_s, step_s, count - end, gap_s),
        ]


def _common(some: Sequence[Point], others: Sequence[Point]) -> int:
    """How many both begin with."""
    most = min(len(some), len(others))
    if some[:most] == others[:most]:
        return most
    pairs = zip(some, others, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), most)


class Curve(NamedTuple):
    """One series as it is drawn: its spans, a style name, and the form of its line."""

    spans: Sequence[Span]
    style: str
    form: int


class _Picture(NamedTuple):
    """What a grid shows. ``phase``: the number of its first dot column since the beginning of time."""

    curves: Sequence[Curve]
    scale: Scale
    phase: int


class MovingGrid:
    """The grid of some curves, the last one on top. It is the same as if there had been none before."""

    def __init__(self) -> None:
        self._grid = Grid(0, 0, "ascii")
        self._picture = _Picture((), Scale("linear", 0.0, 1.0), 0)
        #: Columns of cells that were drawn.
        self.drawn = 0

    def of(
        self, curves: Sequence[Curve], scale: Scale, phase: int, width: int, height: int, marker: Marker
    ) -> Grid:
        """The grid of these curves; it is drawn upon again at the next call."""
        picture, grid = _Picture(curves, scale, phase), self._grid
        like = (grid.width, grid.height, grid.marker) == (width, height, marker)
        parts = self._differences(picture) if like else None
        if parts is None:
            grid, parts = Grid(width, height, marker), [(0, width)]
        else:
            grid.move((phase - self._picture.phase) // grid.across)
        for first, end in parts:
            grid.clear(first, end)
            self.drawn += end - first
            for curve in curves:
                grid.curve(curve.spans, scale, curve.style, curve.form, phase, (first, end))
        self._grid, self._picture = grid, picture
        return grid

    def _differences(self, now: _Picture) -> list[tuple[int, int]] | None:
        """The cells, from one up to another, that differ once all is moved; None where most do."""
        before, across, width = self._picture, self._grid.across, self._grid.width
        cells, odd = divmod(now.phase - before.phase, across)
        looks = [(each.style, each.form) for each in now.curves]
        if odd or not 0 <= cells < width or now.scale != before.scale:
            return None
        if looks != [(each.style, each.form) for each in before.curves]:
            return None
        dots = cells * across
        differ = set(chain.from_iterable(
            _unlike(new.spans, old.spans, dots) for new, old in zip(now.curves, before.curves, strict=True)
        ))  # fmt: skip
        if cells:  # what it begins with now went on from the left
            differ.add(0)
        # A column is drawn by what it is, and by those beside it.
        found = sorted({dot // across for each in differ for dot in (each - 1, each, each + 1)} & set(range(width)))
        return _parts(found) if 2 * len(found) <= width else None


def _unlike(new: Sequence[Span], old: Sequence[Span], dots: int) -> Iterator[int]:
    """The places of what differs from what was so many dots further right, and of what is new."""
    for place, (one, other) in enumerate(zip(new, old[dots:], strict=False)):
        if one is not other and one != other:
            yield place
    yield from range(max(0, len(old) - dots), len(new))


def _parts(cells: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours together, from one up to another."""
    parts: list[tuple[int, int]] = []
    for each in cells:
        if parts and parts[-1][1] == each:
            parts[-1] = (parts[-1][0], each + 1)
        else:
            parts.append((each, each + 1))
    return parts
