"""Hostile text through every widget: its own cell may change, nothing else; and without cleaning, this fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from rich.color import ColorSystem
from textual.widget import Widget

from nimify_tui.ui.celltext import CellText
from nimify_tui.ui.widgets import cells, lineedit
from nimify_tui.ui.widgets.cells import SpanLike
from nimify_tui.ui.widgets.chart import ChartData, ChartSeries, LatencyChart
from nimify_tui.ui.widgets.dialog import Ask, Dialog
from nimify_tui.ui.widgets.feed import Feed
from nimify_tui.ui.widgets.logview import LogView
from nimify_tui.ui.widgets.panel import TextPanel
from nimify_tui.ui.widgets.prompt import Prompt
from nimify_tui.ui.widgets.rule import Rule
from nimify_tui.ui.widgets.table import Column, LiveTable, Row
from nimify_tui.ui.widgets.textline import StatusLine, StripLine
from nimify_tui.ui.widgets.timeaxis import ChartMark
from tests.hostile import CORPUS, FORBIDDEN
from tests.tui import PtyRun, run_app, screen_strips
from tests.widgets.support import HostApp

COLUMNS = (Column("a", "NAME", 14), Column("b", "WORD", 10, flex=1), Column("c", "LAST", 6, align="right"))
WIDTH, HEIGHT = 60, 6
#: ``(widget, feed it a text, the region (lines, first column, last column) that the text may change)``.
Case = tuple[Callable[[], Widget], Callable[[Any, str], None], tuple[range, int, int]]


def _row(text: str) -> Row:
    return Row(("plain", text, "last"), state="ok")


def _table(widget: Any, text: str) -> None:
    widget.set_rows((1, 2, 3), {1: _row("x"), 2: _row(text), 3: _row("y")})


def _feed(widget: Any, text: str) -> None:
    widget.set_events([(1, _row("x")), (2, _row(text)), (3, _row("y"))])


def _log(widget: Any, text: str) -> None:
    widget.clear()
    widget.append(["first", text, "third"])
    widget._repaint()


def _chart(widget: Any, text: str) -> None:
    points = [(float(at), 1.0 + at % 3) for at in range(0, 3600, 15)]
    series = (ChartSeries(text, "p95", points),)
    widget.set_data(ChartData(series, 3600.0, marks=(ChartMark(1800.0, text),), slo_text=text))


def _prompt(widget: Any, text: str) -> None:
    widget.start("/", "", hint=text)


def _suggestion(widget: Any, text: str) -> None:
    widget.start(":", "", suggest=lambda _: ("plain", text, "last"))


def _ghost(widget: Any, text: str) -> None:
    widget.start(":", "o", suggest=lambda _: (f"o{text}",))


def _error(widget: Any, text: str) -> None:
    widget.start("/", "")
    widget.show_error(text)


def _dialog(
    lines: Sequence[Sequence[SpanLike]] = (("first",), ("second",), ("third",)),
    *,
    title: str = "plan",
    ask: Ask = "typed",
    name: str = "x",
    hint: str = "",
    blocked: str = "",
) -> Dialog:
    return Dialog(title, lines, ask=ask, name=name, hint=hint, blocked=blocked, width=WIDTH)


CASES: dict[str, Case] = {
    "table": (lambda: LiveTable(COLUMNS), _table, (range(2, 3), 19, 52)),
    "feed": (lambda: Feed(COLUMNS), _feed, (range(1, 2), 19, 52)),
    "rule": (Rule, lambda w, t: w.set([("title ", "title"), (t, "")], "facts"), (range(1), 9, WIDTH)),
    "rule facts": (Rule, lambda w, t: w.set("title", t), (range(1), 10, WIDTH)),
    "status": (StatusLine, lambda w, t: w.set_spans(["left ", (t, "warn")], ["right"]), (range(1), 5, 54)),
    "strip": (StripLine, lambda w, t: w.set_items([["before"], [t]]), (range(1), 10, WIDTH)),
    "panel": (TextPanel, lambda w, t: w.set_lines([["a"], ["b ", t], ["c"]]), (range(1, 2), 3, WIDTH)),
    "log": (LogView, _log, (range(1, 2), 0, WIDTH)),
    "chart": (LatencyChart, _chart, (range(HEIGHT), 0, WIDTH)),
    "prompt hint": (Prompt, _prompt, (range(1), 2, WIDTH)),
    "prompt value": (Prompt, lambda w, t: w.start("/", t), (range(1), 1, WIDTH)),
    "prompt suggestion": (Prompt, _suggestion, (range(2, 3), 1, WIDTH)),
    "prompt ghost": (Prompt, _ghost, (range(2), 1, WIDTH)),
    "prompt error": (Prompt, _error, (range(1, 2), 1, WIDTH)),
}

#: ``(make the dialog with a text in it, the region that the text may change)``.
DIALOGS: dict[str, tuple[Callable[[str], Dialog], tuple[range, int, int]]] = {
    "body": (lambda t: _dialog([["first"], [t], ["third"]]), (range(4, 5), 2, WIDTH - 3)),
    "title": (lambda t: _dialog(title=t), (range(2, 3), 3, WIDTH - 1)),
    "hint": (lambda t: _dialog(hint=t), (range(7, 8), 2, WIDTH - 3)),
    "hint of one to read": (lambda t: _dialog(ask="none", hint=t), (range(7, 8), 2, WIDTH - 3)),
    "confirm with y": (lambda t: _dialog([["first"], ["x"], [t]], ask="y"), (range(5, 6), 2, WIDTH - 3)),
    "name to type": (lambda t: _dialog(name=t), (range(7, 8), 8, WIDTH - 3)),
    "why it is blocked": (lambda t: _dialog(blocked=t), (range(7, 8), 2, WIDTH - 3)),
}


def _cells(app: Any) -> list[list[str]]:
    cells = CellText(ColorSystem.TRUECOLOR)
    return [[cells.cell(char) for char in cells.line(strip)[0]] for strip in screen_strips(app)]


def check(drawn: list[list[str]], plain: list[list[str]], region: tuple[range, int, int]) -> None:
    """Every line has its width, no forbidden character, and is as before outside ``region``."""
    lines, first, last = region
    for y, (now, before) in enumerate(zip(drawn, plain, strict=True)):
        assert len(now) == len(before), f"line {y} is {len(now)} cells wide"
        for x, (cell, was) in enumerate(zip(now, before, strict=True)):
            assert not FORBIDDEN.intersection(cell), f"{cell!r} at {x},{y}"
            assert len(cell) <= 5, f"{cell!r} at {x},{y}"
            inside = y in lines and first <= x < last
            assert inside or cell == was, f"{was!r} became {cell!r} at {x},{y}"


def attack(case: Case) -> None:
    make, feed, region = case

    async def script(app: Any, pilot: Any) -> None:
        widget = app.query_one(Widget)
        if not isinstance(widget, StripLine):  # an item that is too long goes to the next line
            widget.styles.height = HEIGHT
        feed(widget, "harmless")
        await pilot.pause()
        plain = _cells(app)
        for text in CORPUS.values():
            feed(widget, text)
            await pilot.pause()
            check(_cells(app), plain, region)

    run_app(lambda: HostApp(lambda: [make()]), script, size=(WIDTH, HEIGHT))


@pytest.mark.parametrize("name", CASES)
def test_hostile_text_changes_only_its_own_cell(name: str) -> None:
    attack(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_sabotage_without_cleaning_the_same_check_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "clean_line", lambda text, limit=512: text[:limit])
    with pytest.raises(AssertionError):
        attack(CASES[name])


def attack_dialog(name: str) -> None:
    make, region = DIALOGS[name]

    async def script(app: Any, pilot: Any) -> None:
        async def shown(text: str) -> list[list[str]]:
            app.push_screen(make(text))
            await pilot.pause()
            drawn = _cells(app)
            app.pop_screen()
            return drawn

        plain = await shown("harmless")
        assert "harmless" in "".join("".join(plain[y]) for y in region[0])
        for text in CORPUS.values():
            check(await shown(text), plain, region)

    run_app(lambda: HostApp(list), script, size=(WIDTH, 11))


@pytest.mark.parametrize("name", DIALOGS)
def test_hostile_text_in_a_dialog(name: str) -> None:
    attack_dialog(name)


@pytest.mark.parametrize("name", DIALOGS)
def test_sabotage_without_cleaning_the_dialog_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "clean_line", lambda text, limit=512: text[:limit])
    with pytest.raises(AssertionError):
        attack_dialog(name)


def test_sabotage_text_that_is_not_cleaned_when_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineedit, "clean_line", lambda text, limit=512: text[:limit])
    with pytest.raises(AssertionError):
        test_typed_and_pasted_text_is_inert()


def test_typed_and_pasted_text_is_inert() -> None:
    async def script(app: Any, pilot: Any) -> None:
        from textual.events import Paste

        prompt = app.query_one(Prompt)
        for text in CORPUS.values():
            prompt.start("/")
            prompt.on_paste(Paste(text))
            assert not FORBIDDEN.intersection(prompt.value)
            assert len(prompt.value) <= 256

    run_app(lambda: HostApp(lambda: [Prompt()]), script, size=(WIDTH, HEIGHT))


PROGRAM = """
import sys
from tests.hostile import CORPUS
from tests.widgets.support import HostApp
from tests.widgets.test_hostile import COLUMNS, _row
from nimify_tui.ui.widgets.table import LiveTable
from nimify_tui.ui.widgets import cells, lineedit
from nimify_tui.ui.widgets.cells import SpanLike
from nimify_tui.ui.widgets.timeaxis import ChartMark
hostile = sys.argv[1] == "hostile"
if sys.argv[2] == "sabotage":
    cells.clean_line = lambda text, limit=512: text[:limit]
