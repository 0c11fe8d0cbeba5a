"""What the table says of an error budget that goes too fast."""

from __future__ import annotations

import msgspec
import pytest

from nimify_tui.domain.measures import MeasureState, absent
from nimify_tui.domain.services import ServiceState
from nimify_tui.domain.slos import Burning
from nimify_tui.fleet.frames import ServiceRow
from nimify_tui.ui.present import services
from nimify_tui.ui.widgets.cells import Cell
from tests.ui import frames


def cells(row: ServiceRow) -> dict[str, object]:
    drawn = services.service_row(row, frames.NOW, row.name, False, "").cells
    return dict(zip((each.key for each in services.columns_for(120)), drawn, strict=True))


@pytest.mark.parametrize(
    ("burning", "style", "word"), [(Burning.FAST, "bad", "fast"), (Burning.SLOW, "warn", "slowly")]
)
def test_by_colour_and_word_where_nothing_else_is_said(burning: Burning, style: str, word: str) -> None:
    row = msgspec.structs.replace(frames.row("ours", ("us-east-1",), burn=7.0), burning=burning)
    assert cells(row)["burn"] == Cell("7.0", style)
    assert cells(row)["reason"] == Cell(f"error budget burns {word}", style)
    down = msgspec.structs.replace(row, state=ServiceState.DOWN, reason="all crash")
    reason = cells(down)["reason"]
    assert isinstance(reason, Cell)
    assert reason.text == "all crash"


def test_an_objective_that_cannot_be_read_is_not_none() -> None:
    row = frames.row("ours", ("us-east-1",), slo=False)
    assert cells(msgspec.structs.replace(row, burn=absent("count", "no SLO")))["burn"] == Cell("no SLO", "dim")
    garbled = msgspec.structs.replace(row, burn=absent("count", "nimify.dev/slo: 'x' is none of ..."))
    assert cells(garbled)["burn"] == Cell("SLO?", "warn")


def test_a_burn_that_may_be_more_and_one_that_is_old_look_so() -> None:
    row = frames.row("ours", ("us-east-1",), burn=0.4)
    least = msgspec.structs.replace(row.burn, state=MeasureState.BOUND, reason="at least: not known")
    assert cells(msgspec.structs.replace(row, burn=least))["burn"] == Cell(">0.4")
    old = msgspec.structs.replace(row.burn, state=MeasureState.STALE)
    assert cells(msgspec.structs.replace(row, burn=old))["burn"] == Cell("0.4", "stale")
