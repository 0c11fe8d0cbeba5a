"""A canvas longer than its window: own scrolling, no scrollbars, no layout."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import MouseScrollDown, MouseScrollUp

from nimify_tui.ui.widgets.canvas import LineCanvas


class Scrolling(LineCanvas):
    """Base of panels and log views. Subclasses give :meth:`total_lines` and draw from ``top``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_by(-1)", "up", show=False),
        Binding("down,j", "scroll_by(1)", "down", show=False),
        Binding("pageup", "scroll_pages(-1)", "page up", show=False),
        Binding("pagedown", "scroll_pages(1)", "page down", show=False),
        Binding("home,g", "scroll_edge(0)", "first", show=False),
        Binding("end,G", "scroll_edge(1)", "last", show=False),
    ]

    top = 0

    def total_lines(self) -> int:
        """Lines there are."""
        return 0

    @property
    def last_top(self) -> int:
        """The window's position at the end."""
        return max(0, self.total_lines() - self.rows_high)

    def scrolled(self) -> None:
        """Called after the operator scrolled."""

    def scroll_line_to(self, top: int) -> None:
        """Put line ``top`` first (clamped)."""
        self.top = min(self.last_top, max(0, top))
        self.scrolled()
        self.redraw()

    def action_scroll_by(self, step: int) -> None:
        """Some lines up or down."""
        self.scroll_line_to(self.top + step)

    def action_scroll_pages(self, step: int) -> None:
        """One page, a line of overlap."""
        self.scroll_line_to(self.top + step * max(1, self.rows_high - 1))

    def action_scroll_edge(self, last: int) -> None:
        """To the beginning or the end."""
        self.scroll_line_to(self.last_top if last else 0)

    def on_mouse_scroll_down(self, _: MouseScrollDown) -> None:
        """Three lines down."""
        self.action_scroll_by(3)

    def on_mouse_scroll_up(self, _: MouseScrollUp) -> None:
        """Three lines up."""
        self.action_scroll_by(-3)
