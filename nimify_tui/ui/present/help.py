"""The help overlay: this screen's keys first, then the others, then what the symbols mean."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from nimify_tui.ui import commands
from nimify_tui.ui.commands import Command, Scope, key_text
from nimify_tui.ui.glyphs import STATE_STYLES, Glyphs

Spans = tuple[tuple[str, str], ...]
_KEYS, _NAMES = 12, 20


def help_lines(active: Sequence[Scope], glyphs: Glyphs, refusal: Callable[[Command], str], width: int) -> list[Spans]:
    """All commands by scope, the active ones first; what cannot be used now is dim and says why."""
    order = [*active, *(each for each in Scope if each not in active)]
    lines: list[Spans] = []
    reasons: dict[str, None] = {}
    for scope in order:
        rows = commands.of_scopes([scope])
        if not rows:
            continue
        here = scope in active
        lines.append(((scope.capitalize() if here else f"{scope.capitalize()} (not on this screen)", "bold"),))
        for each in rows:
            reason = refusal(each) if here else ""
            if reason and each.changes:
                reasons[reason] = None
            lines += _entry(each, bool(reason) or not here, width)
        lines.append(())
    for reason in reasons:
        lines.insert(0, ((f"dim: {reason}", "warn"),))
    lines += legend(glyphs)
    return lines


def _entry(command: Command, dim: bool, width: int) -> list[Spans]:
    keys = " ".join(key_text(each) for each in command.keys)
    argument = f" {command.argument}" if command.argument else ""
    names = f":{command.names[0]}{argument}" if command.names else ""
    names_width = _NAMES if width >= 90 else 12
    names = f"{names:<{names_width}} " if len(names) <= names_width else f"{names} "
    left = 2 + _KEYS
    text = textwrap.wrap(names + command.help, max(20, width - left), subsequent_indent=" " * (names_width + 1))
    style = "dim" if dim else ""
    first: Spans = ((f"  {keys:<{_KEYS}}", "dim" if dim else "key"), (text[0], style))
    return [first, *(((" " * left + each, style),) for each in text[1:])]


def legend(glyphs: Glyphs) -> list[Spans]:
    """What symbols, – and ? stand for."""
    lines: list[Spans] = [(("Symbols", "bold"),)]
    for state, symbol in glyphs.states.items():
        style = STATE_STYLES.get(state, "") if state != "ok" else ""
        lines.append(((f"  {symbol:<4}", style), (state.upper(), "")))
    lines.append((("  –   ", "dim"), ("not known; empty: does not apply; 0 is zero; dim: old", "")))
    return lines
