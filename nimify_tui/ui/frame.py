"""What goes to the terminal: only the cells that differ from what it already shows.

Textual sends whole lines (a changed cell drags the line before it along) and, after a layout, the
whole screen. :class:`FrameEncoder` keeps a shadow of the terminal's cells and turns every update,
partial or full, into the shortest run of cursor moves, colours and characters. Nothing changed is
nothing sent. The same place guarantees what no widget can: pure ASCII where the terminal has no
UTF-8, and that text whose width the terminal may judge otherwise never shifts its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain

from rich.cells import get_character_cell_size
from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from nimify_tui.ui.glyphs import ascii_cell

#: (attributes, foreground, background) as SGR parameters, e.g. ``("1", "31", "48;5;234")``.
Sgr = tuple[str, str, str]
PLAIN: Sgr = ("", "", "")
#: Cells between two changes that are cheaper to send again than to jump over.
_BRIDGE_CELLS = 4
#: Text of which each character is a cell here and in every terminal. A line is looked at once instead of each cell.
_ONE_CELL_EACH = re.compile(
    "[ -~\u00a1-\u00ac\u00ae-\u02ff\u2010-\u2027\u2190-\u2319\u2500-\u25fc\u2800-\u28ff]*"
).fullmatch
_ATTRIBUTES = (("bold", "1"), ("dim", "2"), ("italic", "3"), ("underline", "4"), ("reverse", "7"), ("strike", "9"))


@lru_cache(4096)
def sgr_of(style: Style | None, system: ColorSystem | None) -> Sgr:
    """SGR parameters of a Rich style; ``system`` None sends attributes only (no colour)."""
    if style is None:
        return PLAIN
    attributes = ";".join(code for name, code in _ATTRIBUTES if getattr(style, name))
    if system is None:  # without colour a coloured background (the selection) is shown in reverse
        marked = style.bgcolor is not None and not style.bgcolor.is_default and not style.reverse
        return (f"{attributes};7".lstrip(";") if marked else attributes, "", "")
    fore = "" if style.color is None or style.color.is_default else _codes(style.color, system, True)
    back = "" if style.bgcolor is None or style.bgcolor.is_default else _codes(style.bgcolor, system, False)
    return (attributes, fore, back)


def _codes(color: Color, system: ColorSystem, foreground: bool) -> str:
    return ";".join(color.downgrade(system).get_ansi_codes(foreground))


@lru_cache(8192)
def _char_width(char: str) -> int:
    return 1 if " " <= char <= "~" else get_character_cell_size(char)


@lru_cache(8192)
def _sure_width(cell: str) -> bool:
    """Whether every terminal gives this cell the width we think (Latin, boxes, blocks, Braille)."""
    if len(cell) != 1:
        return cell == ""
    code = ord(cell)
    return code < 0x300 or 0x2010 <= code <= 0x2027 or 0x2190 <= code <= 0x25FF or 0x2800 <= code <= 0x28FF


class Styles:
    """SGR parameters by style object: to hash a Rich style takes longer than all else that is done for a segment."""

    #: Styles that are kept; they are made anew by widgets that are not ours.
    MOST = 2048

    def __init__(self, system: ColorSystem | None) -> None:
        self.system = system
        #: With the style itself, so that its number stays its own.
        self._known: dict[int, tuple[Style | None, Sgr]] = {}

    def of(self, style: Style | None) -> Sgr:
        """See :func:`sgr_of`."""
        known = self._known.get(id(style))
        if known is None:
            if len(self._known) >= self.MOST:
                self._known.clear()
            known = self._known[id(style)] = (style, sgr_of(style, self.system))
        return known[1]


def cells_of(
    segments: Iterable[Segment], sgr_of_style: Callable[[Style | None], Sgr], ascii_only: bool
) -> tuple[list[str], list[Sgr]]:
    """One entry for each screen cell: its text (``""`` for the right half of a wide one), its style."""
    texts: list[str] = []
    styles: list[Sgr] = []
    for text, style, control in segments:
        if not control:
            texts.append(text)
            styles += [sgr_of_style(style)] * len(text)
    whole = "".join(texts)
    chars = list(whole)
    if not _ONE_CELL_EACH(whole):
        chars, styles = _measured(chars, styles)
    if ascii_only:
        chars = [char if char.isascii() and char else ascii_cell(char) if char else "?" for char in chars]
    return chars, styles


def _measured(chars: Iterable[str], of_chars: Iterable[Sgr]) -> tuple[list[str], list[Sgr]]:
    """Characters put into cells: what has no width belongs to the one before."""
    cells: list[str] = []
    styles: list[Sgr] = []
    for char, sgr in zip(chars, of_chars, strict=True):
        width = _char_width(char)
        if width == 0:
            if cells:
                cells[-1] += char
            continue
        cells.append(char)
        styles.append(sgr)
        if width == 2:
            cells.append("")
            styles.append(sgr)
    return cells, styles


class FrameEncoder:
    """The shadow of one terminal. Not thread-safe: the UI loop owns it.

    ascii_only: send nothing but ASCII. no_color: send no colour, attributes stay.
    """

    def __init__(self, *, ascii_only: bool = False, no_color: bool = False) -> None:
        self.ascii_only = ascii_only
        self.no_color = no_color
        self.frames = 0
        self.bytes_encoded = 0
        self._chars: dict[int, list[str]] = {}
        self._styles: dict[int, list[Sgr]] = {}
        self._sgrs = Styles(None)

    def reset(self) -> None:
        """Forget what the terminal shows: the next update is sent whole (resize, resume, redraw)."""
        self._chars.clear()
        self._styles.clear()

    @staticmethod
    def understands(update: object) -> bool:
        """Whether :meth:`encode` knows this kind of update; if not, draw it as it is and ``reset``."""
        return isinstance(update, (ChopsUpdate, LayoutUpdate))

    def encode(self, update: CompositorUpdate, system: ColorSystem | None) -> str:
        """What to send for ``update``; an empty string when the terminal already shows it."""
        if self.no_color:
            system = None
        if self._sgrs.system is not system:
            self._sgrs = Styles(system)
        out: list[str] = []
        pen, sgr_of_style = _Pen(out), self._sgrs.of
        for y, x, strips in _pieces(update):
            chars, styles = cells_of(chain.from_iterable(strips), sgr_of_style, self.ascii_only)
            self._line(pen, y, x, chars, styles)
        if not out:
            return ""
        pen.finish()
        text = "".join(out)
        self.frames += 1
        self.bytes_encoded += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        return text

    def _line(self, pen: _Pen, y: int, x: int, chars: list[str], styles: list[Sgr]) -> None:
        known = self._chars.setdefault(y, [])
        known_styles = self._styles.setdefault(y, [])
        end = x + len(chars)
        if len(known) < end:
            missing = end - len(known)
            known.extend(["\0"] * missing)  # never equal to a drawn cell
            known_styles.extend([PLAIN] * missing)
        if known[x:end] == chars and known_styles[x:end] == styles:
            return
        for start, stop in _differences(known, known_styles, x, chars, styles):
            pen.draw(y, x + start, chars[start:stop], styles[start:stop])
        known[x:end] = chars
        known_styles[x:end] = styles


def _differences(
    known: list[str], known_styles: list[Sgr], x: int, chars: list[str], styles: list[Sgr]
) -> list[tuple[int, int]]:
    """Spans of ``chars`` to send: whole wide characters, near neighbours bridged."""
    spans: list[tuple[int, int]] = []
    start = stop = -1
    for index, char in enumerate(chars):
        if char == known[x + index] and styles[index] == known_styles[x + index]:
            continue
        if start < 0:
            start = index
        elif index - stop > _BRIDGE_CELLS:
            spans.append((start, stop))
            start = index
        stop = index + 1
    if start >= 0:
        spans.append((start, stop))
    return [_whole(chars, first, last) for first, last in spans]


def _whole(chars: list[str], first: int, last: int) -> tuple[int, int]:
    """The span grown so that no wide character is cut in half."""
    while first > 0 and chars[first] == "":
        first -= 1
    while last < len(chars) and chars[last] == "":
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

    def __init__(self, out: list[str]) -> None:
        self._out = out
        self._at: tuple[int, int] | None = None
        self._sgr: Sgr = PLAIN

    def draw(self, y: int, x: int, chars: list[str], styles: list[Sgr]) -> None:
        self._move(y, x)
        text = "".join(chars)
        if len(text) == len(chars) and _ONE_CELL_EACH(text):
            self._runs(text, styles)
            self._at = (y, x + len(chars))
            return
        out = self._out
        sure = True
        for offset, (char, sgr) in enumerate(zip(chars, styles, strict=True)):
            if sgr != self._sgr:
                out.append(_change(self._sgr, sgr))
                self._sgr = sgr
            if not sure and char and _sure_width(char):
                out.append(f"\x1b[{x + offset + 1}G")
                sure = True
            out.append(char)
            sure = sure and _sure_width(char)
        self._at = (y, x + len(chars)) if sure else None

    def _runs(self, text: str, styles: list[Sgr]) -> None:
        """Cells that are surely one character each."""
        out, pen, begin = self._out, self._sgr, 0
        for at, sgr in enumerate(styles):
            if sgr is not pen and sgr != pen:
                if at > begin:
                    out.append(text[begin:at])
                out.append(_change(pen, sgr))
                pen, begin = sgr, at
        out.append(text[begin:])
        self._sgr = pen

    def _move(self, y: int, x: int) -> None:
        if self._at is not None and self._at[0] == y and x >= self._at[1]:
            if gap := x - self._at[1]:
                self._out.append(f"\x1b[{gap}C" if gap > 1 else "\x1b[C")
        else:
            self._out.append(f"\x1b[{y + 1};{x + 1}H")

    def finish(self) -> None:
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
