"""The samples of series read together are what each of them says alone, and pages of columns are read as any page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nimify_tui.backends.prometheus.columns import _MARK, Columns
from nimify_tui.domain.measures import ModelSample
from nimify_tui.sources.metrics.adapters import Reader
from nimify_tui.sources.metrics.exposition import Page, Parser, Series
from nimify_tui.sources.metrics.labelled import Column, LabelSets
from nimify_tui.sources.metrics.reading import Histograms, by_model

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.prom"))
TIMES = (10.0, 25.5, 40.123)
VALUES = st.sampled_from(["0", "1.5", "-1", "NaN", "+Inf", "-Inf", "1e-300", "12345678901234567890"])
ROW = st.lists(st.tuples(st.sampled_from(TIMES), VALUES), max_size=3, unique_by=lambda pair: pair[0]).map(sorted)
#: Many series have the same scrapes, as they have in life.
ROWS = st.one_of(
    st.lists(ROW, max_size=6),
    st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=6).map(
        lambda rows: [list(zip(TIMES, row, strict=False)) for row in rows]
    ),
)


def raw(row: Sequence[tuple[float, str]]) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(row, separators=(",", ":")).encode())


@given(rows=ROWS, ahead_s=st.sampled_from([0.0, 30.0]))
@example(rows=[[(10.0, "-1")], [(10.0, "1"), (25.5, "2")], [(10.0, "3"), (25.5, "-1"), (40.123, "5")]], ahead_s=0.0)
@settings(max_examples=300, deadline=None)
def test_series_together_say_what_each_says_alone(rows: list[list[tuple[float, str]]], ahead_s: float) -> None:
    """Seen failing without the look at the marks: three series of one, two and three samples were three of two.

    What is no number is no sample: seen failing where it was one.
    """
    columns = Columns([raw(row) for row in rows], ahead_s)
    alone = [{at - ahead_s: float(value) for at, value in row if value != "NaN"} for row in rows]
    times = sorted({at for row in alone for at in row}, reverse=True)
    assert (columns.count, columns.samples, columns.times()) == (len(rows), sum(map(len, alone)), times)
    for when in [*times, 17.0]:
        expected = [row.get(when) for row in alone]
        assert repr(columns.at(when)) == repr(expected)
        assert columns.told(when) == sum(when in row for row in alone)
        whole = columns.whole(when)
        assert whole is None or repr(whole) == repr(expected)
        # Where each series has the same times, none is looked for one by one.
        assert whole is not None or len({tuple(row) for row in alone}) != 1 or None in expected


HOSTILE = [
    b"{}", b"null", b'"x"', b"5", b"[]", b"[[]]", b"[[1]]", b"[1,2]", b'[[1,"2"],3]', b'[[1,"2,3"]]', b'[[1,"]["]]',
    b'[[1,2,3]]', b'[[1,"1e999"]]', b'[["NaN","1"]]', b"[[[[[1]]]]]", b'[[1,"' + b"9" * 400 + b'"]]',
    f'[[1,"2"],{_MARK!r},[3,"4"]]'.encode(), f'[[1,"{_MARK!r}"]]'.encode(),
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=[each[:20].decode() for each in HOSTILE])
def test_what_is_no_list_of_samples_is_refused_or_is_of_its_own_series_alone(text: bytes) -> None:
    """Whatever a server writes there: an error of the reader's, or numbers; the series beside it are as they were."""
    good = raw([(1.0, "7")])
    for texts in ([text], [text, bytes(good)], [bytes(good), text], [bytes(good), text, bytes(good)]):
        try:
            columns = Columns([msgspec.Raw(each) for each in texts])
        except msgspec.MsgspecError:
            continue
        assert columns.count == len(texts)
        assert all(not math.isnan(at) for at in columns.times())
        for place, each in enumerate(texts):
            if each == bytes(good):
                assert columns.at(1.0)[place] == 7.0


@pytest.mark.parametrize("path", SAMPLES, ids=[path.stem for path in SAMPLES])
def test_a_page_of_columns_is_read_as_a_page_of_lines(path: Path) -> None:
    """Real servers' pages, twice: what was found out about their labels is right for other values as well."""
    reader = Reader()
    lines = Parser(reader.wanted).parse(path.read_bytes()).series
    assert lines
    sets = {name: LabelSets([each.labels for each in series]) for name, series in lines.items()}
    for factor in (1.0, 3.0):
        page = {name: [Series(each.labels, each.value * factor) for each in series] for name, series in lines.items()}
        columns = {name: Column(sets[name], [each.value for each in series]) for name, series in page.items()}
        assert {name: list(column) for name, column in columns.items()} == page
        assert {name: column[0] for name, column in columns.items()} == {name: told[0] for name, told in page.items()}
        told = reader.understand(page, 1.0, "p")
        assert repr(reader.understand(columns, 1.0, "p")) == repr(told)


def test_what_is_known_of_labels_is_known_of_one_unit_and_one_label() -> None:
    """Seen failing with plans known without their scale, and with all that is known of labels under one name."""
    sets = LabelSets([(("model", "a"), ("le", "100")), (("model", "a"), ("le", "+Inf"))])
    page = Page({"d_bucket": Column(sets, [3.0, 4.0])}, frozenset())
    histograms = Histograms()
    found = [histograms.read(page, "d", scale) for scale in (1.0, 1e-3)]
    assert [each.bounds_s for each in found if each is not None] == [(100.0,), (0.1,)]

    def read(page: Page) -> ModelSample:
        return ModelSample(duration=histograms.read(page, "d"))

    assert by_model(page, ("d_bucket",), read) is None
    assert set(by_model(page, ("d_bucket",), read, "le") or ()) == {"100", "+Inf"}
