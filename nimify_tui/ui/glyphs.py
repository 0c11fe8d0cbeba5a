"""What a state, a rule and a chart look like in characters: one set for UTF-8, one for ASCII.

Colour never stands alone: the symbol and the word say the same without it. Nothing here is of
ambiguous width, an emoji or needs a variation selector, so every terminal gives it one cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: Fleet state words (domain values, lower case) -> the widget style that goes with the symbol.
STATE_STYLES: Mapping[str, str] = MappingProxyType(
    {
        "ok": "ok",
        "degraded": "warn",
        "down": "bad",
        "starting": "start",
        "stopped": "dim",
        "unknown": "stale",
    }
)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One complete set of symbols.

    ``states`` maps ok, degraded, down, starting, stopped, unknown to a symbol; ``bars`` are nine
    steps from empty to full for sparklines; ``chart`` names the marker ladder's rung that the set
    can draw: ``braille``, ``blocks`` or ``ascii``.
    """

    name: str
    states: Mapping[str, str]
    rule: str
    vertical: str
    cursor: str
    mark: str
    open: str
    closed: str
    ellipsis: str
    bars: str
    chart: str
    slo: str
    tick: str
    corner: str
    axis: str
    axis_cross: str
    event: str
    dash: str
    caret: str
    box: str
    thumb: str

    def state(self, state: str) -> str:
        """The symbol of a state word (any case); unknown words get the symbol of ``unknown``."""
        return self.states.get(state.lower(), self.states["unknown"])


UNICODE = Glyphs(
    name="unicode",
    states=MappingProxyType(
        {"ok": "●", "degraded": "▲", "down": "✕", "starting": "◌", "stopped": "○", "unknown": "?"}
    ),
    rule="─",
    vertical="│",
    cursor="▌",
    mark="◆",
    open="▾",
    closed="▸",
    ellipsis="…",
    bars=" ▁▂▃▄▅▆▇█",
    chart="braille",
    slo="┄",
    tick="┤",
    corner="└",
    axis="│",
    axis_cross="┼",
    event="▲",
    dash="–",
    caret="▏",
    box="╭─╮│╰╯",
    thumb="┃",
)

ASCII = Glyphs(
    name="ascii",
    states=MappingProxyType(
        {"ok": ".", "degraded": "!", "down": "X", "starting": "~", "stopped": "-", "unknown": "?"}
    ),
    rule="-",
    vertical="|",
    cursor=">",
    mark="*",
    open="v",
    closed=">",
    ellipsis="~",
    bars=" ._-:=+*#",
    chart="ascii",
    slo="-",
    tick="+",
    corner="+",
    axis="|",
    axis_cross="+",
    event="^",
    dash="-",
    caret="_",
    box="+-+|++",
    thumb="#",
)

_TO_ASCII: Mapping[str, str] = MappingProxyType(
    {
        **dict(zip("●▲✕◌○▾▸▌◆…–—▏┃─│┄┤├└┼╭╮╰╯┐┌┘┬┴", ".!X~-v>>*~--_#-|-+++++++++++++", strict=True)),
        **dict(zip("▁▂▃▄▅▆▇█▀▐░▒▓", "._-:=+*#'|.:#", strict=True)),
        **dict(zip("→←↑↓×·±≤≥≈µ°−⏎“”‘’«»", '><^vx.+<>~uo->""' + "''" + '""', strict=True)),
    }
)


def ascii_cell(char: str) -> str:
    """The ASCII stand-in of one drawn character (one cell wide), ``?`` when there is none."""
    if char.isascii():
        return char
    if (known := _TO_ASCII.get(char[0])) is not None:
        return known
    return "." if "\u2800" < char[0] <= "\u28ff" else " " if char[0] == "\u2800" else "?"
