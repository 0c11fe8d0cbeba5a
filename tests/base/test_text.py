"""Foreign text is inert: nothing a terminal obeys, reorders or hides survives cleaning."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.base.text import clean_block, clean_line, shorten_middle

_NASTY = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            "\x1b[]()#;?0123456789mHJKhl\x07\x9b\x9d\x90\x9c\\\r\n\t\x00\x08\x7f\u202e\u2066\u200d\ufe0f\u0301"
        ),
        st.characters(),
    ),
    max_size=300,
)


def _obeyed(text: str) -> list[str]:
    return [
        char
        for char in text
        if unicodedata.category(char) in ("Cc", "Cs", "Cf", "Zl", "Zp") and char != "\u00ad"
    ]


@given(_NASTY)
def test_nothing_a_terminal_obeys_survives(text: str) -> None:
    cleaned = clean_line(text, 100)
    assert _obeyed(cleaned) == []
    assert len(cleaned) <= 100
    assert clean_line(cleaned, 100) == cleaned


def test_the_check_above_sees_an_escape_when_cleaning_is_off() -> None:
    """Sabotage: without clean_line the same check finds what it looks for."""
    assert _obeyed("\x1b[31mred\u202e") != []


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
def test_plain_text_is_left_as_it_is(text: str) -> None:
    assert clean_line(text, 100) == text


@pytest.mark.parametrize(
    ("foreign", "inert"),
    [
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;cm0gLXJmIC8=\x1b\\after", "after"),
        ("\x1bPq#0;2\x1b\\after", "after"),
        ("a\r\nb\tc", "a b c"),
        ("abc\u202edcba", "abcdcba"),
        ("[red]not markup[/red]", "[red]not markup[/red]"),
        ("é" + "\u0301" * 50, "é" + "\u0301" * 4),
        ("名前 モデル", "名前 モデル"),
    ],
)
def test_known_attacks(foreign: str, inert: str) -> None:
    assert clean_line(foreign, 100) == inert


def test_ten_megabytes_are_cut_before_they_are_scanned() -> None:
    assert clean_line("\x1b[31m" * 2_000_000 + "end", 50) == "…"
    assert clean_line("x" * 10_000_000, 50) == "x" * 49 + "…"


def test_a_block_says_what_was_cut() -> None:
    lines = clean_block("a\n" * 5000, max_lines=10)
    assert lines[:10] == ["a"] * 10
    assert "cut" in lines[10]


@given(st.text(max_size=60), st.integers(min_value=1, max_value=40))
def test_shortening_keeps_both_ends(name: str, width: int) -> None:
    short = shorten_middle(name, width)
    assert len(short) <= max(width, 1)
    if len(name) <= width:
        assert short == name
    elif width >= 3:
        assert short[0] == name[0]
        assert short[-1] == name[-1]
