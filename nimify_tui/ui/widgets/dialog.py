"""Dialog: a plan to confirm, or a text to read, floating over the screen it belongs to.

Cancel is the default. ``enter`` alone never confirms anything: one object is confirmed with ``y``, many
objects or production by typing the name (then enter).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from textual.app import ComposeResult
from textual.events import Key, Paste
from textual.screen import ModalScreen

from nimify_tui.ui.widgets.cells import Line, Run, SpanLike, clean_spans, fit, line_width
from nimify_tui.ui.widgets.lineedit import LineEdit
from nimify_tui.ui.widgets.scrolling import Scrolling

Result = TypeVar("Result")
Ask = Literal["y", "typed", "none"]
#: Keys that scroll the body: lines, or pages (letters only while no name is typed).
_LINES = {"up": -1, "down": 1, "k": -1, "j": 1}
_PAGES = {"pageup": -1, "pagedown": 1}


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The operator said yes: with ``y``, or by typing ``text``."""

    how: Literal["y", "typed"]
    text: str


class DialogBox(Scrolling, can_focus=True):
    """The frame, its lines, and the line that asks. Made and driven by :class:`Dialog`."""

    def __init__(
        self, title: str, lines: Sequence[Sequence[SpanLike]], ask: Ask, name: str, hint: str, yes: str
    ) -> None:
        super().__init__(id="dialog-box")
        self.edit = LineEdit()
        self.blocked = ""
        self._title = title
        self._rows = lines
        self._ask = ask
        self._wanted = name
        self._hint = hint
        self._yes = yes

    def set_rows(self, lines: Sequence[Sequence[SpanLike]]) -> None:
        """Other lines; the frame keeps its size."""
        self._rows = lines
        self.top = min(self.top, self.last_top)
        self.redraw()

    def total_lines(self) -> int:
        """Lines of the body."""
        return len(self._rows)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """While a name is typed, letters are letters."""
        return self._ask == "typed" and character is not None and character.isprintable()

    @property
    def last_top(self) -> int:
        """The body is four lines lower than the frame (two borders, a blank, the question)."""
        return max(0, len(self._rows) - self._body)

    @property
    def _body(self) -> int:
        return max(1, self.rows_high - 4)

    def draw(self, y: int) -> Line:
        """A line of the frame."""
        top_left, dash, top_right, side, low_left, low_right = tuple(self.glyphs.box)
        inner, last = max(0, self.cols - 2), self.rows_high - 1
        if y == 0:
            title = clean_spans([(f" {self._title} ", "title")], max(0, inner - 2))
            fill = dash * max(0, inner - 1 - line_width(title))
            return ((top_left + dash, "rule"), *title, (fill + top_right, "rule"))
        if y == last:
            return ((low_left + dash * inner + low_right, "rule"),)
        if y == last - 1:
            content = self._question(inner - 2)
        elif y == last - 2:
            hidden = self.total_lines() - self.top - self._body
            more = fit(f"{self.glyphs.ellipsis}{hidden} more, down scrolls", inner - 2)
            content = ((more, "dim"),) if hidden > 0 else ()
        else:
            index = self.top + y - 1
            content = clean_spans(self._rows[index], inner - 2) if index < len(self._rows) else ()
        pad = max(0, inner - 1 - line_width(content))
        return ((side, "rule"), (" ", ""), *content, (" " * pad, ""), (side, "rule"))

    def _question(self, width: int) -> Line:
        if self.blocked:
            return clean_spans([(self.blocked, "bad"), ("   esc closes", "dim")], width)
        if self._ask == "none":
            return clean_spans([(self._hint or "esc closes", "dim")], width)
        end: tuple[Run, ...] = clean_spans([(self._hint or "esc cancels (default)", "dim")], width)
        if self._ask == "y":
            start = clean_spans([("y", "key"), f" {self._yes}"], width)
        else:
            value = self.edit.value
            style = "ok" if value == self._wanted else ""
            asked: list[SpanLike] = [
                "type  ",
                (self._wanted, "bold"),
                "  to go on: ",
                (value, style),
                (" ", "reverse"),
            ]
            if value == self._wanted:
                asked.append(("  enter", "key"))
            start = clean_spans(asked, width)
        gap = width - line_width(start) - line_width(end)
        return (*start, (" " * gap, ""), *end) if gap > 0 else start


