"""The help overlay: this screen's keys first, then the others, then what the symbols mean."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from nimify_tui.ui import commands
from nimify_tui.ui.commands import Command, Scope, key_text
from nimify_tui.ui.glyphs import STATE_STYLES, Glyphs

Spans = tuple[tuple[str, str], ...]
_KEYS, _NAMES = 12, 20
#: With less room than this beside keys and names the words stand below them.
_LEAST = 30


def help_lines(
    active: Sequence[Scope], glyphs: Glyphs, refusal: Callable[[Command], str], width: int
) -> list[Spans]:
    """All commands by scope, the active ones first; what cannot be used now is dim and says why."""
    order = [*active, *(each for each in Scope if each not in active)]
    lines: list[Spans] = []
    reasons: dict[str, None] = {}
    for scope in order:
        rows = commands.of_scopes([scope])
        if not rows:
            continue
        here = scope in active
        elsewhere = "" if here else " (not here)" if width < 50 else " (not on this screen)"
        lines.append(((f"{scope.capitalize()}{elsewhere}", "bold"),))
        for each in rows:
            reason = refusal(each) if here else ""
            if reason and each.changes:
                reasons[reason] = None
            lines += _entry(each, bool(reason) or not here, width, glyphs)
        lines.append(())
    for reason in reasons:
        lines[:0] = [((each, "warn"),) for each in textwrap.wrap(f"dim: {reason}", max(20, width))]
    lines += legend(glyphs, width)
    return lines


def _entry(command: Command, dim: bool, width: int, glyphs: Glyphs) -> list[Spans]:
    enter = "⏎" if glyphs.name == "unicode" else "enter"
    keys = " ".join(enter if each == "enter" else key_text(each) for each in command.keys)
    argument = f" {command.argument}" if command.argument else ""
    names = f":{command.names[0]}{argument}" if command.names else ""
    names_width = _NAMES if width >= 90 else 12
    left = 2 + _KEYS + names_width + 1
    if narrow := width - left < _LEAST:
        left = 4
    text = textwrap.wrap(command.help, max(20, width - left))
    style, key_style = ("dim", "dim") if dim else ("", "key")
    if narrow and 2 + _KEYS + len(names) > width:
        names, text = "", [*textwrap.wrap(names, max(20, width - left)), *text]
    head: Spans = ((f"  {keys:<{_KEYS - 1}} ", key_style), (f"{names:<{names_width}} ", style))
    rest = [((" " * left + each, style),) for each in text]
    if narrow or len(keys) >= _KEYS or len(names) > names_width:
        return [head, *rest]  # a line of its own: the words stay in their column
    return [(*head, (text[0], style)), *rest[1:]]


def legend(glyphs: Glyphs, width: int) -> list[Spans]:
    """What symbols, – and ? stand for."""
    lines: list[Spans] = [(("Symbols", "bold"),)]
    for state, symbol in glyphs.states.items():
        style = STATE_STYLES.get(state, "") if state != "ok" else ""
        lines.append(((f"  {symbol:<4}", style), (state.upper(), "")))
    first, *more = textwrap.wrap("not known; empty: does not apply; 0 is zero; dim: old", max(20, width - 6))
    lines.append((("  –   ", "dim"), (first, "")))
    lines += [((" " * 6 + each, ""),) for each in more]
    return lines
