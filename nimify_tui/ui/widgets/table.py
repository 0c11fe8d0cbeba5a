"""LiveTable: tens of thousands of rows, of which only what changed in view is repainted.

Rows are immutable and known by key; a row object that is the same as before costs nothing. Cursor and
marks belong to keys, so they follow their row wherever a new order puts it. Texts may be hostile.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.events import Blur, Click, Focus, MouseScrollDown, MouseScrollUp
from textual.message import Message

from nimify_tui.ui.glyphs import STATE_STYLES
from nimify_tui.ui.widgets.cells import Cell, Line, Run, fit, inert
from nimify_tui.ui.widgets.columns import Column, Placed, place
from nimify_tui.ui.widgets.picking import Picking

Key = Hashable
__all__ = ["Cell", "Column", "Key", "LiveTable", "Row"]
#: Cursor/mark column, symbol, blank.
_LEAD_CELLS = 3


class Row(NamedTuple):
    """One row: cells in the order of the columns (a plain string is a Cell without style).

    state: "ok", "degraded", "down", "starting", "stopped", "unknown" (drawn as a symbol) or one
    character to draw as it is; style: for the whole row (a cell's own style wins); indent: depth in a
    tree; expander: "", "open" or "closed".
    """

    cells: tuple[Cell | str, ...]
    state: str = ""
    style: str = ""
    indent: int = 0
    expander: str = ""


class LiveTable(Picking, can_focus=True):
    """See the module's text.

    Set ``columns``, then call :meth:`set_rows` as often as there is a new frame. ``header``: draw the
    titles in the first line. ``more``: say "…5 more" in the last line when rows are left below.
    ``lead``: the cells at the left for cursor, mark and state symbol.
    """

    #: Style of the cursor's row while something else has the focus.
    BLUR: ClassVar[str] = "blur"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "cursor(-1)", "up", show=False),
        Binding("down,j", "cursor(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "edge(0)", "first", show=False),
        Binding("end,G", "edge(1)", "last", show=False),
        Binding("space", "mark", "mark", show=False),
        Binding("ctrl+@", "mark_range", "mark range", show=False),
        Binding("enter", "activate", "open", show=False),
        Binding("right", "side(1)", "open branch", show=False),
        Binding("left", "side(-1)", "close branch", show=False),
    ]

    @dataclass(eq=False)
    class CursorMoved(Message):
        """The cursor stands on another row (or on none: key None)."""

        table: LiveTable
        key: Key | None

        @property
        def control(self) -> LiveTable:
            """For ``@on(LiveTable.CursorMoved, "#id")``."""
            return self.table

    @dataclass(eq=False)
    class Activated(Message):
        """Enter (or a second click) on a row."""

        table: LiveTable
        key: Key

        @property
        def control(self) -> LiveTable:
            """For ``@on``."""
            return self.table

    @dataclass(eq=False)
    class MarksChanged(Message):
        """The set of marked keys changed."""

        table: LiveTable
        marked: frozenset[Key]

        @property
        def control(self) -> LiveTable:
            """For ``@on``."""
            return self.table

    @dataclass(eq=False)
    class Toggled(Message):
        """The operator wants the row's branch opened or closed."""

        table: LiveTable
        key: Key
        opened: bool

        @property
        def control(self) -> LiveTable:
            """For ``@on``."""
            return self.table

    def __init__(
        self,
        columns: Sequence[Column] = (),
        *,
        empty: str = "nothing here",
        header: bool = True,
        more: bool = True,
        gap: int = 2,
        lead: bool = True,
        id: str | None = None,  # noqa: A002 - Textual's own parameter name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._placed: tuple[Placed, ...] = ()
        self._rows: Mapping[Any, Row] = {}
        self._empty = empty
        self._header = 1 if header else 0
        self._more = more
        self._gap = gap
        self._lead = _LEAD_CELLS if lead else 0
        self._cache: dict[tuple[Key, int, bool], tuple[Row, Line]] = {}

    # -- data --------------------------------------------------------------------------------
    def set_columns(self, columns: Sequence[Column], *, gap: int | None = None) -> None:
        """Use other columns; rows given later have their cells in this order."""
        if tuple(columns) == self._columns and (gap is None or gap == self._gap):
            return
        self._columns = tuple(columns)
        self._gap = self._gap if gap is None else gap
        self.sized()
        self.redraw()

    def set_rows(self, order: Sequence[Key], rows: Mapping[Any, Row]) -> int:
        """Show ``rows`` in ``order``; returns how many lines were repainted.

        ``order`` must not be changed by the caller afterwards. A key in ``order`` must be in ``rows``;
        keys only in ``rows`` are not shown (filtered). While the order is frozen the rows change and
        their order does not: what is new comes last.
        """
        self._rows = rows
        self.accept_order(order, rows)
        return self.redraw()

    def row(self, key: Key) -> Row | None:
        """The row of ``key``, shown or not."""
        return self._rows.get(key)

    def set_empty(self, text: str) -> None:
        """What an empty table says (why it is empty, and what to do)."""
        self._empty = text
        if not self.order:  # rows are drawn when they are given: of those that are gone nobody knows anything by now
            self.redraw()

    @property
    def shown_columns(self) -> tuple[str, ...]:
        """Keys of the columns that fit at this width."""
        return tuple(placed.column.key for placed in self._placed)

    def width_of_column(self, key: str) -> int:
        """Cells that a column has at this size; 0 when it is not shown."""
        return next((placed.width for placed in self._placed if placed.column.key == key), 0)

    # -- drawing -----------------------------------------------------------------------------
    def sized(self) -> None:
        """Choose columns for the new width."""
        self._cache.clear()
        self._lines = []
        self._placed = place(self._columns, self.cols, self._gap, self._lead)
        if self._placed:
            self._offset_x = min(self._offset_x, max(0, self._full_width() - self.cols))
        self.keep_in_view()

    def _full_width(self) -> int:
        return self._placed[-1].x + self._placed[-1].width if self._placed else 0

    @property
    def body_height(self) -> int:
        """Lines for rows."""
        return max(0, self.rows_high - self._header)

    def draw(self, y: int) -> Line:
        """Header, a row, the empty text, or how many more there are."""
        if y < self._header:
            return self._draw_header()
        line = y - self._header
        count = len(self.order)
        if not count:
            return ((inert(f"   {self._empty}", max(1, self.cols)), "dim"),) if line == 0 else ()
        index = self.top + line
        hidden = count - (self.top + self.body_height)
        if self._more and hidden > 0 and line == self.body_height - 1:
            return ((f"   {self.glyphs.ellipsis}{hidden + 1} more", "dim"),)
        if index >= count:
            return ()
        key = self.order[index]
        return self._draw_row(key, self._rows[key], index == self.cursor_index, key in self.marked)

    def _draw_header(self) -> Line:
        runs: list[Run] = []
        x = 0
        for placed in self._placed:
            runs.append((" " * (placed.x - x), ""))
            runs.append((fit(placed.column.title, placed.width, placed.column.align), "header"))
            x = placed.x + placed.width
        return tuple(runs)

    def _draw_row(self, key: Key, row: Row, cursor: bool, marked: bool) -> Line:
        slot = (key, (2 if self.has_focus else 1) if cursor else 0, marked)
        cached = self._cache.get(slot)
        if cached is not None and cached[0] is row:
            return cached[1]
        line = self._row_line(row, cursor, marked)
        if len(self._cache) > 1024:
            self._cache.clear()
        self._cache[slot] = (row, line)
        return line

    def _row_line(self, row: Row, cursor: bool, marked: bool) -> Line:
        glyphs = self.glyphs
        over = ("select" if self.has_focus else self.BLUR) if cursor else ""
        runs: list[Run] = []
        if self._lead:
            edge = glyphs.mark if marked else glyphs.cursor if cursor else " "
            state = row.state if len(row.state) <= 1 else glyphs.state(row.state)
            state_style = STATE_STYLES.get(row.state, row.style)
            runs.append((fit(edge, 1), _join(over, "mark") if marked else over))
            runs.append((fit(state, 1, ellipsis=""), _join(over, "" if state_style == "ok" else state_style)))
            runs.append((" ", over))
        x = self._lead
        for placed in self._placed:
            cell = row.cells[placed.index] if placed.index < len(row.cells) else ""
            text, style = (cell, "") if isinstance(cell, str) else cell
            if placed.x > x:
                runs.append((" " * (placed.x - x), over))
            if placed.column.tree and (row.indent or row.expander):
                text = self._tree_lead(row) + inert(text, 4 * placed.width)
            column = placed.column
            runs.append(
                (
                    fit(text, placed.width, column.align, column.shorten, glyphs.ellipsis),
                    _join(over, row.style, style),
                )
            )
            x = placed.x + placed.width
        if over and x < self.cols:
            runs.append((" " * (self.cols - x), over))
        return tuple(runs)

    def _tree_lead(self, row: Row) -> str:
        glyph = {"open": self.glyphs.open + " ", "closed": self.glyphs.closed + " "}.get(row.expander, "")
        return "  " * row.indent + glyph

    # -- keys --------------------------------------------------------------------------------
    def action_activate(self) -> None:
        """Open the row under the cursor."""
        if self.cursor_key is not None:
            self.post_message(self.Activated(self, self.cursor_key))

    def action_side(self, step: int) -> None:
        """Open or close a branch; else scroll sideways when the columns do not fit."""
        key = self.cursor_key
        row = self._rows.get(key) if key is not None else None
        if key is not None and row is not None and row.expander == ("closed" if step > 0 else "open"):
            self.post_message(self.Toggled(self, key, step > 0))
            return
        limit = max(0, self._full_width() - self.cols)
        wanted = min(limit, max(0, self._offset_x + 8 * step))
        if wanted != self._offset_x:
            self._offset_x = wanted
            self.refresh()

    def cursor_moved(self) -> None:
        """Tell whoever listens."""
        self.post_message(self.CursorMoved(self, self.cursor_key))

    def marks_changed(self) -> None:
        """Tell whoever listens."""
        self.post_message(self.MarksChanged(self, self.marked))

    def on_focus(self, _: Focus) -> None:
        """The cursor row shows the focus."""
        self.redraw()

    def on_blur(self, _: Blur) -> None:
        """The cursor row stays visible, weaker."""
        self.redraw()

    def on_click(self, event: Click) -> None:
        """A click moves the cursor, a second one on the same row opens it."""
        index = self.top + event.y - self.gutter.top - self._header
        if 0 <= index < len(self.order):
            if index == self.cursor_index and event.chain > 1:
                self.action_activate()
            self.move_to(index)

    def on_mouse_scroll_down(self, _: MouseScrollDown) -> None:
        """Three rows down."""
        self.scroll_rows(3)

    def on_mouse_scroll_up(self, _: MouseScrollUp) -> None:
        """Three rows up."""
        self.scroll_rows(-3)


def _join(*names: str) -> str:
    return " ".join(filter(None, names))


def rows_by_key(rows: Iterable[tuple[Key, Row]]) -> tuple[tuple[Key, ...], dict[Key, Row]]:
    """Convenience for small tables: ordered pairs to what :meth:`LiveTable.set_rows` takes."""
    pairs = dict(rows)
    return tuple(pairs), pairs
