"""An escape is an escape whatever comes right behind it, and what is pasted presses no key."""

from __future__ import annotations

import pytest
from textual._xterm_parser import XTermParser
from textual.events import Key, Paste

from nimify_tui.ui.keyboard import KeyParser


def names(parser: XTermParser, *pieces: str) -> list[str]:
    """The keys of what comes in piece by piece, pasted text in quotes; the last piece must leave none waiting."""
    events = [event for piece in pieces for event in parser.feed(piece) if isinstance(event, (Key, Paste))]
    return [repr(each.text) if isinstance(each, Paste) else each.key for each in events]


@pytest.mark.parametrize(
    ("behind", "key"),
    [
        ("r", "r"), ("y", "y"), ("R", "R"), ("\r", "enter"), (":", "colon"), ("1", "1"), ("\x04", "ctrl+d"),
        ("\x03", "ctrl+c"), ("\t", "tab"), (" ", "space"), ("é", "é"),
    ],
)  # fmt: skip
def test_what_comes_right_behind_an_escape_is_a_key_of_its_own(behind: str, key: str) -> None:
    assert names(KeyParser(), "\x1b" + behind) == ["escape", key]
    assert names(KeyParser(), "\x1b", behind) == ["escape", key]
    assert names(KeyParser(), "a\x1b" + behind + "\x1bq") == ["a", "escape", key, "escape", "q"]


def test_sabotage_textuals_own_parser_loses_the_escape() -> None:
    """Why there is one of our own: in a plan ``esc`` cancels, and ``enter`` may confirm."""
    parser = XTermParser()
    assert names(parser, "\x1b\r") == []
    parser._timeout_time = 0.0
    assert [each.key for each in parser.tick() if isinstance(each, Key)] == ["enter"]


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("\x1b[A", "up"), ("\x1bOP", "f1"), ("\x1b[1;5C", "ctrl+right"), ("\x1b[Z", "shift+tab"), ("\x1b[5~", "pageup"),
        ("\x1b\x7f", "ctrl+w"), ("\x1bb", "ctrl+left"),
    ],
)  # fmt: skip
def test_sequences_stay_one_key_however_they_are_cut(sent: str, key: str) -> None:
    assert names(KeyParser(), sent) == [key]
    assert names(KeyParser(), *sent) == [key]
    assert names(KeyParser(), "\x1b" + sent) == ["escape", key]


@pytest.mark.parametrize("inside", ["ab", "a\x1bry\r", "\x1b[", f"\x1b[{'9' * 40}:q\r", "\x1b\x1bq"])
def test_what_is_pasted_presses_no_key(inside: str) -> None:
    """Seen failing with the filter of KeyParser._keys_typed off: the letters of the sequence were pressed."""
    sent = f"\x1b[200~{inside}\x1b[201~q"
    for pieces in ((sent,), tuple(sent)):
        pasted, last = names(KeyParser(), *pieces)
        assert pasted.startswith("'")
        assert last == "q"
