"""Figures: three digits, units, and the difference between zero, unknown and old."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.domain.measures import Measure, MeasureState, absent
from nimify_tui.ui import format as fmt


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0ms"),
        (0.00003, "<0.1ms"),
        (0.0004, "0.4ms"),
        (0.009, "9ms"),
        (0.64, "640ms"),
        (0.9996, "1.0s"),
        (1.9, "1.9s"),
        (9.96, "10s"),
        (200, "3m"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_latency(value: float, text: str) -> None:
    assert fmt.latency(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (47.31, "47.3"),
        (611, "611"),
        (999.6, "1k"),
        (1240, "1.24k"),
        (31234, "31.2k"),
        (5e6, "5M"),
    ],
)
def test_count(value: float, text: str) -> None:
    assert fmt.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.01, "<0.1"), (4, "4.0"), (9.96, "10"), (47.3, "47"), (1240, "1.24k")]
)
def test_rate(value: float, text: str) -> None:
    assert fmt.rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.0%"), (0.0003, "<0.1%"), (0.012, "1.2%"), (0.38, "38%"), (1, "100%")]
)
def test_percent(value: float, text: str) -> None:
    assert fmt.percent(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0B"), (900, "900B"), (212 * 2**20, "212M"), (1.1 * 2**30, "1.1G")])
def test_size(value: float, text: str) -> None:
    assert fmt.size(value) == text


@pytest.mark.parametrize(("value", "text"), [(41, "41s"), (357, "6m"), (5969, "99m"), (10800, "3h"), (200000, "2d")])
def test_span(value: float, text: str) -> None:
    assert fmt.span(value) == text


@given(st.floats(min_value=0, max_value=1e15, allow_nan=False))
def test_no_figure_has_more_than_three_significant_digits(value: float) -> None:
    for text in (fmt.count(value), fmt.size(value)):
        digits = [c for c in text if c.isdigit()]
        assert len("".join(digits).lstrip("0")) <= 3, text
        assert len(text) <= 5, text


@given(st.floats(min_value=1e-12, max_value=1e6))
def test_what_is_not_zero_never_reads_as_zero(value: float) -> None:
    for text in (fmt.latency(value), fmt.percent(min(value, 1.0)), fmt.rate(value)):
        number = "".join(c for c in text if c.isdigit() or c == ".")
        assert text.startswith("<") or float(number) > 0, text


def test_zero_unknown_bound_and_old_differ() -> None:
    zero, unknown = Measure(0.0, "s", 1.0), absent("s", "no scrape")
    bound = Measure(10.0, "s", 1.0, state=MeasureState.BOUND)
    old = Measure(0.5, "s", 1.0, state=MeasureState.STALE)
    assert [fmt.measure(each) for each in (zero, unknown, bound, old)] == ["0ms", "–", ">10s", "500ms"]
    assert [fmt.style_of(each) for each in (zero, unknown, old)] == ["", "dim", "stale"]


def test_which_bound_it_is_is_no_matter_of_its_words() -> None:
    """Also of an old one. Seen failing with the side read out of the reason: other words turned it round."""
    words = "its p95 is in the first bucket"
    most = Measure(0.1, "s", 1.0, "", MeasureState.BOUND, words, "<")
    old = Measure(0.1, "s", 1.0, "", MeasureState.STALE, words, "<")
    least = Measure(0.1, "s", 1.0, "", MeasureState.BOUND, "at most of its replicas in the open bucket", ">")
    assert [fmt.measure(each) for each in (most, old, least)] == ["<100ms", "<100ms", ">100ms"]
    assert fmt.measure(Measure(0.1, "s", 1.0, "", MeasureState.STALE, "at least that is what it was")) == "100ms"


def test_ages_move_in_steps_so_that_a_calm_screen_is_still() -> None:
    assert {fmt.age(each / 10) for each in range(49)} == {"<5 s"}
    assert fmt.age(41) == "40 s"
    assert fmt.age(200) == "3 min"
    assert fmt.age(None) == "no data yet"


def test_clock_is_utc() -> None:
    assert fmt.clock_minutes(1795459327.0) == "18:42Z"
    assert fmt.clock(1795459327.0) == "18:42:07"


@given(
    st.lists(st.text(alphabet="abc-", min_size=1, max_size=30), max_size=30), st.integers(min_value=4, max_value=16)
)
def test_two_names_never_become_the_same(names: list[str], width: int) -> None:
    short = fmt.shorten_names(names, width)
    assert len(set(short.values())) == len(set(names))
    assert all(len(each) <= width for each in short.values())


def test_sabotage_plain_cutting_makes_two_names_the_same() -> None:
    names = ["embedding-large-v1-production", "embedding-large-v2-production"]
    assert len({name[:10] for name in names}) == 1
    assert len(set(fmt.shorten_names(names, 10).values())) == 2


def test_names_are_cut_in_the_middle() -> None:
    assert fmt.shorten_names(["recommendation-ranker"], 11) == {"recommendation-ranker": "recom…anker"}
