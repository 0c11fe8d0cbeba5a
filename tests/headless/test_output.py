"""Data on stdout: a table, JSON, YAML and names; nothing in them that a terminal obeys."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimify_tui.headless.output import emit, table, to_json, to_json_line, to_yaml

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _obeyed(text: str) -> list[str]:
    return [char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")]


@given(_JSON)
def test_json_says_the_same_and_moves_no_terminal(data: object) -> None:
    for text in (to_json(data), to_json_line(data)):
        assert json.loads(text) == data


@pytest.mark.parametrize("nasty", ["\x1b[2J", "\x9b2J", "a\u202eb", "\u2028", "\x7f", "\ufeff"])
def test_what_a_terminal_obeys_is_escaped(nasty: str) -> None:
    assert _obeyed(to_json({"a": nasty})) == []
    assert _obeyed(to_yaml({nasty: [nasty]})) == []
    assert json.loads(to_json({"a": nasty})) == {"a": nasty}


def test_the_check_above_sees_a_raw_escape() -> None:
    """Sabotage: json.dumps without our escaping leaves what the check looks for."""
    assert _obeyed(json.dumps({"a": "\u202e"}, ensure_ascii=False)) != []


def test_yaml_nests_lists_and_tables() -> None:
    text = to_yaml({"a": [1, {"b": "x: y # no comment", "c": []}], "d": None, "e": {}})
    assert text == ('"a":\n  - 1\n  -\n    "b": "x: y # no comment"\n    "c": []\n"d": null\n"e": {}\n')


def test_a_table_is_as_wide_as_its_widest_cell_and_inert() -> None:
    text = table(("NAME", "TEXT"), [["a\x1b[31m", "one\ntwo"], ["longer-name", ""]])
    assert text == "NAME         TEXT\na            one two\nlonger-name\n"


@pytest.mark.parametrize(
    ("style", "shown"), [("name", "svc\n"), ("json", '{\n  "a": 1\n}\n'), ("yaml", '"a": 1\n')]
)
def test_one_answer_in_every_style(style: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    emit(style, {"a": 1}, ("A",), [["1"]], ["svc"])
    assert capsys.readouterr().out == shown
