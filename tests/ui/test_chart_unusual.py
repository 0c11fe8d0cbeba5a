"""What is unlike the rest of a month is marked on the chart, with what is usual and how often such marks stand."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import pytest

from nimify_tui.domain.demands import HistoryDemand
from nimify_tui.domain.history import ChartMetric, History, Step
from nimify_tui.fleet.unusual import unusual
from tests.tui import screen_lines
from tests.ui import frames
from tests.ui.test_chart_screen import DAY_S, SERVERS, Answered, pressing, shown
from tests.ui.world import run_console

#: When five times the usual traffic of that hour came.
ODD_AT = math.floor(frames.NOW / DAY_S - 15) * DAY_S + 3 * 3600


def traffic(demand: HistoryDemand) -> History:
    """Much by day, little by night, scattered; and one night that is as busy as a noon."""
    rng, steps = random.Random(demand.begin), []
    for at in range(demand.begin + demand.step_s, demand.end + 1, demand.step_s):
        level = 22.0 - 18.0 * math.cos(2 * math.pi * at / DAY_S)
        level *= rng.lognormvariate(0.0, 0.1) * (5.0 if 0 <= at - ODD_AT < demand.step_s else 1.0)
        steps.append(Step(at=float(at), total=level, errors=0.0))
    return History(
        at=frames.NOW, source=SERVERS[demand.key.region], step_s=float(demand.step_s), steps=tuple(steps)
    )  # fmt: skip


@pytest.mark.parametrize(("size", "far", "more"), [((80, 24), 3, 0), ((120, 40), 5, 0), ((200, 60), 9, 4)])
def test_a_busy_night_in_a_month_is_marked_and_read(size: tuple[int, int], far: int, more: int) -> None:
    text = shown("v", "7", "m", *["H"] * far, *["left"] * more, world=Answered(traffic), size=size)
    assert re.search(r"\?\d+(\.\d+)?/s", text), text
    words = re.search(r"unusual: ([\d.]+)/s, usually ([\d.]+)/s", text)
    assert words is not None, text
    assert float(words[1]) > 3 * float(words[2])
    if size[0] >= 120:
        said = r"\? unusual, against the same time of other weeks; marks 0\.\d+ % of [23]\d d"
        assert re.search(said, text), text


def test_it_is_looked_for_once_for_an_answer_and_not_in_a_short_range(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    real = unusual

    def counted(values: Any, *more: Any) -> Any:
        looks.append(len(values))
        return real(values, *more)

    monkeypatch.setattr("nimify_tui.ui.present.chart_unusual.unusual", counted)
    world = Answered(traffic)

    async def script(app: Any, pilot: Any) -> list[str]:
        await pressing(world, "v", "3", "m")(app, pilot)
        assert looks == []
        await pressing(world, "7")(app, pilot)
        found = len(looks)
        assert found >= 1
        for _ in range(5):
            world.clock.advance(0.25)
            app.drain()
            await pilot.pause()
        assert len(looks) == found
        return screen_lines(app)

    run_console(script, world, size=(120, 40))


def test_a_month_of_latency_without_anything_odd_has_no_mark() -> None:
    def even(demand: HistoryDemand) -> History:
        rng, steps = random.Random(3), []
        for at in range(demand.begin + demand.step_s, demand.end + 1, demand.step_s):
            fast = 90.0 * rng.lognormvariate(0.0, 0.02)
            steps.append(Step(at=float(at), counts=(fast, 98.0, 99.0, 100.0, 100.0), total=100.0, errors=0.0))
        bounds, step_s = (0.5, 1.0, 2.0, 4.0), float(demand.step_s)
        return History(at=frames.NOW, source="x", step_s=step_s, bounds=bounds, steps=tuple(steps))

    text = shown("v", "7", world=Answered(even), size=(120, 40))
    assert ChartMetric.LATENCY in text
    assert "unusual:" not in text
    assert "marks 0 % of" in text
