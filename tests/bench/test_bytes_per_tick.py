"""The byte budgets in every test run: counted, so a busy machine changes nothing."""

from __future__ import annotations

import pytest

from tests.bench import bytes_per_tick
from tests.bench.programs.table import CHANGED
from tests.support import Home


@pytest.mark.bench
def test_budgets_hold() -> None:
    changed, same, whole = bytes_per_tick.run(ticks=3)
    assert changed.passed, changed
    assert changed.value > 20 * 3, "fewer bytes than changed digits: nothing was measured"
    assert same.passed, same
    assert same.value == 0
    assert whole.passed, whole


@pytest.mark.bench
def test_sabotage_drawing_everything_again_breaks_both(home: Home) -> None:
    with bytes_per_tick.table_run(home) as program:
        assert program.send("waste") > bytes_per_tick.TICK_BAR_BYTES
        assert program.send("same") == 0


@pytest.mark.bench
def test_sabotage_a_value_that_is_not_drawn_is_noticed(home: Home) -> None:
    with bytes_per_tick.table_run(home) as program:
        program.send("tick 1")
        assert program.missing(1) == []
        assert len(program.missing(2)) == CHANGED
