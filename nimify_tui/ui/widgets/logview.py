"""LogView: live log lines in bounded memory, of which only the visible ones are ever drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType

from nimify_tui.ui.logquery import Query, level_of
from nimify_tui.ui.widgets.cells import Line, Run, inert, width_of
from nimify_tui.ui.widgets.logbuffer import LogBuffer, Origin, matcher
from nimify_tui.ui.widgets.scrolling import Scrolling

#: Between two repaints caused by new lines, seconds: a flood of lines is read by nobody.
MIN_REPAINT_S = 0.25
#: Sideways step, cells.
_SIDE_STEP = 20
_STYLES = {"error": "bad", "warn": "warn"}


class LogView(Scrolling, can_focus=True):
    """Follows the end until the operator scrolls up; then it stands still and counts what waits.

    Feed it with :meth:`append`. ``facts`` is the text for the rule above. ``levels``: lines that say that
    they are errors or warnings are seen as such.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "side(-1)", "left", show=False),
        Binding("right", "side(1)", "right", show=False),
        Binding("n", "search_step(1)", "next match", show=False),
        Binding("N", "search_step(-1)", "previous match", show=False),
        Binding("f", "follow", "follow", show=False),
    ]

    def __init__(
        self,
        *,
        max_lines: int = 50_000,
        max_bytes: int = 16_000_000,
        empty: str = "no lines yet",
        levels: bool = True,
        id: str | None = None,  # noqa: A002 - Textual's own parameter name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.buffer = LogBuffer(max_lines, max_bytes)
        self.following = True
        self._empty = empty
        self._levels = levels
        self._side = 0
        self._filter: Query | None = None
        self._search = ""
        self._anchor = 0  # number of the line at the top while not following
        self._seen_end = 0
        self._waiting_repaint = False
        self._source_dropped = 0
        #: Called when the operator's own keys made :attr:`facts` another text.
        self.told: Callable[[], object] = lambda: None

    # -- data --------------------------------------------------------------------------------
    def append(self, lines: Iterable[str], dropped: int = 0, origins: Iterable[Origin] = ()) -> None:
        """Add lines at the end, with where they come from; ``dropped``: how many the source left out before them."""
        self._source_dropped += dropped
        self.buffer.append(lines, origins)
        self._arrange()
        if self._waiting_repaint or not self.is_mounted:
            return
        self._waiting_repaint = True
        self.redraw()
        self.set_timer(MIN_REPAINT_S, self._repaint)

    def clear(self, empty: str | None = None) -> None:
        """Start over (another source); ``empty``: what to say until lines come."""
        self.buffer.clear()
        self._source_dropped = self._anchor = self._seen_end = self.top = 0
        self.following = True
        if empty is not None:
            self._empty = empty
        self.set_filter(self._filter)

    def _repaint(self) -> None:
        self._waiting_repaint = False
        self.redraw()

    def _arrange(self) -> None:
        """Keep the window: at the end when following, else on the same line."""
        if self.following:
            self.top = self.last_top
            self._seen_end = self.buffer.end
        else:
            self.top = min(self._index_of(self._anchor), self.last_top)

    @property
    def _banner(self) -> int:
        """1 when a line above the oldest says what was dropped."""
        return 1 if self.dropped else 0

    def _number(self, index: int) -> int:
        """Number of the line shown at ``index`` (the banner counts as the oldest line)."""
        return self.buffer.number_at(max(0, index - self._banner))

    def _index_of(self, number: int) -> int:
        """Where the first selected line not before ``number`` is shown."""
        low, high = 0, self.buffer.selected
        while low < high:
            middle = (low + high) // 2
            if self.buffer.number_at(middle) < number:
                low = middle + 1
            else:
                high = middle
        return low + self._banner if low else 0

    def total_lines(self) -> int:
        """Selected lines, and the one that says what was dropped."""
        selected = self.buffer.selected
        return selected + self._banner if selected else 0

    def sized(self) -> None:
        """Keep the place at the new height."""
        self._arrange()

    def scrolled(self) -> None:
        """Scrolling up stops following; reaching the end starts it again."""
        self.following = self.top >= self.last_top
        if self.following:
            self._seen_end = self.buffer.end
        elif self.buffer.selected:
            self._anchor = self._number(self.top)
        self.told()

    # -- what is said ------------------------------------------------------------------------
    @property
    def dropped(self) -> int:
        """Older lines that are gone."""
        return self.buffer.first + self._source_dropped

    @property
    def waiting(self) -> int:
        """Lines that came since the operator scrolled up."""
        return 0 if self.following else self.buffer.end - self._seen_end

    @property
    def facts(self) -> str:
        """For the rule: lines, filter, drops, and whether it follows."""
        parts = [f"{len(self.buffer):,} line{'' if len(self.buffer) == 1 else 's'}"]
        if self._filter is not None:
            more = "…" if self.buffer.scanning else ""
            parts.append(f"filter {inert(self._filter.text, 24)}: {self.buffer.selected:,}{more}")
        if self.dropped:
            parts.append(f"{self.dropped:,} older lines dropped")
        if self._side:
            parts.append(f"from column {self._side + 1}")
        elif self._cut():
            parts.append("right reads on")
        parts.append("following" if self.following else f"stopped, {self.waiting:,} new")
        return " · ".join(parts)

    def _cut(self) -> bool:
        """Whether a line in sight is longer than the view is wide."""
        last = min(self.top + self.rows_high, self.total_lines())
        return any(len(self.buffer.line(self._number(index))) > self.cols for index in range(self.top, last))

    def set_empty(self, text: str) -> None:
        """What to say as long as there are no lines."""
        if text != self._empty:
            self._empty = text
            self.redraw()

    # -- filter and search -------------------------------------------------------------------
    def set_filter(self, wanted: Query | None) -> None:
        """Show only matching lines; None shows all. Old lines are searched newest first, in batches."""
        self._filter = wanted
        self.buffer.set_filter(wanted.test if wanted is not None else None)
        self._scan()

    def _scan(self) -> None:
        if not self.buffer.scan() and self.is_mounted:
            self.set_timer(0.01, self._scan)
        self._arrange()
        self.redraw()

    def search(self, text: str) -> bool:
        """Highlight ``text`` and go to the nearest match at or above the window's end; False: none."""
        self._search = text
        found = bool(text) and self._seek(min(self.top + self.rows_high, self.total_lines()), -1)
        self.redraw()
        return found

    def search_next(self) -> bool:
        """Go to the next match further down."""
        return bool(self._search) and self._seek(self.top, 1)

    def search_previous(self) -> bool:
        """Go to the next match further up."""
        return bool(self._search) and self._seek(self.top, -1)

    def _seek(self, start: int, step: int) -> bool:
        test = matcher(self._search)
        index = start + step
        while 0 <= index < self.total_lines():
            if test(self.buffer.line(self._number(index))):
                self.top = min(index, self.last_top)
                self.scrolled()
                self.following = False
                self._anchor = self._number(self.top)
                self.redraw()
                return True
            index += step
        return False

    def action_search_step(self, step: int) -> None:
        """Next or previous match."""
        if step > 0:
            self.search_next()
        else:
            self.search_previous()

    def action_follow(self) -> None:
        """Go to the end and follow it."""
        self.scroll_line_to(self.last_top)

    def action_side(self, step: int) -> None:
        """Look at the part of long lines that is off-screen."""
        self._side = max(0, self._side + step * _SIDE_STEP)
        self.redraw()
        self.told()

    # -- drawing -----------------------------------------------------------------------------
    def draw(self, y: int) -> Line:
        """One visible line; the first says what was dropped, the last what waits."""
        buffer, width = self.buffer, self.cols
        count = buffer.selected
        if not count:
            text = self._empty if not len(buffer) else "no line matches the filter"
            return ((inert(f" {text}", max(1, width)), "dim"),) if y == 0 else ()
        if y == self.rows_high - 1 and self.waiting:
            return ((inert(f" {self.waiting:,} new lines below · G follows", max(1, width)), "reverse"),)
        index = self.top + y
        if index == 0 and self._banner:
            return ((inert(f" {self.dropped:,} older lines dropped", max(1, width)), "dim"),)
        if index >= self.total_lines():
            return ()
        number = self._number(index)
        return self._draw_text(buffer.line(number), buffer.origin(number))

    def _draw_text(self, raw: str, origin: Origin) -> Line:
        width = self.cols
        text = inert(raw, self._side + 2 * width + 16)[self._side :]
        style = "warn" if origin.mark else _STYLES.get(level_of(raw, origin.lead), "") if self._levels else ""
        if width_of(text) > width:
            text = text[:width]  # the widget crops wide characters to its own cells
        if not self._search:
            return ((text, style),)
        runs: list[Run] = []
        folded = text if self._search != self._search.lower() else text.lower()
        at = 0
        if len(folded) == len(text):
            while (hit := folded.find(self._search, at)) >= 0:
                stop = hit + len(self._search)
                runs += [(text[at:hit], style), (text[hit:stop], f"{style} match")]
                at = stop
        runs.append((text[at:], style))
        return tuple(run for run in runs if run[0])
