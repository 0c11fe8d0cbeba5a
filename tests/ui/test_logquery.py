"""The log filter's language: what it lets through, its mistakes with their place, and anything at all typed into it."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nimify_tui.ui.logquery import FIELDS, LEVELS, QueryError, level_of, parse
from nimify_tui.ui.widgets.logbuffer import Origin

HERE = Origin("us-east-1", "chat-7d9f8b6c5-x2x7k", "main")
LINE = "18:42:07 x2x7k ERROR health check of /v1/models timed out, status=503"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", True),
        ("   ", True),
        ("timed", True),
        ("TIMED", False),
        ("error", True),
        ("Error", False),
        ("timed status=503", True),
        ("timed status=200", False),
        ("not timed", False),
        ("not not timed", True),
        ("timed not ready", True),
        ('"timed out"', True),
        ('"out timed"', False),
        ('not "health check"', False),
        ('"not" timed', False),
        ("pod:x2x7k", True),
        ("pod:chat-7d", True),
        ("replica:x2x7k", True),
        ("POD:x2x7k", True),
        ("pod:other", False),
        ("pod:other,x2x", True),
        ("not pod:x2x7k", False),
        ("container:main", True),
        ('container:"main"', True),
        ("container:side", False),
        ("region:us-east-1", True),
        ("region:use1", True),
        ("region:usw2,eu", False),
        ("level:error", True),
        ("level:fatal", True),
        ("level:warn", False),
        ("level:warn+", True),
        ("level:info,error", True),
        ("not level:debug", True),
        ("/timed (out|in)/", True),
        ("/TIMED/", True),
        ("/50[24]/", False),
        ("not /50[24]/", True),
        ("/v1/models", True),
        (r"/\/v1\/models/", True),
        ("/v1/models/x", False),
        ("pod:x2x7k level:warn+ timed not /200/", True),
        ("18:42:07", True),
        ("status:503", False),
        ("http://x", False),
    ],
)
def test_what_is_shown(query: str, shown: bool) -> None:
    assert parse(query).test(LINE, HERE) is shown


@pytest.mark.parametrize(
    ("query", "at", "said"),
    [
        ("timed not", 6, "not what?"),
        ('a "open', 2, 'this " is never closed'),
        ('a ""', 2, "nothing stands between the quotes"),
        ("pod:", 4, "pod: what?"),
        ("pod:a, b", 6, "pod: what?"),
        ("level:", 6, "level: what?"),
        ("x level:eror", 8, "there is no level 'eror'"),
        ("level:warn,bad", 11, "there is no level 'bad'"),
        ("lvl:warn", 0, "there is no lvl:, but level:"),
        ("a contaner:main", 2, "there is no contaner:, but container:"),
        ("/a(/", 2, "not a regular expression"),
        ('pod:"a"b', 7, "a blank is missing here"),
        ("x" * 1001, 1000, "at most 1,000 characters"),
    ],
)
def test_a_mistake_is_told_with_its_place(query: str, at: int, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(query)
    assert said in caught.value.message
    assert caught.value.at == at
    assert f"(at character {at + 1})" in caught.value.message


def test_marks_of_ours_are_hidden_by_places_and_by_no_word() -> None:
    mark = HERE._replace(mark=True)
    assert parse("level:error nowhere not stream").test("-- the stream broke --", mark)
    assert parse("pod:x2x7k").test("-- the stream broke --", mark)
    assert not parse("pod:other").test("-- the stream broke --", mark)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("ERROR no such file", "error"),
        ("INFO retry after error", "info"),
        ("level=warn msg=x", "warn"),
        ('{"severity": "CRITICAL"}', "error"),
        ("Traceback (most recent call last):", "error"),
        ("E1123 18:42:07.120000       1 server.go:42] gone", "error"),
        ("I1123 18:42:07.120000       1 server.go:42] error is only a word here", "info"),
        ("[WARNING] hm", "warn"),
        ("DEBUG x", "debug"),
        ("errors: 0", ""),
        ("just words", ""),
        ("x" * 1000 + " error", ""),
    ],
)
def test_how_grave_a_line_is(line: str, level: str) -> None:
    assert level_of(line) == level


def test_a_pods_own_name_is_no_level() -> None:
    line = "18:42:07 error-api all is well"
    assert level_of(line) == "error"
    assert level_of(line, len("18:42:07 error-api ")) == ""


WORD = st.text("abcdefgh.-", min_size=1, max_size=6).filter(lambda word: word != "not")
TERM = st.one_of(
    WORD,
    WORD.map(lambda word: f'"{word} {word}"'),
    WORD.map(lambda word: f"/{re.escape(word)}/"),
    st.tuples(st.sampled_from(FIELDS[:3]), WORD).map(":".join),
    st.sampled_from(LEVELS).map(lambda level: f"level:{level}"),
)
TEXT = st.text("abcdefgh .-", max_size=30)
ORIGIN = st.builds(Origin, region=WORD, replica=WORD, container=WORD, lead=st.just(0), mark=st.just(False))


@given(terms=st.lists(TERM, max_size=5), line=TEXT, origin=ORIGIN)
def test_terms_side_by_side_are_all_true_and_their_order_does_not_matter(
    terms: list[str], line: str, origin: Origin
) -> None:
    together = parse(" ".join(terms)).test(line, origin)
    assert together == all(parse(term).test(line, origin) for term in terms)
    assert together == parse("  ".join(reversed(terms))).test(line, origin)


@given(term=TERM, line=TEXT, origin=ORIGIN)
def test_not_turns_a_term_round(term: str, line: str, origin: Origin) -> None:
    assert parse(f"not {term}").test(line, origin) is not parse(term).test(line, origin)


@given(text=st.text(min_size=1, max_size=40), before=TEXT, after=TEXT)
def test_what_is_quoted_is_found_as_it_is(text: str, before: str, after: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert parse(f'"{quoted}"').test(before + text + after, HERE)


def assert_understood(query: str, line: str) -> None:
    """It says yes or no, or where the mistake is."""
    at = 0
    try:
        assert parse(query).test(line, HERE) in (True, False)
    except QueryError as error:
        at = error.at
    assert 0 <= at <= len(query)


@settings(max_examples=500)
@given(query=st.text('podlevconiagrt:",/\\ +()[]*?\n\u202eé', max_size=40))
@example("/" + "(" * 200 + "/")
@example("not " * 200)
@example("level:" + "," * 300)
def test_anything_typed_is_understood_or_a_mistake_with_a_place_in_it(query: str) -> None:
    assert_understood(query, LINE)


@given(query=st.text(max_size=60), line=st.text(max_size=60))
def test_any_text_at_all(query: str, line: str) -> None:
    assert_understood(query, line)
