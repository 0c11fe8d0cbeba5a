"""Marks of a long history: what is strange is found, what comes each day is not, and how often it marks is told."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimify_tui.fleet.unusual import DAY_S, unusual

HOUR_S = 3600.0
BEGIN_S = 1_800_000_000.0


def days(count: int, seed: int, scatter: float = 0.15, step_s: float = HOUR_S) -> list[float | None]:
    """Traffic by the hour (or another step): a night, a day, a quieter weekend, and a scatter (log-normal)."""
    rng = random.Random(seed)
    made: list[float | None] = []
    for step in range(int(count * DAY_S / step_s)):
        at_s = BEGIN_S + step * step_s
        level = 20.0 + 15.0 * math.sin(2 * math.pi * at_s / DAY_S)
        level *= 0.4 if int(at_s // DAY_S) % 7 >= 5 else 1.0
        made.append(level * rng.lognormvariate(0.0, scatter))
    return made


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("step_s", "scatter"), [(HOUR_S, 0.15), (3 * HOUR_S, 0.15), (3 * HOUR_S, 0.5), (900.0, 0.3)])
def test_a_history_without_anything_strange_has_almost_no_marks(seed: int, step_s: float, scatter: float) -> None:
    """Seen failing with neighbours three hours away, and where three others that lie together by chance are enough."""
    found = unusual(days(30, seed, scatter, step_s), step_s, BEGIN_S)
    assert found.ratio is not None
    assert found.ratio <= 0.01, found.words
    assert found.words.startswith("against the same time of other weeks; marks ")
    assert " of 30 d, false alarms" in found.words


def test_a_spike_at_night_is_found_though_each_day_is_higher() -> None:
    """Five times a night's traffic is a usual noon. Seen failing with one median for all hours."""
    values = days(30, 7)
    quiet = min(range(24 * 20, 24 * 21), key=lambda each: values[each] or 0.0)
    values[quiet] = 5.0 * (values[quiet] or 0.0)
    assert (values[quiet] or 0.0) < max(each for each in values if each is not None)
    [mark] = [each for each in unusual(values, HOUR_S, BEGIN_S).marks if each.step == quiet]
    assert mark.usual == pytest.approx((values[quiet] or 0.0) / 5.0, rel=0.5)


def test_nothing_at_noon_is_found_and_a_gap_is_no_zero() -> None:
    values = days(30, 8)
    noon = max(range(24 * 20, 24 * 21), key=lambda each: values[each] or 0.0)
    values[noon], values[noon + 1] = 0.0, None
    marks = [each.step for each in unusual(values, HOUR_S, BEGIN_S).marks]
    assert noon in marks
    assert noon + 1 not in marks


def test_how_often_it_marks_is_told() -> None:
    values = days(28, 9)
    strange = random.Random(1).sample(range(len(values)), 20)
    for each in strange:
        values[each] = 50.0 * (values[each] or 0.0)
    found = unusual(values, HOUR_S, BEGIN_S)
    assert set(strange) <= {each.step for each in found.marks}
    assert found.ratio == len(found.marks) / len(values)
    assert f"marks {100 * found.ratio:.2g} % of 28 d, false alarms at most that" in found.words


@pytest.mark.parametrize(
    ("count", "words"), [(30, "other weeks"), (27, "other days"), (4, "other days"), (3, "what came before")]
)
def test_a_season_needs_enough_of_it(count: int, words: str) -> None:
    """Of three weeks and six days, the weeks would be two others: one of them may be the odd one."""
    assert words in unusual(days(count, 3), HOUR_S, BEGIN_S).words


def test_too_little_says_so() -> None:
    found = unusual([1.0, 2.0, None] * 5, 60.0)
    assert (found.marks, found.ratio) == ((), None)
    assert found.words == "have 10 min: too little to say what is usual"


def test_without_a_season_a_step_is_marked_and_a_new_level_becomes_usual() -> None:
    rng = random.Random(5)
    values: list[float | None] = [10.0 * rng.lognormvariate(0.0, 0.1) for _ in range(60)]
    values += [100.0 * rng.lognormvariate(0.0, 0.1) for _ in range(60)]
    marks = [each.step for each in unusual(values, 60.0).marks]
    assert marks[0] == 60
    assert max(marks) < 100, "it is usual by then"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True), max_size=300),
    st.sampled_from([15.0, 3600.0, 21_600.0]),
)
def test_whatever_the_numbers_are_marks_are_steps_that_are_known(values: list[float | None], step_s: float) -> None:
    found = unusual(values, step_s, BEGIN_S)
    assert [each.step for each in found.marks] == sorted({each.step for each in found.marks})
    for each in found.marks:
        value = values[each.step]
        assert value is not None
        assert math.isfinite(value)
