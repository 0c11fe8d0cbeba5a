"""The base of all widgets here: lines of styled runs, of which only the changed ones are repainted.

A subclass says what line ``y`` looks like (:meth:`LineCanvas.draw`) and calls :meth:`redraw` when its data
changed. Nothing ever asks for a layout; a line that looks as before is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.events import Resize
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from nimify_tui.ui.celltext import one_cell_each
from nimify_tui.ui.glyphs import UNICODE, Glyphs
from nimify_tui.ui.theme import look
from nimify_tui.ui.widgets.cells import Line

#: What is painted over a widget's lines or beside them.
_AROUND = ("outline_top", "outline_right", "outline_bottom", "outline_left", "hatch", "tint")


class LineCanvas(Widget):
    """See the module's text. ``lines_drawn`` counts repainted lines, for tests and the meter."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None, disabled: bool = False) -> None:  # noqa: A002 - Textual's own parameter name
        super().__init__(id=id, classes=classes, disabled=disabled)
        self.lines_drawn = 0
        self._lines: list[Line | None] = []
        self._drawn_width = -1
        self._styles_by_name: dict[str, Style] = {}
        self._offset_x = 0
        #: Strips by line, with the line that each shows; and what they were painted under.
        self._painted: dict[int, tuple[Line, Strip]] = {}
        self._painted_as: tuple[object, ...] | None = None
        self._filtered: dict[str, Style] = {}

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
            self.refresh(*self._regions(changed))
            self.lines_drawn += len(changed)
        return len(changed)

    def _regions(self, lines: Sequence[int]) -> list[Region]:
        """Lines, neighbours together, relative to the content."""
        width = self.cols
        begins = [y for at, y in enumerate(lines) if not at or lines[at - 1] != y - 1]
        ends = [y + 1 for at, y in enumerate(lines) if at + 1 == len(lines) or lines[at + 1] != y + 1]
        return [Region(0, first, width, end - first) for first, end in zip(begins, ends, strict=True)]

    # -- Textual -----------------------------------------------------------------------------
    def render_lines(self, crop: Region) -> list[Strip]:
        """Paint the lines of ``crop``: each once, until it looks otherwise.

        Textual asks for all lines of a widget when one of them changed, and makes four strips of each new one (the
        line, its width, its borders, its colours); without borders, padding and the like there is one.
        """
        if not self._plain():
            return super().render_lines(crop)
        self._resolve()
        lines, width = self._shaped(), self.cols
        strips = [self._strip(lines, y, width) for y in crop.line_range]
        first, last = crop.column_span
        return strips if (first, last) == (0, width) else [strip.crop(first, last) for strip in strips]

    def render_line(self, y: int) -> Strip:
        """Paint line ``y`` without the screen's filters (Textual's Line API, for a widget with a border)."""
        self._resolve()
        segments, _ = self._segments(self._line(self._shaped(), y), self._styles_by_name, self.style_named)
        width = self.cols
        return Strip(segments).crop(self._offset_x).adjust_cell_length(width, self.visual_style.rich_style)

    def _plain(self) -> bool:
        """Whether the widget is its content alone."""
        styles = self.styles
        return (
            not styles.gutter
            and not styles.has_any_rules(*_AROUND)
            and styles.text_opacity == 1.0
            and self.opacity == 1.0
            and self.size == self.content_size
        )

    def _resolve(self) -> None:
        """Forget what is painted when it would look otherwise now."""
        filters, base = tuple(self.get_line_filters()), self.visual_style.rich_style
        background, offset_x = self.background_colors[1], self._offset_x
        now = (self.app.theme_variables, filters, base, background, self.cols, offset_x)
        if self._painted_as is None or any(a is not b and a != b for a, b in zip(now, self._painted_as, strict=True)):
            self._painted_as = now
            self._painted.clear()
            self._filtered.clear()
            self._styles_by_name.clear()

    def _shaped(self) -> list[Line | None]:
        """The lines, as many and as wide as the widget is now."""
        width, height = self.content_size
        if len(self._lines) != height or self._drawn_width != width:
            if self._drawn_width != width:
                self.sized()  # painted before the resize event came: never in the shape of the old width
            self._lines = [None] * height
            self._drawn_width = width
        return self._lines

    def _line(self, lines: list[Line | None], y: int) -> Line:
        """What line ``y`` shows, drawn when nobody did."""
        if not 0 <= y < len(lines):
            return ()
        line = lines[y]
        if line is None:
            line = lines[y] = self.draw(y)
        return line

    def _strip(self, lines: list[Line | None], y: int, width: int) -> Strip:
        line = self._line(lines, y)
        known = self._painted.get(y)
        if known is not None and (known[0] is line or known[0] == line):
            return known[1]
        segments, length = self._segments(line, self._filtered, self._style_filtered)
        if self._offset_x:
            strip = Strip(segments, length).crop(self._offset_x).adjust_cell_length(width, self._style_filtered(""))
        elif length <= width:
            if length < width:
                segments.append(Segment(" " * (width - length), self._style_filtered("")))
            strip = Strip(segments, width)
        else:
            strip = Strip(segments, length).adjust_cell_length(width)
        self._painted[y] = (line, strip)
        return strip

    def _segments(
        self, line: Line, known: Mapping[str, Style], styled: Callable[[str], Style]
    ) -> tuple[list[Segment], int]:
        """A line in Textual's terms, and how many cells it takes; ``styled`` tells a style that is not ``known``."""
        segments: list[Segment] = []
        held, last = "", None
        for text, names in line:
            style = known.get(names)
            if style is None:
                style = styled(names)
            if style is last:
                held += text
                continue
            if last is not None:
                segments.append(Segment(held, last))
            held, last = text, style
        if last is not None:
            segments.append(Segment(held, last))
        # Once for a line: most of what it costs is asking at all.
        whole = "".join([text for text, _ in line])
        return segments, len(whole) if one_cell_each(whole) else cell_len(whole)

    def _style_filtered(self, names: str) -> Style:
        """The style of such a run as the screen's filters leave it; they look at nothing but styles."""
        if (style := self._filtered.get(names)) is not None:
            return style
        segments = [Segment("x", self.style_named(names))]
        for each in self.get_line_filters():
            segments = each.apply(segments, self.background_colors[1])
        style = self._filtered[names] = segments[0].style or Style.null()
        return style

    def style_named(self, names: str) -> Style:
        """The Rich style of space-separated style names on the widget's own; later names win."""
        if (style := self._styles_by_name.get(names)) is not None:
            return style
        style = self.visual_style.rich_style
        for name in names.split():
            style += look(name, self.app.theme_variables)
        self._styles_by_name[names] = style
        return style

    def notify_style_update(self) -> None:
        """Theme or style sheet changed: resolve the styles anew."""
        self._painted_as = None
        super().notify_style_update()

    def on_resize(self, _: Resize) -> None:
        """Draw everything anew at the new size."""
        self._lines = []
        self.sized()
        self.redraw()
