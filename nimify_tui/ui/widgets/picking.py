"""Order, cursor, marks and window of a table, by identity; knows nothing of how a row looks."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Sequence

from nimify_tui.ui.widgets.canvas import LineCanvas


class Picking(LineCanvas):
    """Base of LiveTable. Subclasses give ``body_height`` and the two notifications."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's own parameter name
        super().__init__(id=id, classes=classes)
        self.order: Sequence[Hashable] = ()
        self.top = 0
        self.cursor_index = -1
        self.marked: frozenset[Hashable] = frozenset()
        self._cursor_key: Hashable | None = None
        self._mark_anchor: Hashable | None = None
        self._frozen = False
        self._waiting: Sequence[Hashable] | None = None
        self._known: Container[Hashable] = ()

    # -- given by the widget -----------------------------------------------------------------
    @property
    def body_height(self) -> int:
        """Lines for rows."""
        return 0

    def cursor_moved(self) -> None:
        """The cursor stands on another key."""

    def marks_changed(self) -> None:
        """The marks changed."""

    # -- order -------------------------------------------------------------------------------
    @property
    def cursor_key(self) -> Hashable | None:
        """Key of the row under the cursor, None when the table is empty."""
        return self._cursor_key

    @property
    def order_frozen(self) -> bool:
        """Whether new orders wait."""
        return self._frozen

    def freeze_order(self) -> None:
        """Keep the order from now on (a prompt is open): rows still change, no row changes place."""
        self._frozen = True

    def thaw_order(self) -> None:
        """Take the newest order that came in while frozen."""
        self._frozen = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._take(waiting)
            self.redraw()

    def accept_order(self, order: Sequence[Hashable], known: Container[Hashable]) -> None:
        """A new order came in; ``known``: the keys that have a row."""
        self._known = known
        if not self._frozen:
            self._take(order)
            return
        self._waiting = order
        wanted = set(order)
        kept = [key for key in self.order if key in wanted]
        if len(kept) < len(order):
            here = set(kept)
            kept.extend(key for key in order if key not in here)
        self._take(kept)

    def _take(self, order: Sequence[Hashable]) -> None:
        old, old_index = self.order, self.cursor_index
        self.order = order
        before = self._cursor_key
        if not order:
            self.cursor_index, self._cursor_key, self.top = -1, None, 0
        elif before is None:
            self._place(0)
        else:
            self._place(self._index_near(before, old, old_index))
        self.keep_in_view()
        if self._cursor_key != before:
            self.cursor_moved()

    def _index_near(self, key: Hashable, old: Sequence[Hashable], old_index: int) -> int:
        """Where ``key`` is now; when it is gone, where its nearest old neighbour is."""
        order = self.order
        if old_index < len(order) and order[old_index] == key:
            return old_index
        if key in self._known:
            try:
                return order.index(key)
            except ValueError:
                pass  # it has a row but is filtered out: its neighbour it is
        positions = {k: i for i, k in enumerate(order)}
        for distance in range(1, len(old)):
            for index in (old_index + distance, old_index - distance):
                if 0 <= index < len(old) and (at := positions.get(old[index])) is not None:
                    return at
        return min(max(0, old_index), len(order) - 1)

    def _place(self, index: int) -> None:
        self.cursor_index = index
        self._cursor_key = self.order[index]

    # -- window ------------------------------------------------------------------------------
    def keep_in_view(self) -> None:
        """Move the window so that the cursor's row is inside (the last line may say "…5 more")."""
        count, height, index = len(self.order), self.body_height, self.cursor_index
        if not count or not height:
            self.top = 0
            return
        top = min(self.top, max(0, count - height))
        room = height if count <= height else max(1, height - 1)
        if index >= 0:
            if index < top:
                top = index
            elif index >= top + room and top + height < count:
                top = min(index - room + 1, count - height)
        self.top = top

    def scroll_rows(self, step: int) -> None:
        """Scroll the window, the cursor stays inside."""
        limit = max(0, len(self.order) - self.body_height)
        self.top = min(limit, max(0, self.top + step))
        room = max(1, self.body_height - 1)
        if self.order:
            self.move_to(min(max(self.cursor_index, self.top), self.top + room - 1))

    # -- cursor ------------------------------------------------------------------------------
    def move_to(self, index: int) -> None:
        """Put the cursor on the row at ``index`` (clamped)."""
        if not self.order:
            return
        before = self._cursor_key
        self._place(min(max(0, index), len(self.order) - 1))
        self.keep_in_view()
        self.redraw()
        if self._cursor_key != before:
            self.cursor_moved()

    def select(self, key: Hashable) -> bool:
        """Put the cursor on ``key``; False when it is not shown."""
        try:
            self.move_to(self.order.index(key))
        except ValueError:
            return False
        return True

    def action_cursor(self, step: int) -> None:
        """One row up or down."""
        self.move_to(self.cursor_index + step)

    def action_page(self, step: int) -> None:
        """One page up or down."""
        size = max(1, self.body_height - 2)
        limit = max(0, len(self.order) - self.body_height)
        self.top = min(limit, max(0, self.top + step * size))
        self.move_to(self.cursor_index + step * size)

    def action_edge(self, last: int) -> None:
        """First or last row."""
        self.move_to(len(self.order) - 1 if last else 0)

    # -- marks -------------------------------------------------------------------------------
    def set_marked(self, keys: Iterable[Hashable]) -> None:
        """Mark exactly ``keys``; keys that are not shown stay marked too."""
        new = frozenset(keys)
        if new != self.marked:
            self.marked = new
            self.redraw()
            self.marks_changed()

    def clear_marks(self) -> None:
        """Mark nothing."""
        self.set_marked(())

    @property
    def hidden_marked(self) -> frozenset[Hashable]:
        """Marked keys that the present order does not show (a filter hides them)."""
        return self.marked.difference(self.order)

    def action_mark(self) -> None:
        """Mark or unmark the row under the cursor, then go one down."""
        if (key := self._cursor_key) is None:
            return
        self._mark_anchor = key
        self.set_marked(self.marked ^ {key})
        self.move_to(self.cursor_index + 1)

    def action_mark_range(self) -> None:
        """Mark all rows from the last one marked to the cursor."""
        if self._cursor_key is None:
            return
        start = self.cursor_index
        if self._mark_anchor in set(self.order):
            start = list(self.order).index(self._mark_anchor)
        low, high = sorted((start, self.cursor_index))
        self.set_marked(self.marked | set(self.order[low : high + 1]))
