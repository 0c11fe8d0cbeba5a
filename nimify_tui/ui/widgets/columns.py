"""Columns of a table as data, and the widths they get: by size alone, never by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nimify_tui.ui.widgets.cells import Align, Shorten


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    min_width/max_width: cells; the width is ``min_width`` plus its share of the room that is left, by
    ``flex`` (0: fixed), at most ``max_width``. priority: 0 always stays; the highest numbers are left
    out first when the screen is narrow. tree: indent and expander are drawn in this column. shown: False
    leaves it out at every width, rows keep their cell for it.
    """

    key: str
    title: str
    min_width: int
    max_width: int | None = None
    flex: int = 0
    align: Align = "left"
    priority: int = 0
    shorten: Shorten = "end"
    tree: bool = False
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Placed:
    """A column that is shown: its place in the row's cells, its start and width on the line."""

    column: Column
    index: int
    x: int
    width: int


def place(columns: Sequence[Column], width: int, gap: int, left: int) -> tuple[Placed, ...]:
    """Choose and size columns for a line of ``width`` cells, the first starting at ``left``."""
    kept = [(index, column) for index, column in enumerate(columns) if column.shown]

    def needed() -> int:
        return sum(column.min_width for _, column in kept) + gap * max(0, len(kept) - 1)

    room = max(0, width - left)
    while needed() > room and any(column.priority for _, column in kept):
        worst = max(column.priority for _, column in kept)
        for position in range(len(kept) - 1, -1, -1):
            if kept[position][1].priority == worst:
                del kept[position]
                break
    widths = _shared([column for _, column in kept], room - needed())
    placed: list[Placed] = []
    x = left
    for (index, column), cells in zip(kept, widths, strict=True):
        placed.append(Placed(column, index, x, cells))
        x += cells + gap
    return tuple(placed)


def _shared(columns: Sequence[Column], spare: int) -> list[int]:
    """Minimum widths plus the spare cells by flex, none above its maximum."""
    widths = [column.min_width for column in columns]
    growing = [i for i, column in enumerate(columns) if column.flex > 0]
    while spare > 0 and growing:
        total = sum(columns[i].flex for i in growing)
        given = 0
        for i in list(growing):
            limit = columns[i].max_width
            share = max(1, spare * columns[i].flex // total)
            share = min(share, spare - given)
            if limit is not None and widths[i] + share >= limit:
                share = max(0, limit - widths[i])
                growing.remove(i)
            widths[i] += share
            given += share
            if given >= spare:
                break
        if not given:
            break
        spare -= given
    return widths
