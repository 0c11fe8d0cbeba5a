"""What goes to the terminal: only the cells that differ from what it already shows.

Textual sends whole lines (a changed cell drags the line before it along) and, after a layout, the
whole screen. :class:`FrameEncoder` keeps a shadow of the terminal's cells and turns every update,
partial or full, into the shortest run of cursor moves, colours and characters. Nothing changed is
nothing sent. The same place guarantees what no widget can: pure ASCII where the terminal has no
UTF-8, and that text whose width the terminal may judge otherwise never shifts its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain

from rich.color import ColorSystem
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from nimify_tui.ui.celltext import PLAIN, RIGHT_HALF, UNKNOWN, CellText, Sgr, one_cell_each

#: Cells that differ, with those between that are cheaper to send again than to jump over.
_spans = re.compile(rb"[^\0]+(?:\0{1,4}[^\0]+)*").finditer


@lru_cache(8192)
def _sure_width(cell: str) -> bool:
    """Whether every terminal gives this cell the width we think (Latin, boxes, blocks, Braille)."""
    if len(cell) != 1:
        return cell == ""
    code = ord(cell)
    return code < 0x300 or 0x2010 <= code <= 0x2027 or 0x2190 <= code <= 0x25FF or 0x2800 <= code <= 0x28FF


class FrameEncoder:
    """The shadow of one terminal. Not thread-safe: the UI loop owns it.

    ascii_only: send nothing but ASCII. no_color: send no colour, attributes stay.
    """

    def __init__(self, *, ascii_only: bool = False, no_color: bool = False) -> None:
        self.ascii_only = ascii_only
        self.no_color = no_color
        self.frames = 0
        self.bytes_encoded = 0
        self._cells = CellText(None, ascii_only=ascii_only)
        #: By line: its cells, their looks, and both as a number.
        self._shown: dict[int, tuple[str, str, int]] = {}

    def reset(self) -> None:
        """Forget what the terminal shows: the next update is sent whole (resize, resume, redraw)."""
        self._shown.clear()

    @staticmethod
    def understands(update: object) -> bool:
        """Whether :meth:`encode` knows this kind of update; if not, draw it as it is and ``reset``."""
        return isinstance(update, (ChopsUpdate, LayoutUpdate))

    def encode(self, update: CompositorUpdate, system: ColorSystem | None) -> str:
        """What to send for ``update``; an empty string when the terminal already shows it."""
        if self.no_color:
            system = None
        if self._cells.system is not system or self._cells.full:
            self._cells = CellText(system, ascii_only=self.ascii_only)
            self.reset()
        out: list[str] = []
        pen = _Pen(out, self._cells)
        for y, x, strips in _pieces(update):
            text, looks = self._cells.line(strips[0] if len(strips) == 1 else chain.from_iterable(strips))
            self._line(pen, y, x, text, looks)
        if not out:
            return ""
        pen.finish()
        sent = "".join(out)
        self.frames += 1
        self.bytes_encoded += len(sent) if sent.isascii() else len(sent.encode("utf-8", "replace"))
        return sent

    def _line(self, pen: _Pen, y: int, x: int, text: str, looks: str) -> None:
        shown, shown_looks, number = self._shown.get(y, ("", "", 0))
        end = x + len(text)
        if (missing := end - len(shown)) > 0:
            shown += UNKNOWN * missing
            shown_looks += UNKNOWN * missing
            number = _number(shown, shown_looks)
        if x or end < len(shown):
            text, looks = shown[:x] + text + shown[end:], shown_looks[:x] + looks + shown_looks[end:]
        if text == shown and looks == shown_looks:
            return
        now = _number(text, looks)
        self._shown[y] = (text, looks, now)
        for start, stop in _differences(text, now ^ number):
            pen.draw(y, start, text[start:stop], looks[start:stop])


def _number(text: str, looks: str) -> int:
    """A line as one long number, two bytes for each cell and for each look: all of them are compared at once."""
    return int.from_bytes((text + looks).encode("utf-16-le", "surrogatepass"), "little")


def _differences(text: str, differ: int) -> list[tuple[int, int]]:
    """Spans of ``text`` to send, where its number differs: whole wide characters, near neighbours bridged."""
    length = len(text)
    differ |= differ >> (16 * length)  # a look tells as well
    differ |= differ >> 8
    found = [match.span() for match in _spans(differ.to_bytes(4 * length, "little")[: 2 * length : 2])]
    return found if RIGHT_HALF not in text else [_whole(text, first, last) for first, last in found]


def _whole(text: str, first: int, last: int) -> tuple[int, int]:
    """The span grown so that no wide character is cut in half."""
    while first > 0 and text[first] == RIGHT_HALF:
        first -= 1
    while last < len(text) and text[last] == RIGHT_HALF:
        last += 1
    return first, last


def _pieces(update: CompositorUpdate) -> Iterable[tuple[int, int, list[Strip]]]:
    """``(y, x, strips)`` for each contiguous piece of an update."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            yield y, update.region.x, list(line)
    elif isinstance(update, ChopsUpdate):
        for y, x1, x2 in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is None or x >= x2 or end <= x1:
                    continue
                first, last = max(x, x1), min(end, x2)
                yield y, first, [strip.crop(first - x, last - x)]


