"""The base of all widgets here: lines of styled runs, of which only the changed ones are repainted.

A subclass says what line ``y`` looks like (:meth:`LineCanvas.draw`) and calls :meth:`redraw` when its data
changed. Nothing ever asks for a layout; a line that looks as before is not touched.
"""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.events import Resize
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from nimify_tui.ui.glyphs import UNICODE, Glyphs
from nimify_tui.ui.theme import look
from nimify_tui.ui.widgets.cells import Line


class LineCanvas(Widget):
    """See the module's text. ``lines_drawn`` counts repainted lines, for tests and the meter."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None, disabled: bool = False) -> None:  # noqa: A002 - Textual's own parameter name
        super().__init__(id=id, classes=classes, disabled=disabled)
        self.lines_drawn = 0
        self._lines: list[Line | None] = []
        self._drawn_width = -1
        self._styles_by_name: dict[str, Style] = {}
        self._styles_from: object = None
        self._offset_x = 0

    # -- what subclasses give ----------------------------------------------------------------
    def draw(self, y: int) -> Line:
        """What viewport line ``y`` (0 at the top) shows now; clean text only."""
        return ()

    def sized(self) -> None:
        """Called after the size changed, before lines are drawn."""

    # -- what they get -----------------------------------------------------------------------
    @property
    def glyphs(self) -> Glyphs:
        """The terminal's symbols (UTF-8 unless the app says otherwise)."""
        glyphs = getattr(self.app, "glyphs", UNICODE)
        return glyphs if isinstance(glyphs, Glyphs) else UNICODE

    @property
    def cols(self) -> int:
        """Width of the drawn area, cells."""
        return int(self.content_size.width)

    @property
    def rows_high(self) -> int:
        """Height of the drawn area, lines."""
        return int(self.content_size.height)

    def redraw(self) -> int:
        """Compare each visible line with what is painted and repaint those that differ; how many."""
        if not self.is_mounted or not self.cols:
            return 0
        height = self.rows_high
        lines = self._lines
        if len(lines) != height or self._drawn_width != self.cols:
            self._lines = [None] * height
            self._drawn_width = self.cols
            self.lines_drawn += height
            self.refresh()
            return height
        changed: list[int] = []
        for y in range(height):
            if (old := lines[y]) is None:
                continue  # not painted since the last full refresh: render_line will draw it anew
            new = self.draw(y)
            if new is not old and new != old:
                lines[y] = new
                changed.append(y)
        if changed:
            width = self.cols
            self.refresh(*[Region(0, y, width, 1) for y in changed])  # relative to the content
            self.lines_drawn += len(changed)
        return len(changed)

    # -- Textual -----------------------------------------------------------------------------
    def render_line(self, y: int) -> Strip:
        """Paint line ``y`` (Textual's Line API)."""
        width = self.cols
        if len(self._lines) != self.rows_high or self._drawn_width != width:
            if self._drawn_width != width:
                self.sized()  # painted before the resize event came: never in the shape of the old width
            self._lines = [None] * self.rows_high
            self._drawn_width = width
        base = self.visual_style.rich_style
        if not 0 <= y < len(self._lines):
            return Strip.blank(width, base)
        line = self._lines[y]
        if line is None:
            line = self._lines[y] = self.draw(y)
        segments: list[Segment] = []
        last: tuple[str, Style] | None = None
        for text, names in line:
            style = self.style_named(names)
            if last is not None and last[1] is style:
                last = (last[0] + text, style)
                continue
            if last is not None:
                segments.append(Segment(*last))
            last = (text, style)
        if last is not None:
            segments.append(Segment(*last))
        strip = Strip(segments)
        if self._offset_x:
            strip = strip.crop(self._offset_x)
        return strip.adjust_cell_length(width, base)

    def style_named(self, names: str) -> Style:
        """The Rich style of space-separated style names on the widget's own; later names win."""
        if self._styles_from is not self.app.theme_variables:
            self._styles_from = self.app.theme_variables
            self._styles_by_name.clear()
        if (style := self._styles_by_name.get(names)) is not None:
            return style
        style = self.visual_style.rich_style
        for name in names.split():
            style += look(name, self.app.theme_variables)
        self._styles_by_name[names] = style
        return style

    def notify_style_update(self) -> None:
        """Theme or style sheet changed: resolve the styles anew."""
        self._styles_by_name.clear()
        super().notify_style_update()

    def on_resize(self, _: Resize) -> None:
        """Draw everything anew at the new size."""
        self._lines = []
        self.sized()
        self.redraw()
