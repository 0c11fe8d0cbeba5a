"""Text that attacks the operator's terminal. What shows it may change its own cell and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Mapping
from types import MappingProxyType

import pytest

#: name of the attack -> text. Escape sequences, Rich markup, bidi, zero width, size, encoding, layout.
CORPUS: Mapping[str, str] = MappingProxyType(
    {
        "clear screen": "a\x1b[2J\x1b[Hb",
        "colours that stay": "\x1b[31;7mred",
        "cursor moves": "\x1b[10;10Hhere\x1b[5A\x1b[20D",
        "alternate screen": "\x1b[?1049l",
        "8-bit CSI": "\x9b2J\x9b1;1Howned",
        "title OSC 0": "\x1b]0;owned\x07x",
        "clipboard OSC 52": "\x1b]52;c;cm0gLXJmIC8=\x07x",
        "hyperlink OSC 8": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
        "unfinished OSC": "\x1b]0;never ends ",
        "device query": "\x1b[6n\x1b[c\x1b[>0c",
        "DCS": "\x1bP$qm\x1b\\x",
        "charset shift": "\x0eqqq\x0f\x1b(0lqk",
        "reset": "\x1bc",
        "markup": "[bold red]x[/bold red][link=http://evil]y[/link][/]",
        "broken markup": "[/][[[bold",
        "markup action": "[@click=app.quit]go[/]",
        "newlines": "one\ntwo\r\nthree\rfour",
        "line separators": "one\u2028two\u2029three\x0b\x0cfour\x85five",
        "tabs": "a\tb\t\tc",
        "backspaces": "abc\b\b\b\b\b\bxyz",
        "bell and NUL": "a\x07b\x00c\x7f",
        "bidi override": "abc\u202edef\u202c\u2066ghi\u2069",
        "zero width": "a\u200bb\u200cc\u200dd\u2060e\ufefff",
        "zalgo": "h" + "\u0301\u0316\u0489" * 200 + "i",
        "combining first": "\u0301\u0301abc",
        "wide CJK": "日本語のとても長い名前です" * 4,
        "wide at the edge": "x" + "漢" * 40,
        "emoji": "🙂👨‍👩‍👧‍👦🏳️‍🌈🇪🇸👍🏽☠️",
        "tags and selectors": "a\U000e0041\U000e0042\ufe0fb",
        "lone surrogate": "a\ud800b\udfff",
        "private use": "\ue000\uf8ff\U000f0000",
        "hangul filler": "\u3164\u115f\uffa0x",
        "ten megabytes": "A\x1b[31m" * 1_700_000,
        "ten megabytes wide": "漢" * 3_300_000,
        "soft hyphens": "a\u00adb\u00ad",
        "synchronised output": "\x1b[?2026hnever drawn",
        "rich style tags": "{bold}x{/bold} %s %(x)s {0} $crit",
    }
)

#: Characters that must never be sent to a terminal out of foreign text.
FORBIDDEN = frozenset(
    [chr(c) for c in (*range(0x20), *range(0x7F, 0xA0))]
    + [chr(c) for c in (*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0xAD)]
    + [chr(c) for c in (*range(0xD800, 0xE000),)]
)


def switch_off_cleaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sabotage: in every module text is only cut, never cleaned. The modules are all loaded before: one that
    took the cleaning's name while it was switched off would keep it."""
    import nimify_tui.ui

    for found in pkgutil.walk_packages(nimify_tui.ui.__path__, "nimify_tui.ui."):
        importlib.import_module(found.name)
    for name, module in list(sys.modules.items()):
        if name.startswith("nimify_tui."):
            for function in ("clean_line", "inert"):
                if hasattr(module, function):
                    monkeypatch.setattr(module, function, lambda text, limit=512: text[:limit])
