"""TextPanel: lines of styled spans, scrollable when they are more than fit (GPU, cache, why, detail)."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.ui.widgets.cells import Line, SpanLike, clean_spans, line_width
from nimify_tui.ui.widgets.scrolling import Scrolling

#: ``(left spans, right spans)``.
Sided = tuple[Sequence[SpanLike], Sequence[SpanLike]]


class TextPanel(Scrolling, can_focus=True):
    """Lines of spans. ``indent`` blanks stand before each line; ``more`` says "…3 more" in the last line."""

    def __init__(
        self,
        *,
        empty: str = "",
        indent: int = 1,
        more: bool = True,
        id: str | None = None,  # noqa: A002 - Textual's own parameter name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._rows: Sequence[Sequence[SpanLike]] = ()
        self._right: Sequence[Sequence[SpanLike]] = ()
        self._empty = empty
        self._indent = indent
        self._more = more

    def set_lines(self, lines: Sequence[Sequence[SpanLike]], right: Sequence[Sequence[SpanLike]] = ()) -> None:
        """Show ``lines``; ``right[i]`` stands at the right end of line ``i`` (it wins over the left)."""
        self._rows = lines
        self._right = right
        self.top = min(self.top, self.last_top)
        self.redraw()

    def set_text(self, lines: Sequence[str], style: str = "") -> None:
        """Show plain lines in one style."""
        self.set_lines([((line, style),) for line in lines])

    def set_empty(self, text: str) -> None:
        """What to say when there are no lines."""
        self._empty = text
        self.redraw()

    def total_lines(self) -> int:
        """Lines given."""
        return len(self._rows)

    def draw(self, y: int) -> Line:
        """One line of the window."""
        pad = " " * self._indent
        if not self._rows:
            return clean_spans([pad, (self._empty, "dim")], self.cols) if y == 0 else ()
        index = self.top + y
        hidden = len(self._rows) - self.top - self.rows_high
        if self._more and hidden > 0 and y == self.rows_high - 1:
            return ((f"{pad}{self.glyphs.ellipsis}{hidden + 1} more"[: self.cols], "dim"),)
        if index >= len(self._rows):
            return ()
        left = [pad, *self._rows[index]]
        end = clean_spans(self._right[index], self.cols) if index < len(self._right) else ()
        if not end:
            return clean_spans(left, self.cols)
        start = clean_spans(left, max(0, self.cols - line_width(end) - 1))
        return (*start, (" " * (self.cols - line_width(start) - line_width(end)), ""), *end)
