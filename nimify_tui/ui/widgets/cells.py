"""Text in cells: cleaned, measured, fitted. Every widget's foreign text passes here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size

from nimify_tui.base.text import clean_line

Align = Literal["left", "right", "center"]
Shorten = Literal["end", "middle"]

#: ``(text, style names)``; the text is clean.
Run = tuple[str, str]
#: One drawn line.
Line = tuple[Run, ...]
#: What callers give: ``(text, style names)`` or a plain string; the text may be hostile.
SpanLike = tuple[str, str] | str


class Cell(NamedTuple):
    """One table or feed cell. ``style``: names from :data:`STYLE_NAMES`, space-separated."""

    text: str
    style: str = ""


#: The styles that a cell, span or row may name; ``styles/widgets.tcss`` gives them colour.
STYLE_NAMES = (
    "ok", "warn", "bad", "start", "stale", "dim", "bold", "title", "key", "rule", "select", "blur",
    "mark", "header", "reverse", "match", "p50", "p95", "p99",
)  # fmt: skip


def inert(text: str, limit: int) -> str:
    """``text`` as one harmless line of at most ``limit`` characters."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    return clean_line(text, limit)


def width_of(text: str) -> int:
    """Cells that clean ``text`` takes."""
    return len(text) if text.isascii() else cell_len(text)


def _cut(text: str, width: int, shorten: Shorten, ellipsis: str) -> str:
    """Clean ``text``, wider than ``width`` cells, shortened to at most ``width`` cells."""
    if width <= 1 or not ellipsis:
        return set_cell_size(text, max(0, width)).rstrip()
    if shorten == "end":
        return set_cell_size(text, width - 1).rstrip() + ellipsis
    head = width // 2
    tail, cells = "", 0
    for char in reversed(text):
        step = cell_len(char)
        if cells + step > width - 1 - head:
            break
        tail, cells = char + tail, cells + step
    return set_cell_size(text, head) + ellipsis + tail


def fit(
    text: str, width: int, align: Align = "left", shorten: Shorten = "end", ellipsis: str = "…"
) -> str:
    """``text`` cleaned and made exactly ``width`` cells wide."""
    if width <= 0:
        return ""
    text = inert(text, 4 * width + 16)
    if text.isascii():
        length = len(text)
    else:
        length = cell_len(text)
    if length > width:
        text = _cut(text, width, shorten, ellipsis)
        length = width_of(text)
    pad = width - length
    if not pad:
        return text
    if align == "right":
        return " " * pad + text
    if align == "center":
        return " " * (pad // 2) + text + " " * (pad - pad // 2)
    return text + " " * pad


def clean_spans(spans: Sequence[SpanLike], limit: int) -> Line:
    """Spans cleaned, empty ones dropped; no more than ``limit`` cells in all."""
    runs: list[Run] = []
    left = limit
    for span in spans:
        text, style = (span, "") if isinstance(span, str) else span
        if left <= 0:
            break
        text = inert(text, left)
        if not text:
            continue
        length = width_of(text)
        if length > left:
            text = _cut(text, left, "end", "…")
            length = width_of(text)
        runs.append((text, style))
        left -= length
    return tuple(runs)


def line_width(line: Line) -> int:
    """Cells of a drawn line."""
    return sum(width_of(text) for text, _ in line)
