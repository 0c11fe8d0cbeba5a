"""Histories of several regions as one: no more is said than is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.domain.history import ChartMetric, History, Step
from nimify_tui.fleet.past import merged, told_between
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


def total(history: History, at: float) -> float | None:
    """The sum at a step of that history and of one that tells 200 all the time."""
    steady = History(at=0.0, step_s=60.0, steps=tuple(Step(at=60.0 * k, total=200.0) for k in range(1, 11)))
    found = {each.at: each.lines[0] for each in merged([steady, history], ChartMetric.REQUESTS)}
    extent = found[at]
    return extent.value if extent is not None else None


def test_a_sum_is_a_gap_where_a_region_lacks_for_a_while_and_without_it_before_and_after() -> None:
    """Seen failing with the sum of whoever tells a step: it fell from 300 to 200 and rose again."""
    told = (3, 4, 6, 7)
    one = History(at=0.0, step_s=60.0, steps=tuple(Step(at=60.0 * k, total=100.0) for k in told))
    assert [total(one, 60.0 * k) for k in range(1, 11)] == [200, 200, 300, 300, None, 300, 300, 200, 200, 200]
    # A server whose clock is apart has steps of its own: they are the same ones.
    apart = History(at=0.0, step_s=60.0, steps=tuple(Step(at=60.0 * k - 2.3, total=100.0) for k in told))
    assert [total(apart, 60.0 * k) for k in range(3, 8)] == [300, 300, None, 300, 300]
    assert (told_between(one), told_between(apart)) == ((180.0, 420.0), (180.0, 420.0))
    unknown = History(at=0.0, step_s=60.0, steps=(Step(at=60.0), Step(at=120.0)))
    assert (total(unknown, 60.0), told_between(unknown)) == (200, None)
