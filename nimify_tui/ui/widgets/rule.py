"""Rule: one thin line with a title at its left and its facts at its right, in place of a frame."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.ui.widgets.canvas import LineCanvas
from nimify_tui.ui.widgets.cells import Line, SpanLike, clean_spans, line_width


class Rule(LineCanvas):
    """``── services ──────────── worst first · 14 of 14 ──``

    ``set_active(True)`` shows that the pane below has the focus (bold title and a marker).
    """

    def __init__(
        self,
        title: str = "",
        facts: Sequence[SpanLike] | str = (),
        *,
        id: str | None = None,  # noqa: A002 - Textual's own parameter name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._title: Sequence[SpanLike] = ((title, "title"),)
        self._facts: Sequence[SpanLike] = (facts,) if isinstance(facts, str) else facts
        self._active = False

    def set(
        self,
        title: str | Sequence[SpanLike] | None = None,
        facts: Sequence[SpanLike] | str | None = None,
    ) -> None:
        """Change title (text, or spans) and/or facts; None leaves as it is."""
        if title is not None:
            self._title = ((title, "title"),) if isinstance(title, str) else title
        if facts is not None:
            self._facts = (facts,) if isinstance(facts, str) else facts
        self.redraw()

    def set_active(self, active: bool) -> None:
        """Say whether the pane under the rule has the focus."""
        self._active = active
        self.redraw()

    def draw(self, y: int) -> Line:
        """The rule; facts give way to the title when there is no room for both."""
        if y:
            return ()
        glyphs, width = self.glyphs, self.cols
        dash = glyphs.rule
        lead = f"{glyphs.closed}{dash}" if self._active else dash * 2
        title = clean_spans(self._title, max(0, width - 6))
        if self._active:
            title = tuple((text, f"{style} bold") for text, style in title)
        taken = 2 + (line_width(title) + 2 if title else 0)
        facts = clean_spans(self._facts, max(0, width - taken - 5))
        middle = width - taken - (line_width(facts) + 4 if facts else 0)
        parts: list[tuple[str, str]] = [(lead, "rule")]
        if title:
            parts += [(" ", ""), *title, (" ", "")]
        parts.append((dash * max(0, middle), "rule"))
        if facts:
            styled = [(text, style or "dim") for text, style in facts]
            parts += [(" ", ""), *styled, (" ", ""), (dash * 2, "rule")]
        return tuple(parts)
