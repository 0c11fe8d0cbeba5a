"""LatencyChart: spikes survive, gaps stay gaps, the picture moves by whole columns, all without colour."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.ui.widgets.chart import ChartData, ChartMark, ChartSeries, LatencyChart
from nimify_tui.ui.widgets.plot import Grid
from nimify_tui.ui.widgets.scale import (
    Point,
    column_seconds,
    pick_scale,
    seconds_text,
    spans,
    sparkline,
    usual_gap,
    window_end,
)  # fmt: skip
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


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.none() | st.floats(allow_nan=True, allow_infinity=True)), max_size=60),
    st.integers(20, 90),
    st.integers(1, 12),
    st.none() | st.floats(0.0001, 100),
)
@settings(max_examples=60, deadline=None)
def test_any_series_gives_a_picture_of_the_right_size(
    points: list[tuple[float, float | None]], width: int, height: int, slo: float | None
) -> None:
    columns = spans(sorted(points, key=lambda p: p[0]), 0.0, 50.0, width * 2, 100.0)
    scale = pick_scale([columns], slo)
    for marker in ("braille", "blocks", "ascii"):
        grid = Grid(width, height, marker)
        grid.curve(columns[: width * grid.across], scale, "p99")
        lines = ["".join(grid.char(x, y) for x in range(width)) for y in range(height)]
        assert all(len(line) == width for line in lines)
    assert 0 <= scale.place(1e9, 10) <= 9


def test_small_texts() -> None:
    assert [seconds_text(v) for v in (0, 0.0005, 0.0093, 0.0421, 0.64, 1.94, 12.3, 340)] == [
        "0", "0.5ms", "9.3ms", "42ms", "640ms", "1.9s", "12s", "340s",
    ]  # fmt: skip
    assert column_seconds(3600, 61) == 60
    assert column_seconds(60, 61) == 4
    assert sparkline([0, 1, None, 4, 8], " ▁▂▃▄▅▆▇█") == "▁▁ ▄█"
    assert sparkline([], " ▁▂▃▄▅▆▇█") == ""
    assert sparkline([0.0, 0.0], " ._-:=+*#") == ".."
