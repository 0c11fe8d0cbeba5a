"""Histories of several regions as one: no more is said than is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.domain.history import ChartMetric, History, Step
from nimify_tui.fleet.past import merged
from nimify_tui.fleet.quantiles import quantile

BOUNDS = (0.5, 1.0, 2.0, 4.0)
rates = st.integers(0, 10_000).map(float)


@given(st.lists(st.tuples(rates, rates, rates).map(sorted), min_size=1, max_size=6))
def test_added_regions_say_no_more_than_is_known(told_by: list[list[float]]) -> None:
    """The lowest and the highest of a sum are bounds that some moment has reached, whenever each region was there."""
    histories = [
        History(at=0.0, steps=(Step(at=60.0, total=middle, low=(low,), high=(high,)),)) for low, middle, high in told_by
    ]
    (step,) = merged(histories, ChartMetric.REQUESTS)
    (extent,) = step.lines
    assert extent is not None
    assert extent.low <= extent.value <= extent.high
    assert extent.high <= sum(high for _, _, high in told_by) * (1 + 1e-9)
    assert extent.low >= sum(low for low, _, _ in told_by) * (1 - 1e-9)


def test_percentiles_of_regions_are_those_of_all_their_requests_and_the_highest_survives() -> None:
    fast = History(at=0.0, bounds=BOUNDS, steps=(Step(at=60.0, counts=(90.0, 90.0, 90.0, 90.0, 90.0)),))
    told_slow = Step(at=60.0, counts=(0.0, 10.0, 10.0), high=(1.0, 2.0, 3.99))
    slow = History(at=0.0, bounds=(1.0, 4.0), steps=(told_slow, Step(at=120.0)))
    first, second = merged([fast, slow], ChartMetric.LATENCY)
    both = quantile(0.5, (1.0, 4.0), (90.0, 100.0, 100.0))
    assert both is not None
    lines = first.lines
    assert lines[0] is not None
    assert lines[2] is not None
    assert lines[0].value == both.value
    assert lines[2].high == 3.99
    assert second.lines == (None, None, None), "nothing told is nothing known"
    (errors,) = merged(
        [History(at=0.0, steps=(Step(at=60.0, total=total, errors=bad),)) for total, bad in ((90.0, 0.0), (10.0, 5.0))],
        ChartMetric.ERRORS,
    )[0].lines
    assert errors is not None
    assert errors.value == pytest.approx(0.05)