class Shown(HostApp):
    def on_mount(self):
        texts = list(CORPUS.values()) if hostile else ["harmless"] * len(CORPUS)
        rows = {i: _row(text) for i, text in enumerate(texts)}
        self.query_one(LiveTable).set_rows(tuple(rows), rows)
Shown(lambda: [LiveTable(COLUMNS)], utf8=True).run(mouse=False)
"""


def _in_terminal(texts: str, sabotage: str = "no") -> list[str]:
    argv = [sys.executable, "-c", PROGRAM, texts, sabotage]
    with PtyRun(argv, width=WIDTH, height=len(CORPUS) + 2, env={"COLORTERM": "truecolor"}) as tty:
        tty.wait(lambda text: text.count("plain") >= 3, 15)
        tty.wait_quiet(0.3)
        lines = range(len(CORPUS) + 2)
        return [tty.columns(y, 0, 18) + "|" + tty.columns(y, 53, WIDTH) for y in lines]


def test_a_real_terminal_shows_the_neighbours_unharmed() -> None:
    plain = _in_terminal("plain")
    assert sum("plain" in line for line in plain) == len(CORPUS)
    assert _in_terminal("hostile") == plain
    with pytest.raises(AssertionError):
        assert _in_terminal("hostile", "sabotage") == plain
