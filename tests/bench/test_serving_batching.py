"""What wrk's script reports is read right: quantiles of the admitted alone, and what of them was in time."""

from __future__ import annotations

import pytest

from tests.bench.serving_batching import Load


def test_quantiles_and_goodput_are_those_of_the_admitted() -> None:
    took = [[99, 5], [9, 50], [19, 45]]  # tenths of a millisecond, rounded down; in no order
    seen = Load({"good": 100, "refused": 300, "wrong": 0, "seconds": 2.0, "took": took})
    assert (seen.rps, seen.offered_rps) == (50.0, 200.0)
    assert [round(seen.ms(share), 6) for share in (0.5, 0.95, 0.951, 0.99)] == [1.0, 2.0, 10.0, 10.0]
    assert [seen.within(ms) for ms in (0.9, 1.0, 2.0, 10.0)] == [0.0, 25.0, 47.5, 50.0]


def test_nothing_admitted_is_no_quantile() -> None:
    empty = Load({"good": 0, "refused": 9, "wrong": 0, "seconds": 1.0, "took": []})
    assert empty.ms(0.95) != pytest.approx(empty.ms(0.95))
    assert empty.within(100.0) == 0.0
