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
#: By marker and dots: the character.
_SIGNS: dict[Marker, Sequence[str]] = {
    "braille": (" ", *(chr(0x2800 + bits) for bits in range(1, 256))), "blocks": " ▀▄█", "ascii": " '.:",
}  # fmt: skip
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
        period = len(drawn)
        #: (dot column, lowest, highest dot)
        strokes: list[tuple[int, int, int]] = []
        spans = spans[: self.width * self.across]
        below = above = -1
        for column, span in enumerate(spans):
            if span is None:
                below = -1
                continue
            first = low = place(span[0])
            last = high = low if span[1] == span[0] else place(span[1])
            if below < 0:
                begins = True
            else:
                begins = False
                if above < low - 1:
                    first = (above + low) // 2 + 1
                    strokes.append((column - 1, above, first - 1))
                elif below > high + 1:
                    last = (below + high) // 2
                    strokes.append((column - 1, last + 1, below))
            if (
                begins
                or first != last
                or drawn[(column + phase) % period]
                or column + 1 == len(spans)
                or spans[column + 1] is None
            ):
                strokes.append((column, first, last))
            below, above = low, high
        self._ink(strokes, style)

    def _ink(self, strokes: Sequence[tuple[int, int, int]], style: str) -> None:
        """Set the dots of columns, each from one to another above the bottom. One call for all: there are hundreds."""
        across, down, masks, bits, owner = self.across, self.down, self.masks, self.bits, self.owner
        top, whole = self.height * down - 1, down - 1
        for column, low, high in strokes:
            x, dx = divmod(column, across)
            y, dy = divmod(top - high, down)
            end, end_dy = divmod(top - low, down)
            mask = masks[dx]
            while y < end:  # a cell at a time: a spike is many dots high
                bits[y][x] |= mask[dy][whole]
                owner[y][x] = style
                y, dy = y + 1, 0
            bits[y][x] |= mask[dy][end_dy]
            owner[y][x] = style

    def cells(self, y: int) -> list[str]:
        """The characters of a row of cells; a blank where nothing was drawn."""
        signs = _SIGNS[self.marker]
        return [signs[bits] for bits in self.bits[y]]


def _drawn(form: Sequence[int]) -> list[bool]:
    """For each column of a form's period whether it is drawn."""
    return [number % 2 == 0 for number, columns in enumerate(form) for _ in range(columns)] or [True]


def sample(form: int, marker: Marker) -> str:
    """A piece of a line of this form, for a legend."""
    grid = Grid(_SAMPLE // DOTS[marker][0], 1, marker)
    grid.curve([(0.5, 0.5)] * _SAMPLE, Scale("linear", 0.0, 1.0), "", form)
    return "".join(grid.cells(0))
