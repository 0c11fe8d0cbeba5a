"""Small terminals: what matters stays on the line."""

from __future__ import annotations

import pytest

from tests.ui.world import World, press, run_console


def _lines(*keys: str, size: tuple[int, int], world: World | None = None) -> list[str]:
    return str(run_console(press(*keys), world, size=size)).split("\n")


@pytest.mark.parametrize("size", [(40, 10), (60, 15)])
def test_whether_one_may_act_is_said_at_every_width(size: tuple[int, int]) -> None:
    assert "READ-ONLY" in _lines(size=size, world=World(read_only=True))[0]


@pytest.mark.parametrize("size", [(40, 10), (60, 15)])
def test_every_tab_has_its_digit_and_the_open_one_its_name(size: tuple[int, int]) -> None:
    for number, name in ((1, "overview"), (5, "metrics"), (7, "try")):
        tabs = _lines("w", str(number), size=size)[2]
        assert f"{number} {name}" in tabs
        assert [word for word in tabs.split() if word.isdigit()] == [str(each) for each in range(1, 8)]


def test_a_metric_has_its_value_before_its_age_and_its_region() -> None:
    assert "VALUE" in _lines("w", "5", size=(40, 10))[3]
    header = _lines("w", "5", size=(60, 15))[3]
    assert "VALUE" in header
    assert "WHERE" in header


def test_replicas_of_several_regions_say_where_they_are_at_60_columns() -> None:
    lines = _lines("w", size=(60, 15))
    assert "WHERE" in lines[3]
    assert any("euw1" in line for line in lines[4:9])
