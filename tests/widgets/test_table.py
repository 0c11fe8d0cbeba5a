"""LiveTable: identity, order, marks, columns, and that only what changed is drawn."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest

from nimify_tui.ui.widgets.columns import Column, place
from nimify_tui.ui.widgets.table import Cell, LiveTable, Row
from tests.tui import check_golden, run_app, screen_lines, screen_styles, screen_text
from tests.widgets.program import COLUMNS, row
from tests.widgets.support import HostApp

ORDER = ("a", "b", "c", "d", "e")


def rows(*keys: str, value: str = "1") -> dict[str, Row]:
    return {key: Row((key * 3, value)) for key in keys}


class TableApp(HostApp):
    def __init__(self, **options: Any) -> None:
        columns = (Column("name", "NAME", 8), Column("value", "VALUE", 6, align="right"))
        super().__init__(lambda: [LiveTable(columns, **options)])

    def on_live_table_cursor_moved(self, message: LiveTable.CursorMoved) -> None:
        self.seen.append(("cursor", message.key))

    def on_live_table_activated(self, message: LiveTable.Activated) -> None:
        self.seen.append(("open", message.key))

    def on_live_table_marks_changed(self, message: LiveTable.MarksChanged) -> None:
        self.seen.append(("marks", message.marked))

    def on_live_table_toggled(self, message: LiveTable.Toggled) -> None:
        self.seen.append(("toggle", message.key, message.opened))


def with_table(script: Any, size: tuple[int, int] = (40, 7), **options: Any) -> None:
    async def run(app: Any, pilot: Any) -> None:
        table = app.query_one(LiveTable)
        table.focus()
        table.set_rows(ORDER, rows(*ORDER))
        await pilot.pause()
        await script(app, pilot, table)

    run_app(lambda: TableApp(**options), run, size=size)


def test_the_cursor_follows_its_row_wherever_the_order_puts_it() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        await pilot.press("j", "down")
        assert table.cursor_key == "c"
        table.set_rows(("e", "d", "c", "a", "b"), rows(*ORDER))
        assert (table.cursor_key, table.cursor_index) == ("c", 2)
        table.set_rows(("c", "e", "d", "a", "b"), rows(*ORDER))
        assert (table.cursor_key, table.cursor_index) == ("c", 0)
        await pilot.pause()
        assert screen_lines(app)[1].startswith("▌  ccc")
        assert [key for kind, key in app.seen if kind == "cursor"] == ["a", "b", "c"]

    with_table(script)


@pytest.mark.parametrize(
    ("start", "left", "cursor"),
    [("c", ("a", "b", "d", "e"), "d"), ("e", ("a", "b", "c"), "c"), ("c", ("a",), "a"), ("c", (), None)],
)
def test_when_its_row_goes_the_cursor_goes_to_the_nearest_neighbour(start: str, left: Any, cursor: Any) -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        table.select(start)
        table.set_rows(left, rows(*left))
        assert table.cursor_key == cursor
        await pilot.pause()
        assert app.seen[-1] == ("cursor", cursor)

    with_table(script)


def test_a_filtered_row_leaves_the_cursor_to_its_neighbour_and_keeps_its_mark() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        table.select("b")
        await pilot.press("space", "space")
        assert table.marked == {"b", "c"}
        table.set_rows(("a", "c"), rows(*ORDER))
        assert table.cursor_key == "c"
        assert table.hidden_marked == {"b"}
        await pilot.press("g", "ctrl+@")
        assert table.marked == {"a", "b", "c"}
        table.clear_marks()
        await pilot.pause()
        assert app.seen[-1] == ("marks", frozenset())

    with_table(script)


def test_a_frozen_order_holds_while_rows_change_and_thaws_to_the_newest() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        table.freeze_order()
        table.set_rows(("e", "c", "b", "a", "new"), rows("a", "b", "c", "e", "new", value="2"))
        assert list(table.order) == ["a", "b", "c", "e", "new"]
        await pilot.pause()
        assert screen_lines(app)[1].split() == ["▌", "aaa", "2"]
        table.thaw_order()
        assert table.order == ("e", "c", "b", "a", "new")
        assert table.cursor_key == "a"

    with_table(script)


def test_sabotage_without_freezing_the_same_rows_change_place() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        table.set_rows(("e", "c", "b", "a"), rows("a", "b", "c", "e"))
        assert list(table.order) != ["a", "b", "c", "e"]

    with_table(script)


def test_only_changed_lines_are_drawn() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        same = rows(*ORDER)
        table.set_rows(ORDER, same)
        assert table.set_rows(ORDER, dict(same)) == 0
        assert table.set_rows(ORDER, same | rows("b", value="9")) == 1
        assert table.set_rows(ORDER, same | rows("b")) == 1
        assert table.set_rows(ORDER, same | rows("b")) == 0, "equal though not the same object"
        await pilot.pause()
        before = table.lines_drawn
        await pilot.press("j")
        assert table.lines_drawn - before == 2

    with_table(script)


def test_rows_out_of_sight_cost_nothing() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        many = {n: row(n, 1) for n in range(5000)}
        table.set_columns(COLUMNS)
        table.set_rows(tuple(many), many)
        await pilot.pause()
        assert table.set_rows(tuple(many), many | {n: row(n, 2) for n in range(100, 5000)}) == 0

    with_table(script)


def test_keys_open_mark_and_unfold() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        tree = rows(*ORDER) | {"b": Row(("bbb", "1"), expander="closed"), "c": Row(("ccc", "1"), expander="open")}
        table.set_rows(ORDER, tree)
        await pilot.press("j", "enter", "right", "left", "j", "left", "right")
        await pilot.pause()
        assert app.seen[1:] == [
            ("cursor", "b"), ("open", "b"), ("toggle", "b", True), ("cursor", "c"), ("toggle", "c", False),
        ]  # fmt: skip

    with_table(script)


def test_paging_and_edges_keep_the_cursor_in_view() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        many = {str(n): Row((f"row {n}", "")) for n in range(100)}
        table.set_rows(tuple(many), many)
        for key in ("G", "pageup", "pageup", "k", "g", "pagedown", "end", "home", "pagedown", "down"):
            await pilot.press(key)
            await pilot.pause()
            assert any(f"row {table.cursor_key}" in line and "▌" in line for line in screen_lines(app)), key
        await pilot.press("G")
        await pilot.pause()
        assert "more" not in screen_text(app)
        assert "row 99" in screen_lines(app)[6]

    with_table(script)


def test_an_empty_table_says_why() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        table.set_rows((), {})
        table.set_empty("no match; esc clears the filter")
        await pilot.pause()
        assert screen_lines(app)[1].strip() == "no match; esc clears the filter"
        await pilot.press("enter", "space", "j", "G", "pagedown", "right")
        assert table.cursor_key is None

    with_table(script)


def test_columns_leave_by_priority_and_keep_their_width_whatever_the_content() -> None:
    keys = [[p.column.key for p in place(COLUMNS, width, 2, 3)] for width in (120, 66, 60, 40)]
    assert keys == [
        ["service", "where", "ready", "rps", "p50", "p95", "reason"],
        ["service", "where", "ready", "p95", "reason"],
        ["service", "where", "ready", "p95", "reason"],
        ["service", "ready", "p95", "reason"],
    ]
    for width in range(30, 220):
        placed = place(COLUMNS, width, 2, 3)
        assert all(a.x + a.width + 2 == b.x for a, b in pairwise(placed))
        if [p.column.key for p in placed] != ["service", "ready", "p95", "reason"]:
            assert placed[-1].x + placed[-1].width <= width
        assert place(COLUMNS, width, 2, 3) == placed


def test_a_bad_row_has_a_symbol_and_colour_a_good_one_is_plain() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        shown = {
            "a": Row(("good", "1"), state="ok"),
            "b": Row(("poor", Cell("2", "warn")), state="degraded"),
            "c": Row(("gone", "3"), state="down", style="bad"),
        }
        table.set_rows(("a", "b", "c"), shown)
        table.select("c")
        await pilot.pause()
        assert [line[:7] for line in screen_lines(app)[1:4]] == [" ● good", " ▲ poor", "▌✕ gone"]
        assert len({style for _, style in screen_styles(app, 1)}) == 1
        assert len({style for _, style in screen_styles(app, 2)}) == 2

    with_table(script)


def test_thirty_thousand_rows_fill_in_time() -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        table.set_columns(COLUMNS)
        many = {n: row(n, n % 90) for n in range(30_000)}
        order = tuple(many)
        took = []
        for turn in range(3):
            start = time.process_time()
            table.set_rows(order if turn % 2 else order[::-1], many)
            await pilot.pause()
            took.append(time.process_time() - start)
        assert min(took) <= 0.060, took

    with_table(script, (120, 40))


@pytest.mark.parametrize(("width", "height"), [(80, 14), (120, 14), (200, 14)])
def test_golden(width: int, height: int) -> None:
    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        many = {n: row(n, n * 7) for n in range(30)}
        table.set_columns(COLUMNS)
        table.set_rows(tuple(many), many)
        await pilot.press("j", "space")
        await pilot.pause()
        check_golden(f"table-{width}x{height}", screen_text(app))

    with_table(script, (width, height))


def test_what_an_empty_table_would_say_is_told_while_a_row_is_gone_already() -> None:
    """The presenter of the rows is of the new frame by then; it crashed the console when a service was deleted."""

    async def script(app: Any, pilot: Any, table: LiveTable) -> None:
        given = rows(*ORDER)
        table.set_rows(ORDER, given)
        await pilot.pause()
        del given["b"]
        table.set_empty("nothing matches")
        table.set_rows(("a", "c", "d", "e"), given)
        await pilot.pause()
        assert "bbb" not in screen_text(app)
        table.set_empty("all gone")
        table.set_rows((), {})
        await pilot.pause()
        assert "all gone" in screen_text(app)

    with_table(script)