class _Pen:
    """Writes cells with as few control bytes as it can; knows cursor and colour within one frame."""

    def __init__(self, out: list[str], cells: CellText) -> None:
        self._out = out
        self._cells = cells
        self._at: tuple[int, int] | None = None
        self._sgr: Sgr = PLAIN

    def draw(self, y: int, x: int, text: str, looks: str) -> None:
        """Put these cells there."""
        self._move(y, x)
        if one_cell_each(text):
            self._runs(text, looks)
            self._at = (y, x + len(text))
            return
        sure = True
        for offset, (char, look) in enumerate(zip(text, looks, strict=True)):
            self._change(look)
            cell = self._cells.cell(char)
            if not sure and cell and _sure_width(cell):
                self._out.append(f"\x1b[{x + offset + 1}G")
                sure = True
            self._out.append(cell)
            sure = sure and _sure_width(cell)
        self._at = (y, x + len(text)) if sure else None

    def _runs(self, text: str, looks: str) -> None:
        """Cells that are surely one character each."""
        begin, length = 0, len(text)
        while begin < length:
            look = looks[begin]
            end = begin + 1
            while end < length and looks[end] == look:
                end += 1
            self._change(look)
            self._out.append(text[begin:end])
            begin = end

    def _change(self, look: str) -> None:
        sgr = self._cells.sgr(look)
        if sgr != self._sgr:
            self._out.append(_change(self._sgr, sgr))
            self._sgr = sgr

    def _move(self, y: int, x: int) -> None:
        if self._at is not None and self._at[0] == y and x >= self._at[1]:
            if gap := x - self._at[1]:
                self._out.append(f"\x1b[{gap}C" if gap > 1 else "\x1b[C")
        else:
            self._out.append(f"\x1b[{y + 1};{x + 1}H")

    def finish(self) -> None:
        """Leave the terminal's own colour behind."""
        if self._sgr != PLAIN:
            self._out.append("\x1b[m")


@lru_cache(4096)
def _change(old: Sgr, new: Sgr) -> str:
    """The shortest SGR that turns ``old`` into ``new``."""
    if old[0] != new[0]:
        codes = ";".join(part for part in new if part)
        return f"\x1b[0;{codes}m" if codes and old != PLAIN else f"\x1b[{codes}m"
    parts = []
    if old[1] != new[1]:
        parts.append(new[1] or "39")
    if old[2] != new[2]:
        parts.append(new[2] or "49")
    return f"\x1b[{';'.join(parts)}m"
