"""What this console measured itself, as a chart of several regions: which it is without, and what is only a bound."""

from __future__ import annotations

import pytest

from nimify_tui.domain.demands import DetailDemand
from nimify_tui.domain.history import ChartMetric
from nimify_tui.domain.names import ServiceKey
from nimify_tui.fleet.frames import Frame
from nimify_tui.ui.present.chart_words import remarks, signs_at, span_text
from nimify_tui.ui.present.charts import Compare, Drawn, Group, Scene, drawn
from nimify_tui.ui.widgets.timeaxis import TimeAxis
from tests.fleet.town import START_AT, Load, Town

EU, US = ServiceKey("eu-west-1", "embed"), ServiceKey("us-east-1", "embed")


def looked_at(town: Town, metric: ChartMetric) -> tuple[Scene, Drawn]:
    frame: Frame = town.fleet.frame
    group = Group("", "", "embed", (EU, US), START_AT, town.at + 60)
    scene = Scene(metric, Compare.NOTHING, TimeAxis(START_AT, 4.0, 90, 8, 100), 360.0, (group,), 5)
    return scene, drawn(scene, group, frame, {})


def said(town: Town, metric: ChartMetric = ChartMetric.LATENCY) -> list[str]:
    scene, each = looked_at(town, metric)
    return remarks(scene, [each], {})


def test_regions_that_were_not_measured_are_named_and_make_no_fall() -> None:
    """Seen failing without a word: a sum of two regions fell to one's, a percentile of one stood for both."""
    town = Town({"eu-west-1": {"embed": 1}, "us-east-1": {"embed": 1}}, load=Load(rps=20.0))
    town.fleet.demand(DetailDemand("embed"))
    town.run(60)
    assert said(town) == []
    east = town.of("embed", "us-east-1")[0]
    east.load.answers = False
    town.run(40)
    [still] = said(town)
    assert still.startswith("without us-east-1 since ")
    rates = [value for _, value in looked_at(town, ChartMetric.REQUESTS)[1].points[0] if value is not None]
    assert min(rates[-3:]) < 25.0, "it is the sum of those that tell, and says so"
    east.load.answers = True
    town.run(60)
    [was] = said(town)
    assert was.startswith("without us-east-1 ")
    assert " to " in was
    points = looked_at(town, ChartMetric.REQUESTS)[1].points[0]
    gap = [at for at, value in points if value is None]
    assert len(gap) >= 6, "between two times that are whole nobody knows the sum"
    assert all(value is None or value > 30.0 for _, value in points[2:])


@pytest.mark.parametrize(("latency_s", "sign", "text"), [(60.0, ">", ">30s"), (0.00001, "<", "<0.1ms")])
def test_a_percentile_in_the_open_or_the_first_bucket_reads_as_a_bound(latency_s: float, sign: str, text: str) -> None:
    """Seen failing: 30 s, where each took a minute."""
    town = Town({"eu-west-1": {"embed": 1}}, load=Load(latency_s=latency_s))
    town.fleet.demand(DetailDemand("embed"))
    town.run(40)
    _, each = looked_at(town, ChartMetric.LATENCY)
    at, value = each.points[1][-1]
    signs = signs_at(each, 1, at - 1, at + 1)
    assert set(signs) == {sign}
    assert value is not None
    assert span_text((value, value), ChartMetric.LATENCY, signs) == text