class Floating(ModalScreen[Result]):
    """What floats over a screen and takes every key.

    The app hands keys over directly, each done before the next: one that closes it is the last one that
    comes here, and what was typed behind it goes to the screen below.
    """

    @abstractmethod
    def take_key(self, event: Key) -> None:
        """Do what this key means here."""

    def on_key(self, event: Key) -> None:
        """The same in an app that does not hand keys over itself; nothing passes to the screen below."""
        event.stop()
        event.prevent_default()
        if self.is_current:
            self.take_key(event)


class Dialog(Floating[Confirmed | None]):
    """``result = await app.push_screen_wait(Dialog("plan", lines, ask="typed", name="llama-chat"))``.

    lines: spans for each line. ask: "y", "typed" (``name`` must be typed) or "none" (only to read).
    hint: the text at the right of the question; yes: what y does. Returns :class:`Confirmed`, or None for cancelled.
    ``width``: cells of the frame (at most the screen's).
    """

    def __init__(
        self,
        title: str,
        lines: Sequence[Sequence[SpanLike]],
        *,
        ask: Ask = "none",
        name: str = "",
        hint: str = "",
        width: int = 86,
        yes: str = "goes on",
        blocked: str = "",
    ) -> None:
        super().__init__()
        if ask == "typed" and not name:
            raise ValueError("a typed confirmation needs the name that is to be typed")
        self._ask = ask
        self._wanted = name
        self._width = width
        self._box = DialogBox(title, lines, ask, name, hint, yes)
        self._box.blocked = blocked
        self._height = len(lines) + 4

    def compose(self) -> ComposeResult:
        """The frame alone."""
        yield self._box

    def on_mount(self) -> None:
        """Give the frame its size, once."""
        self._box.styles.width = min(self._width, self.app.size.width - 2)
        self._box.styles.height = min(self._height, self.app.size.height - 2)
        self._box.focus()

    def set_lines(self, lines: Sequence[Sequence[SpanLike]]) -> None:
        """Change the body while it is open (an answer came in)."""
        self._box.set_rows(lines)

    def set_blocked(self, reason: str) -> None:
        """Do not let it be confirmed, and say why; "" lifts it."""
        self._box.blocked = reason
        self._box.redraw()

    def take_key(self, event: Key) -> None:
        """Confirm, cancel, scroll, or edit the typed name."""
        key, box = event.key, self._box
        typing = self._ask == "typed" and not box.blocked
        closing = ("enter", "n", "q") if self._ask == "none" else () if typing else ("n", "q")
        if key in ("escape", "ctrl+c") or key in closing:
            self.dismiss(None)
        elif key in _PAGES:
            box.action_scroll_pages(_PAGES[key])
        elif key in ("up", "down") or (key in _LINES and not typing):
            box.action_scroll_by(_LINES[key])
        elif box.blocked:
            return
        elif self._ask == "y" and key in ("y", "Y"):
            self.dismiss(Confirmed("y", ""))
        elif typing:
            self._type(event)

    def _type(self, event: Key) -> None:
        edit = self._box.edit
        if event.key == "enter":
            if edit.value == self._wanted:
                self.dismiss(Confirmed("typed", edit.value))
            return
        if not edit.key(event.key) and event.character is not None and event.character.isprintable():
            edit.insert(event.character)
        self._box.redraw()

    def on_paste(self, event: Paste) -> None:
        """A name is typed, not pasted: that is what makes it a confirmation."""
        event.stop()
