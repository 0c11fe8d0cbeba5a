"""A picture that goes on is the same as one that is drawn anew, and most of it is not."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.ui.widgets.moving import Curve, MovingGrid, MovingSpans
from nimify_tui.ui.widgets.plot import FORMS, Grid, Marker
from nimify_tui.ui.widgets.scale import Point, Scale, Span, spans, usual_gap

STEP_S, COUNT = 4.0, 60

#: What happens to the points of a series between two looks at it.
happenings = st.lists(
    st.tuples(
        st.integers(0, 5),  # columns later
        st.integers(0, 12),  # new points
        st.integers(0, 8),  # points that are gone
        st.sampled_from(["", "", "", "last", "middle", "gap", "step", "all"]),
    ),
    min_size=1,
    max_size=8,
)


def series_over(seed: int, told: list[tuple[int, int, int, str]]) -> list[tuple[float, list[Point], float]]:
    """(start, points, step) at each look."""
    rng = random.Random(seed)
    now, points, start, step = 0.0, list[Point](), 0.0, STEP_S
    looks = []
    for columns, new, gone, what in [(0, rng.randrange(0, 200), 0, ""), *told]:
        for _ in range(new):
            now += rng.choice((0.0, 1.0, 1.0, 1.0, 2.0, 3.5, 40.0))
            points.append((now, None if rng.random() < 0.1 else round(rng.random() ** 3 * 50, 2)))
        del points[:gone]
        start += columns * step
        place = len(points) // 2
        if what == "last" and points:
            points[-1] = (points[-1][0], 7.25)
        elif what == "middle" and points:
            points[place] = (points[place][0], 99.0)
        elif what == "gap" and points:
            points[place] = (points[place][0], None)
        elif what == "step":
            step = 8.0 if step == STEP_S else STEP_S
        elif what == "all":
            points = [(at, None if value is None else value + 1.0) for at, value in points]
        looks.append((start, list(points), step))
    return looks


@given(st.integers(0, 10**6), happenings, st.none() | st.sampled_from([2.0, 12.0]))
@settings(max_examples=300, deadline=None)
def test_spans_that_go_on_are_those_that_are_made_anew(
    seed: int, told: list[tuple[int, int, int, str]], gap_s: float | None
) -> None:
    """Seen failing with the column of the last common point taken as whole, with that of the first one when others
    are gone, and with the points of the other look compared without their values."""
    moving = MovingSpans()
    for start, points, step in series_over(seed, told):
        anew = spans(points, start, step, COUNT, gap_s or usual_gap(points, step))
        assert moving.of(points, start, step, COUNT, gap_s) == anew


spans_of = st.lists(st.none() | st.tuples(st.integers(0, 15), st.integers(0, 15)).map(sorted).map(tuple), min_size=60,
                    max_size=60)  # fmt: skip


@given(
    st.lists(spans_of, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 59), st.sampled_from(["", "late", "scale", "fewer"])),
             min_size=1, max_size=6),
    st.sampled_from(["braille", "blocks", "ascii"]),
    st.integers(0, len(FORMS) - 1),
    st.integers(0, 10**6),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_a_grid_that_goes_on_is_the_one_that_is_drawn_anew(
    columns: list[list[Span]], told: list[tuple[int, int, str]], marker: Marker, form: int, seed: int
) -> None:
    """Seen failing without its left edge, and with only what differs itself drawn again."""
    rng, scale, phase, moving = random.Random(seed), Scale("linear", 0.0, 15.0), 0, MovingGrid()
    across = Grid(1, 1, marker).across
    width = 60 // across
    for dots, place, what in [(0, 0, ""), *told]:
        phase += dots
        for its in columns:
            its[:] = [*its[dots:], *((float(rng.randrange(9)),) * 2 for _ in range(dots))]
        if what == "late":
            columns[0][place] = (3.0, 11.0) if rng.random() < 0.7 else None
        elif what == "scale":
            scale = Scale("linear", 0.0, 15.0 + place)
        elif what == "fewer" and len(columns) > 1:
            del columns[-1]
        curves = [Curve(list(its), f"style{at}", form) for at, its in enumerate(columns)]
        got = moving.of(curves, scale, phase, width, 8, marker)
        anew = Grid(width, 8, marker)
        for each in curves:
            anew.curve(each.spans, scale, each.style, each.form, phase)
        assert [got.line(y) for y in range(8)] == [anew.line(y) for y in range(8)]


@pytest.mark.parametrize("marker", ["braille", "blocks", "ascii"])
def test_what_only_goes_on_is_drawn_at_its_ends(marker: Marker) -> None:
    """Of 50 columns of cells five at most for each that goes on; nothing for a cursor that moves."""
    across, scale, moving = Grid(1, 1, marker).across, Scale("linear", 0.0, 15.0), MovingGrid()
    rng = random.Random(1)
    values: list[Span] = [(float(rng.randrange(15)),) * 2 for _ in range(100 * across)]
    counts = []
    for cells in (0, 1, 2, 3, 3):
        told = [Curve(values[cells * across : (cells + 50) * across], "p95", 0)]
        moving.of(told, scale, cells * across, 50, 8, marker)
        counts.append(moving.drawn)
    assert counts[0] == 50
    assert [later - before for before, later in pairwise(counts)][-1] == 0
    assert all(later - before <= 5 for before, later in pairwise(counts))
