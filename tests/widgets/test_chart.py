"""LatencyChart: spikes survive, gaps stay gaps, the picture moves by whole columns, all without colour."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nimify_tui.ui.widgets.chart import ChartData, ChartSeries, LatencyChart
from nimify_tui.ui.widgets.plot import FORMS, Grid, Marker, sample
from nimify_tui.ui.widgets.scale import (
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
)  # fmt: skip
from nimify_tui.ui.widgets.timeaxis import ChartMark, foot_text, label_times
from tests.tui import check_golden, run_app, screen_lines
from tests.widgets.support import HostApp

NOW = 1_800_000_120.0


def series(base: float, *, spike_at: float = 0.0, hole: tuple[float, float] = (0, 0)) -> list[Point]:
    rng = random.Random(base)
    points: list[Point] = []
    for number in range(240):
        at = NOW - 3600 + number * 15
        value = None if hole[0] <= at <= hole[1] else base * (1 + 0.2 * rng.random())
        if spike_at and abs(at - spike_at) < 8:
            value = base * 8
        points.append((at, value))
    return points


def data(**changes: Any) -> ChartData:
    hole = (NOW - 1900, NOW - 1600)
    made = ChartData(
        (
            ChartSeries("p50", "p50", series(0.2, hole=hole)),
            ChartSeries("p95", "p95", series(0.5, hole=hole)),
            ChartSeries("p99", "p99", series(0.9, hole=hole, spike_at=NOW - 700)),
        ),
        NOW,
        slo=1.0,
        marks=(ChartMark(NOW - 900, "r12"),),
        facts="age 2 s",
    )
    return dataclasses.replace(made, **changes)


def drawn(what: ChartData | None, size: tuple[int, int] = (80, 9), **terminal: Any) -> list[str]:
    async def script(app: Any, pilot: Any) -> list[str]:
        app.query_one(LatencyChart).set_data(what)
        await pilot.pause()
        return screen_lines(app)

    return run_app(lambda: HostApp(lambda: [LatencyChart()], **terminal), script, size=size)


@pytest.mark.parametrize(
    ("size", "terminal", "name"),
    [
        ((80, 9), {}, "chart-braille"),
        ((80, 9), {"utf8": False}, "chart-ascii"),
        ((80, 3), {}, "chart-compact"),
        ((80, 3), {"utf8": False}, "chart-compact-ascii"),
    ],
)
def test_golden(size: tuple[int, int], terminal: dict[str, Any], name: str) -> None:
    check_golden(name, "\n".join(drawn(data(), size, **terminal)))


def test_what_the_chart_says_in_words() -> None:
    text = "\n".join(drawn(data()))
    for word in ("p50", "p95", "p99", "SLO 1.0s", "▲r12", "08:02"):
        assert word in text, word
    assert "no SLO" in "\n".join(drawn(data(slo=None)))
    assert "SLO above" in "\n".join(drawn(data(slo=90.0, scale="linear")))
    assert "no measurements yet" in "\n".join(drawn(data(series=())))
    assert drawn(None) == [""] * 9


def test_a_spike_of_one_scrape_survives_down_sampling() -> None:
    points = [(float(at), 0.1) for at in range(0, 86400, 15)]
    points[3000] = (points[3000][0], 9.0)
    columns = spans(points, 0.0, 900.0, 96, 100.0)
    assert max(span[1] for span in columns if span is not None) == 9.0
    averaged = [sum(value for _, value in points[i : i + 60]) / 60 for i in range(0, 5760, 60)]
    assert max(averaged) < 1.0, "what averaging would have made of it"


def test_a_gap_is_a_gap_and_the_time_between_two_scrapes_is_none() -> None:
    points: list[Point] = [(0.0, 1.0), (15.0, 2.0), (30.0, None), (45.0, 1.0), (60.0, 1.0), (300.0, 1.0)]
    columns = spans(points, 0.0, 5.0, 64, usual_gap(points, 5.0))
    known = [index for index, span in enumerate(columns) if span is not None]
    assert known == [0, 1, 2, 3, 9, 10, 11, 12, 60]
    middle = columns[1]
    assert middle is not None
    assert 1.0 < middle[0] < 2.0


def test_the_picture_moves_only_when_a_column_completes() -> None:
    async def script(app: Any, pilot: Any) -> None:
        chart = app.query_one(LatencyChart)
        still = data(series=(ChartSeries("p95", "p95", [(NOW - 3600 + i * 15, 0.5) for i in range(400)]),))
        chart.set_data(still)
        await pilot.pause()
        step = chart.column_s
        assert step >= 4
        moved = [chart.set_data(dataclasses.replace(still, now_at=NOW + s)) for s in range(1, step)]
        boundary = window_end(NOW, step) + step - NOW
        assert sum(1 for count in moved if count) == (1 if boundary < step else 0)

    run_app(lambda: HostApp(lambda: [LatencyChart()]), script, size=(80, 9))


def test_only_changed_rows_are_repainted() -> None:
    async def script(app: Any, pilot: Any) -> None:
        chart = app.query_one(LatencyChart)
        chart.set_data(data())
        await pilot.pause()
        assert chart.set_data(data()) == 0
        assert chart.set_data(data(marks=())) == 1

    run_app(lambda: HostApp(lambda: [LatencyChart()]), script, size=(80, 9))


def test_scale_is_logarithmic_only_when_values_lie_far_apart() -> None:
    near = [[(0.1, 0.2)], [(0.4, 0.9)]]
    far = [[(0.002, 0.003)], [(0.9, 3.0)]]
    assert pick_scale(near, 1.0).kind == "linear"
    assert pick_scale(far, 1.0).kind == "log"
    assert pick_scale(near, 50.0).high < 2, "a distant SLO does not flatten the curves"
    assert pick_scale([], None).high > 0
    calm = pick_scale([[(0.0, 0.0)]], 0.001)
    assert calm.place(0.001, 20) > 10 > calm.place(0.0, 20), "no error, and the objective is a line of its own"


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.none() | st.floats(allow_nan=True, allow_infinity=True)), max_size=60),
    st.integers(20, 90),
    st.integers(1, 12),
    st.none() | st.floats(0.0001, 100),
)
@example([(0.0, 5e-324)], 20, 4, None)
@example([(0.0, 1e-312), (60.0, 3e-300)], 20, 4, 1e-9)
@settings(max_examples=60, deadline=None)
def test_any_series_gives_a_picture_of_the_right_size(
    points: list[tuple[float, float | None]], width: int, height: int, slo: float | None
) -> None:
    columns = spans(sorted(points, key=lambda p: p[0]), 0.0, 50.0, width * 2, 100.0)
    scale = pick_scale([columns], slo)
    for marker in ("braille", "blocks", "ascii"):
        grid = Grid(width, height, marker)
        grid.curve(columns[: width * grid.across], scale, "p99")
        lines = [grid.text(y) for y in range(height)]
        assert all(len(line) == width for line in lines)
    assert 0 <= scale.place(1e9, 10) <= 9


measured = st.lists(
    st.tuples(st.integers(0, 399).map(float), st.none() | st.floats(0.001, 1000.0)), max_size=80
).map(lambda points: sorted(points, key=lambda point: point[0]))


@given(measured, st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_the_least_and_the_greatest_of_each_column_survive_and_a_gap_stays_one(points: list[Point], step: int) -> None:
    """Seen failing with the last value of a column in the place of the least, and with gaps of any length joined."""
    gap_s = 20.0
    columns = spans(points, 0.0, float(step), 400 // step + 1, gap_s)
    for index, span in enumerate(columns):
        begin, end = index * step, (index + 1) * step
        inside = [value for at, value in points if begin <= at < end and value is not None]
        if inside:
            assert span == (min(inside), max(inside))
        elif span is not None:  # between two that belong together, and between their values
            before = next(point for point in reversed(points) if point[0] < begin)
            after = next(point for point in points if point[0] >= end)
            assert before[1] is not None
            assert after[1] is not None
            assert after[0] - before[0] <= gap_s
            assert min(before[1], after[1]) <= span[0] <= span[1] <= max(before[1], after[1])


@given(
    st.lists(st.none() | st.tuples(st.integers(0, 15), st.integers(0, 15)).map(sorted).map(tuple), max_size=60),
    st.integers(0, len(FORMS) - 1),
    st.integers(0, 20),
    st.sampled_from(["braille", "blocks", "ascii"]),
)
@settings(max_examples=150, deadline=None)
def test_a_form_leaves_out_level_pieces_alone(
    columns: list[tuple[int, int] | None], form: int, phase: int, marker: Marker
) -> None:
    """Its spikes, its ends and its gaps are those of the whole line. Seen failing with every piece left out."""
    grid = Grid(60, 8, marker)
    rows, scale = 8 * grid.down, Scale("linear", 0.0, 15.0)
    told: list[Span] = [None if each is None else (float(each[0]), float(each[1])) for each in columns]
    told = told[: 60 * grid.across]
    grid.curve(told, scale, "p95", form, phase)

    def dots(column: int) -> set[int]:
        x, dx = divmod(column, grid.across)
        made = set()
        for up in range(rows):
            probe = Grid(60, 8, marker)
            probe._ink([(column, up, up)], "")
            y = next(y for y in range(8) if probe.bits[y][x])
            if grid.bits[y][x] & probe.bits[y][x]:
                made.add(up)
        assert 0 <= dx < grid.across
        return made

    for column, span in enumerate(told):
        found = dots(column)
        if span is None:
            assert not found
            continue
        low, high = scale.place(span[0], rows), scale.place(span[1], rows)
        alone = column == 0 or told[column - 1] is None or column + 1 == len(told) or told[column + 1] is None
        if low != high or alone or form == 0 or found:
            assert {low, high} <= found


def test_lines_are_told_apart_without_colour_and_the_cursor_reads_what_is_there() -> None:
    """What is marked is one cell wide: seen failing where a blank beside the cursor was marked with it."""
    for marker in ("braille", "blocks", "ascii"):
        assert len({sample(form, marker) for form in range(len(FORMS))}) == len(FORMS)

    async def script(app: Any, pilot: Any) -> tuple[Any, ...]:
        chart = app.query_one(LatencyChart)
        at = NOW - 700
        chart.set_data(data(cursor_at=at, marks=(ChartMark(NOW - 1500, "Latency", "incident"), *data().marks)))
        await pilot.pause()
        hole = chart.reading(NOW - 1750)
        marked = [text for y in range(chart.rows_high) for text, style in chart.draw(y) if "reverse" in style.split()]
        return chart.reading(at), hole, screen_lines(app), marked

    reading, hole, lines, marked = run_app(lambda: HostApp(lambda: [LatencyChart()]), script, size=(80, 9))
    assert reading.begin_at <= NOW - 700 < reading.end_at
    assert reading.spans[2][1] == pytest.approx(7.2), "the spike, not a mean of its column"
    assert hole.spans == (None, None, None)
    assert marked, "the cursor is on a curve"
    assert all(len(text) == 1 for text in marked)
    assert any("│" in line[8:] for line in lines[:-1])
    assert "!Latency" in lines[-1]
    assert "▲r12" in lines[-1]


def test_the_foot_has_days_for_a_month_and_the_time_since_a_moment() -> None:
    assert foot_text(NOW, 3600) == "08:02"
    assert foot_text(NOW, 30 * 86400) == "Jan 15"
    assert [foot_text(NOW + s, 3600, NOW) for s in (0, 45, 900, 5400, 172800)] == ["+0", "+45s", "+15m", "+1.5h", "+2d"]
    assert label_times(NOW, NOW + 3600, 5, NOW) == [NOW + s for s in (0, 900, 1800, 2700)]
    assert len(label_times(NOW - 30 * 86400, NOW, 5)) == 3


def test_small_texts() -> None:
    assert [seconds_text(v) for v in (0, 0.0005, 0.0093, 0.0421, 0.64, 1.94, 12.3, 340)] == [
        "0", "0.5ms", "9.3ms", "42ms", "640ms", "1.9s", "12s", "340s",
    ]  # fmt: skip
    assert column_seconds(3600, 61) == 60
    assert column_seconds(60, 61) == 4
    assert sparkline([0, 1, None, 4, 8], " ▁▂▃▄▅▆▇█") == "▁▁ ▄█"
    assert sparkline([], " ▁▂▃▄▅▆▇█") == ""
    assert sparkline([0.0, 0.0], " ._-:=+*#") == ".."
