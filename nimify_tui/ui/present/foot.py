"""The last line: keys from the command table, or what there is to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nimify_tui.base.text import clean_line
from nimify_tui.ui.commands import Command, key_text
from nimify_tui.ui.glyphs import Glyphs

Span = tuple[str, str]


def footer_spans(
    shown: Sequence[Command], width: int, refusal: Callable[[Command], str], glyphs: Glyphs
) -> tuple[Span, ...]:
    """``⏎ open  l logs  w why``: as many as fit whole; what is refused is dim."""
    spans: list[Span] = [(" ", "")]
    used = 1
    enter = "⏎" if glyphs.name == "unicode" else "enter"
    last = [each for each in shown if each.id in ("global.command", "global.help")]
    parts = [*(each for each in shown if each not in last), *last]
    reserved = sum(_length(each, enter) + 2 for each in last)
    for each in parts:
        length = _length(each, enter)
        limit = width if each in last else width - reserved
        if used + length + 2 > limit:
            continue
        key = enter if each.keys[0] == "enter" else key_text(each.keys[0])
        dim = bool(refusal(each))
        spans += [
            ("  " if used > 1 else "", ""),
            (key, "dim" if dim else "key"),
            (f" {each.title}", "dim" if dim else ""),
        ]
        used += length + (2 if used > 1 else 0)
    return tuple(spans)


def _length(command: Command, enter: str) -> int:
    key = enter if command.keys[0] == "enter" else key_text(command.keys[0])
    return len(key) + 1 + len(command.title)


def notice_spans(text: str, style: str, hint: str) -> tuple[Span, ...]:
    """A message in the footer's place, with the key that follows from it."""
    spans: list[Span] = [(" ", ""), (clean_line(text, 400), style)]
    if hint:
        spans.append((f"   {hint}", "key"))
    return tuple(spans)
