"""Feed: events, newest first, in a bounded buffer that says what it dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import ClassVar

from nimify_tui.ui.widgets.cells import Line, inert
from nimify_tui.ui.widgets.columns import Column
from nimify_tui.ui.widgets.table import Key, LiveTable, Row


class Feed(LiveTable):
    """Events as rows with keys (an event's identity), newest first.

    While the cursor stands on the newest event it stays on the newest; anywhere else it follows its
    event. ``Activated`` opens an event. ``dropped`` counts what the buffer (or the source) let go.
    """

    #: A feed is read more often than it is walked through: no cursor until it has the focus.
    BLUR: ClassVar[str] = ""

    def __init__(
        self,
        columns: Sequence[Column] = (),
        *,
        max_rows: int = 1000,
        empty: str = "no events",
        header: bool = False,
        gap: int = 2,
        lead: bool = True,
        id: str | None = None,  # noqa: A002 - Textual's own parameter name
        classes: str | None = None,
    ) -> None:
        super().__init__(
            columns, empty=empty, header=header, more=False, gap=gap, lead=lead, id=id, classes=classes
        )
        self._max_rows = max_rows
        self._source_dropped = 0
        self._own_dropped = 0
        self._events: dict[Key, Row] = {}

    @property
    def dropped(self) -> int:
        """Events that are gone: by the source's count and by this buffer's."""
        return self._source_dropped + self._own_dropped

    @property
    def facts(self) -> str:
        """For the rule above: ``12 events · 1,204 older dropped``."""
        return f"{len(self.order):,} events · {self.dropped:,} dropped"

    def set_events(self, events: Iterable[tuple[Key, Row]], dropped: int = 0) -> None:
        """Show exactly ``events`` (newest first); ``dropped``: how many the source let go before."""
        self._source_dropped = dropped
        pairs = iter(events)
        self._events = dict(islice(pairs, self._max_rows))
        self._own_dropped = sum(1 for _ in pairs)
        self._show()

    def push(self, events: Iterable[tuple[Key, Row]], dropped: int = 0) -> None:
        """Add ``events`` (newest first) before those already here; ``dropped`` adds to the count."""
        self._source_dropped += dropped
        new = dict(events)
        merged = new | {key: row for key, row in self._events.items() if key not in new}
        if (surplus := len(merged) - self._max_rows) > 0:
            self._own_dropped += surplus
            merged = dict(islice(merged.items(), self._max_rows))
        self._events = merged
        self._show()

    def _show(self) -> None:
        newest = self.cursor_index <= 0
        self.set_rows(tuple(self._events), self._events)
        if newest and self.order and self.cursor_index != 0 and not self.order_frozen:
            self.move_to(0)

    def draw(self, y: int) -> Line:
        """A row, or after the last one what was dropped."""
        line = y - (self.rows_high - self.body_height)
        if self.order and self.dropped and self.top + line == len(self.order):
            return ((inert(f"   {self.dropped:,} older events dropped", max(1, self.cols)), "dim"),)
        return super().draw(y)
