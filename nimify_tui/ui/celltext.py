"""A line of the screen as two texts of one character for each cell: what is in it, and how it looks.

Lines are then compared, cut and searched as text and not cell by cell: that is most of what a frame costs. A cell of
several characters (an accent of its own), or of one that takes more than two bytes, has one that stands for it, private
to one :class:`CellText`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from rich.cells import get_character_cell_size
from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style

from nimify_tui.ui.glyphs import ascii_cell

#: (attributes, foreground, background) as SGR parameters, e.g. ``("1", "31", "48;5;234")``.
Sgr = tuple[str, str, str]
PLAIN: Sgr = ("", "", "")
#: The right half of a wide character, and a cell of which nobody knows what it shows.
RIGHT_HALF, UNKNOWN = "\0", "\1"
#: Text of which each character is a cell here and in every terminal. A line is looked at once instead of each cell.
one_cell_each = re.compile(
    "[ -~\u00a1-\u00ac\u00ae-\u02ff\u2010-\u2027\u2190-\u2319\u2500-\u25fc\u2800-\u28ff]*"
).fullmatch
#: What stands for something else: Unicode's private area. What a screen shows is far from that many.
_STAND_INS, _MOST = 0xE000, 0xF900 - 0xE000
#: Styles that are kept; they are made anew by widgets that are not ours. And their looks: below the surrogates.
_STYLES, _LOOKS = 2048, 20_000
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


def _control(char: str) -> bool:
    """Whether a terminal would obey it (C0, DEL, C1)."""
    return char < " " or "\x7f" <= char <= "\x9f"


class CellText:
    """The signs of one terminal. ``system`` None: attributes only; ``ascii_only``: nothing but ASCII is shown."""

    def __init__(self, system: ColorSystem | None, *, ascii_only: bool = False) -> None:
        self.system = system
        self._ascii_only = ascii_only
        #: By the number of a style object its look, with the style itself, so that its number stays its own: to hash a
        #: Rich style takes longer than all else that is done for a segment.
        self._known: dict[int, tuple[Style | None, str]] = {}
        self._looks: dict[Sgr, str] = {}
        self._sgrs: list[Sgr] = []
        self._stand_ins: dict[str, str] = {}
        self._cells: list[str] = []

    @property
    def full(self) -> bool:
        """Whether it is time for a new one: there is still room for what a frame can bring."""
        return len(self._sgrs) > _LOOKS or len(self._cells) > _MOST // 2

    def line(self, segments: Iterable[Segment]) -> tuple[str, str]:
        """One character for each screen cell: its text, and its look."""
        texts: list[str] = []
        looks: list[str] = []
        known = self._known
        for text, style, control in segments:
            if not control:
                texts.append(text)
                look = known.get(id(style))
                looks.append((look[1] if look is not None else self._look(style)) * len(text))
        whole, looked = "".join(texts), "".join(looks)
        if not one_cell_each(whole):
            whole, looked = self._measured(whole, looked)
        if self._ascii_only and not (whole.isascii() and RIGHT_HALF not in whole):
            whole = "".join(["?" if char == RIGHT_HALF else ascii_cell(self.cell(char)) for char in whole])
        return whole, looked

    def sgr(self, look: str) -> Sgr:
        """The SGR parameters that a look stands for."""
        return self._sgrs[ord(look)]

    def cell(self, char: str) -> str:
        """What is in a cell: what a character stands for, "" for the right half of a wide one."""
        if char == RIGHT_HALF:
            return ""
        number = ord(char) - _STAND_INS
        return self._cells[number] if 0 <= number < _MOST else char

    def _look(self, style: Style | None) -> str:
        if len(self._known) >= _STYLES:
            self._known.clear()
        sgr = sgr_of(style, self.system)
        look = self._looks.get(sgr)
        if look is None:
            look = self._looks[sgr] = chr(len(self._sgrs))
            self._sgrs.append(sgr)
        self._known[id(style)] = (style, look)
        return look

    def _measured(self, text: str, looks: str) -> tuple[str, str]:
        """Characters put into cells: what has no width belongs to the one before; what would steer is left out."""
        cells: list[str] = []
        styles: list[str] = []
        for char, look in zip(text, looks, strict=True):
            width = _char_width(char)
            if width == 0:
                if cells and not _control(char):
                    at = -1 if cells[-1] else -2  # behind a wide one
                    cells[at] += char
                continue
            cells.append(char)
            styles.append(look)
            if width == 2:
                cells.append("")
                styles.append(look)
        return "".join(map(self._sign, cells)), "".join(styles)

    def _sign(self, cell: str) -> str:
        """The character that stands for a cell's text: itself, where it is one that stands for nothing."""
        if len(cell) == 1 and not _STAND_INS <= ord(cell) < _STAND_INS + _MOST and ord(cell) <= 0xFFFF:
            return cell
        if not cell:
            return RIGHT_HALF
        sign = self._stand_ins.get(cell)
        if sign is None:
            if len(self._cells) >= _MOST:
                return "\ufffd"
            sign = self._stand_ins[cell] = chr(_STAND_INS + len(self._cells))
            self._cells.append(cell)
        return sign
