"""An object of a cluster as lines, and its events as rows."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.base.text import clean_line
from nimify_tui.domain.objects import ObjectEvent, ObjectText
from nimify_tui.ui import format as fmt
from nimify_tui.ui.widgets.cells import Cell
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.table import Row

EVENT_COLUMNS: tuple[Column, ...] = (
    Column("at", "LAST", 11),
    Column("count", "N", 4, align="right", priority=2),
    Column("type", "TYPE", 7, priority=1),
    Column("reason", "REASON", 12, 24, flex=1),
    Column("text", "WHAT", 20, flex=5),
)


def object_lines(answer: ObjectText, describe: bool) -> list[str]:
    """The object's lines, in words or as YAML; in their place, why it could not be read."""
    if answer.error:
        return [f"not read: {answer.error}", answer.remedy]
    if not describe:
        return list(answer.yaml)
    room = max((len(label) for label, _ in answer.words), default=0)
    return [f"{label:<{room}}  {text}".rstrip() for label, text in answer.words]


def event_rows(events: Sequence[ObjectEvent], now: float) -> list[tuple[int, Row]]:
    """Newest first; warnings are seen as such."""
    rows = []
    for number, each in enumerate(events):
        style = "warn" if each.type == "Warning" else ""
        cells = (
            Cell(fmt.date_clock(each.at, now) if each.at is not None else fmt.UNKNOWN),
            Cell(f"×{each.count}" if each.count > 1 else ""),
            Cell(clean_line(each.type, 20), style),
            Cell(clean_line(each.reason, 60), style),
            Cell(clean_line(each.text, 400)),
        )
        rows.append((number, Row(cells)))
    return rows
