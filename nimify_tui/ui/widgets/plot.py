"""Curves in characters: the ladder Braille, half blocks, ASCII. Pure functions on a grid of dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nimify_tui.ui.widgets.scale import Scale, Span

Marker = Literal["braille", "blocks", "ascii"]

#: Dots of a cell: columns, rows.
DOTS: dict[Marker, tuple[int, int]] = {"braille": (2, 4), "blocks": (1, 2), "ascii": (1, 2)}
# Unicode 1.1 Braille patterns: bit of the dot at (column, row from the top).
_BRAILLE = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_PAIR = ((1, 2),)
#: Forms of a line, so that several are told apart without colour: dot columns drawn, left out, drawn ... () is a whole
#: line.
FORMS: tuple[tuple[int, ...], ...] = ((), (3, 2), (1, 2), (6, 2, 1, 2), (1, 1), (9, 3))
#: Dot columns in which every form is seen whole.
_SAMPLE = 12
_PAIRS: dict[Marker, str] = {"blocks": " ▀▄█", "ascii": " '.:"}
_DOT_BITS: dict[Marker, tuple[tuple[int, ...], ...]] = {"braille": _BRAILLE, "blocks": _PAIR, "ascii": _PAIR}
_MASKS = {
    marker: tuple(
        tuple(tuple(sum(column[first : last + 1]) for last in range(len(column))) for first in range(len(column)))
        for column in columns
    )
    for marker, columns in _DOT_BITS.items()
}


@dataclass(slots=True)
class Grid:
    """``width`` x ``height`` cells of dots; ``owner`` is the style of whoever drew last in a cell."""

    width: int
    height: int
    marker: Marker

    def __post_init__(self) -> None:
        self.across, self.down = DOTS[self.marker]
        self.masks = _MASKS[self.marker]
        self.bits = [[0] * self.width for _ in range(self.height)]
        self.owner = [[""] * self.width for _ in range(self.height)]

    across: int = 1
    down: int = 1
    #: By dot column of a cell, first and last dot from the top: the bits of all dots between.
    masks: tuple[tuple[tuple[int, ...], ...], ...] = ()
    bits: list[list[int]] = None  # type: ignore[assignment]  # filled by __post_init__
    owner: list[list[str]] = None  # type: ignore[assignment]  # filled by __post_init__

    def curve(self, spans: Sequence[Span], scale: Scale, style: str, form: int = 0, phase: int = 0) -> None:
        """Draw one series, a span for each dot column; neighbours are joined, gaps stay open.

        ``form`` is one of :data:`FORMS`, begun ``phase`` columns before. It leaves out only what is level: what goes up
        or down in a column, and where a line begins and ends, is always drawn.
        """
        rows = self.height * self.down
        drawn = _drawn(FORMS[form % len(FORMS)])
        place = scale.placer(rows)
        before: tuple[int, int] | None = None
        for column, span in enumerate(spans):
            if span is None:
                before = None
                continue
            low = place(span[0])
            high = low if span[1] == span[0] else place(span[1])
            first, last = low, high
            if before is not None:
                if before[1] < low - 1:
                    first = (before[1] + low) // 2 + 1
                    self.fill(column - 1, before[1], first - 1, style)
                elif before[0] > high + 1:
                    last = (before[0] + high) // 2
                    self.fill(column - 1, last + 1, before[0], style)
            ends = before is None or column + 1 == len(spans) or spans[column + 1] is None
            if first != last or ends or drawn[(column + phase) % len(drawn)]:
                self.fill(column, first, last, style)
            before = (low, high)

    def fill(self, column: int, low: int, high: int, style: str) -> None:
        """Set the dots of a column from ``low`` to ``high`` dots above the bottom."""
        x, dx = divmod(column, self.across)
        if not 0 <= x < self.width:
            return
        down, top = self.down, self.height * self.down - 1
        first, last = max(0, top - high), min(top, top - low)
        if first > last:
            return
        masks, bits, owner = self.masks[dx], self.bits, self.owner
        y, dy = divmod(first, down)
        end, end_dy = divmod(last, down)
        while y < end:  # a cell at a time: a spike is many dots high
            bits[y][x] |= masks[dy][down - 1]
            owner[y][x] = style
            y, dy = y + 1, 0
        bits[y][x] |= masks[dy][end_dy]
        owner[y][x] = style

    def chars(self, y: int) -> str:
        """The characters of a row of cells; a blank where nothing was drawn."""
        if self.marker == "braille":
            return "".join([chr(0x2800 + bits) if bits else " " for bits in self.bits[y]])
        return "".join([_PAIRS[self.marker][bits] for bits in self.bits[y]])


def _drawn(form: Sequence[int]) -> list[bool]:
    """For each column of a form's period whether it is drawn."""
    return [number % 2 == 0 for number, columns in enumerate(form) for _ in range(columns)] or [True]


def sample(form: int, marker: Marker) -> str:
    """A piece of a line of this form, for a legend."""
    grid = Grid(_SAMPLE // DOTS[marker][0], 1, marker)
    grid.curve([(0.5, 0.5)] * _SAMPLE, Scale("linear", 0.0, 1.0), "", form)
    return grid.chars(0)
