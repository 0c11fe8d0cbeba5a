"""StatusLine: one or a few lines of styled spans that never ask for a layout."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.ui.widgets.canvas import LineCanvas
from nimify_tui.ui.widgets.cells import Line, SpanLike, clean_spans, line_width


class StatusLine(LineCanvas):
    """Lines of spans, with an optional part at the right end of the first line.

    Set its height in the style sheet (1 by default). ``spans``: ``(text, style names)`` or plain strings.
    """

    def __init__(self, spans: Sequence[SpanLike] = (), *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's own parameter name
        super().__init__(id=id, classes=classes)
        self._content: list[tuple[Sequence[SpanLike], Sequence[SpanLike]]] = [(tuple(spans), ())]

    def set_spans(self, spans: Sequence[SpanLike], right: Sequence[SpanLike] = ()) -> None:
        """Show one line: ``spans`` at the left, ``right`` at the right (it wins when both do not fit)."""
        self._content = [(spans, right)]
        self.redraw()

    def set_lines(self, lines: Sequence[Sequence[SpanLike]]) -> None:
        """Show several lines; those below the widget's height are not seen."""
        self._content = [(line, ()) for line in lines]
        self.redraw()

    def draw(self, y: int) -> Line:
        """The line's spans, padded between left and right."""
        if y >= len(self._content):
            return ()
        left, right = self._content[y]
        end = clean_spans(right, self.cols)
        room = self.cols - line_width(end)
        if not end:
            return clean_spans(left, room)
        start = clean_spans(left, max(0, room - 1))
        return (*start, (" " * (room - line_width(start)), ""), *end)


class StripLine(StatusLine):
    """Items side by side that wrap to the widget's lines, each whole: the region strip."""

    def __init__(self, *, gap: int = 3, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's own parameter name
        super().__init__(id=id, classes=classes)
        self._gap = gap
        self._items: Sequence[Sequence[SpanLike]] = ()

    def set_items(self, items: Sequence[Sequence[SpanLike]]) -> None:
        """Each item is a sequence of spans; an item never breaks over two lines if it fits on one."""
        self._items = items
        self._wrap()
        self.redraw()

    def sized(self) -> None:
        """Wrap for the new width."""
        self._wrap()

    def lines_needed(self, width: int) -> int:
        """How many lines the items take at ``width`` (for the screen that gives the height)."""
        return len(self._wrapped(width))

    def _wrap(self) -> None:
        if self.cols:
            self._content = [(line, ()) for line in self._wrapped(self.cols)]

    def _wrapped(self, width: int) -> list[list[SpanLike]]:
        lines: list[list[SpanLike]] = []
        used = 0
        for item in self._items:
            spans = clean_spans(item, width - 1)
            length = line_width(spans)
            if not lines or used + self._gap + length > width:
                lines.append([" ", *spans])
                used = 1 + length
            else:
                lines[-1].extend([" " * self._gap, *spans])
                used += self._gap + length
        return lines
