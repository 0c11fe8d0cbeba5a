"""Curves in characters: the ladder Braille, half blocks, ASCII. Pure functions on a grid of dots."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

from nimify_tui.ui.widgets.cells import Run
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
#: The style of a blank beside the cursor, that is not marked with it.
_PLAIN = " "
#: By dots: the character.
_SIGNS = {"blocks": " ▀▄█", "ascii": " '.:"}
_DOT_BITS: dict[Marker, tuple[tuple[int, ...], ...]] = {"braille": _BRAILLE, "blocks": _PAIR, "ascii": _PAIR}
_MASKS = {
    marker: tuple(
        tuple(tuple(sum(column[first : last + 1]) for last in range(len(column))) for first in range(len(column)))
        for column in columns
    )
    for marker, columns in _DOT_BITS.items()
}


class Grid:
    """``width`` x ``height`` cells of dots, each with the style of whoever drew last in it."""

    def __init__(self, width: int, height: int, marker: Marker) -> None:
        self.width, self.height, self.marker = width, height, marker
        self.across, self.down = DOTS[marker]
        #: By dot column of a cell, first and last dot from the top: the bits of all dots between.
        self._masks = _MASKS[marker]
        self.bits = [bytearray(width) for _ in range(height)]
        #: Numbers of styles; 0 where nothing was drawn.
        self._owners = [bytearray(width) for _ in range(height)]
        self._styles = [""]

    def curve(
        self, spans: Sequence[Span], scale: Scale, style: str, form: int = 0, phase: int = 0,
        cells: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        """Draw one series, a span for each dot column; neighbours are joined, gaps stay open.

        ``form`` is one of :data:`FORMS`, begun ``phase`` columns before. It leaves out only what is level: what goes up
        or down in a column, and where a line begins and ends, is always drawn. ``cells``: only in these, from one up to
        another.
        """
        drawn, place = _drawn(FORMS[form % len(FORMS)]), scale.placer(self.height * self.down)
        period = len(drawn)
        #: (dot column, lowest, highest dot)
        strokes: list[tuple[int, int, int]] = []
        spans = spans[: self.width * self.across]
        first_cell, end_cell = cells or (0, self.width)
        first, end = first_cell * self.across, min(end_cell * self.across, len(spans))
        # What goes up or down between two columns is drawn by the second, in both.
        before = max(0, first - 1)
        below = above = -1
        for column, span in enumerate(spans[before : end + 1], before):
            if span is None:
                below = -1
                continue
            bottom = low = place(span[0])
            top = high = low if span[1] == span[0] else place(span[1])
            if below < 0:
                begins = True
            else:
                begins = False
                if above < low - 1:
                    bottom = (above + low) // 2 + 1
                    strokes.append((column - 1, above, bottom - 1))
                elif below > high + 1:
                    top = (below + high) // 2
                    strokes.append((column - 1, top + 1, below))
            if (
                begins
                or bottom != top
                or drawn[(column + phase) % period]
                or column + 1 == len(spans)
                or spans[column + 1] is None
            ):
                strokes.append((column, bottom, top))
            below, above = low, high
        self._ink([each for each in strokes if first <= each[0] < end] if cells else strokes, style)

    def _ink(self, strokes: Sequence[tuple[int, int, int]], style: str) -> None:
        """Set the dots of columns, each from one to another above the bottom. One call for all: there are hundreds."""
        across, down, masks, bits, owners = self.across, self.down, self._masks, self.bits, self._owners
        top, whole, number = self.height * down - 1, down - 1, self._number(style)
        for column, low, high in strokes:
            x, dx = divmod(column, across)
            y, dy = divmod(top - high, down)
            end, end_dy = divmod(top - low, down)
            mask = masks[dx]
            while y < end:  # a cell at a time: a spike is many dots high
                bits[y][x] |= mask[dy][whole]
                owners[y][x] = number
                y, dy = y + 1, 0
            bits[y][x] |= mask[dy][end_dy]
            owners[y][x] = number

    def _number(self, style: str) -> int:
        if style not in self._styles:
            self._styles.append(style)
        return self._styles.index(style)

    def move(self, cells: int) -> None:
        """Move all to the left; what comes in is empty."""
        for rows in (self.bits, self._owners):
            for row in rows:
                del row[:cells]
                row.extend(bytes(self.width - len(row)))

    def clear(self, first: int, end: int) -> None:
        """Empty the cells from one up to another in all rows."""
        empty = bytes(end - first)
        for rows in (self.bits, self._owners):
            for row in rows:
                row[first:end] = empty

    def text(self, y: int) -> str:
        """The characters of a row of cells; a blank where nothing was drawn."""
        bits = self.bits[y]
        if self.marker != "braille":
            return "".join([_SIGNS[self.marker][each] for each in bits])
        # The bits are the low byte of a pattern's number: the row as UTF-16.
        pairs = bytearray(b"\0\x28") * self.width
        pairs[::2] = bits
        return pairs.decode("utf-16-le").replace("\u2800", " ")

    def line(self, y: int, rule: str = "", cursor: tuple[int, str] | None = None) -> list[Run]:
        """A row of cells with styles. ``rule``: what stands where nothing was drawn.

        ``cursor`` is a cell and its sign: a curve there stays what it is, marked; between curves there is the sign.
        """
        bits, owners = self.bits[y], self._owners[y]
        if not rule and cursor is None and not any(bits):
            return [(" " * self.width, "")]
        text = self.text(y)
        if rule:
            text = text.replace(" ", rule)
            owners = owners.replace(b"\0", bytes([self._number("rule")]))
        if cursor is not None:
            x, sign = cursor
            owners, bare = bytearray(owners), not bits[x]
            owners[x] = self._number("key" if bare else f"{self._styles[owners[x]]} reverse")
            text = f"{text[:x]}{sign}{text[x + 1 :]}" if bare else text
            if x + 1 < self.width:
                owners[x + 1] = owners[x + 1] or self._number(_PLAIN)
        runs: list[Run] = []
        at, styles = 0, self._styles
        # A blank is as well of the colour before it: half as many runs.
        for piece in _same(len(styles))(owners):
            end = at + len(piece)
            runs.append((text[at:end], styles[piece[0]]))
            at = end
        return runs


@lru_cache(64)
def _same(styles: int) -> Callable[[bytes | bytearray], list[bytes]]:
    """Takes the pieces of a row that look alike: of one style, with what is of none behind it."""
    each = b"|".join(b"\\x%02x[\\x00\\x%02x]*" % (number, number) for number in range(styles))
    return re.compile(each).findall


def _drawn(form: Sequence[int]) -> list[bool]:
    """For each column of a form's period whether it is drawn."""
    return [number % 2 == 0 for number, columns in enumerate(form) for _ in range(columns)] or [True]


def sample(form: int, marker: Marker) -> str:
    """A piece of a line of this form, for a legend."""
    grid = Grid(_SAMPLE // DOTS[marker][0], 1, marker)
    grid.curve([(0.5, 0.5)] * _SAMPLE, Scale("linear", 0.0, 1.0), "", form)
    return grid.text(0)
