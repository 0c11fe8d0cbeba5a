"""Prompt: the one-line input behind ``/`` (filter) and ``:`` (command), with suggestions and history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.events import Key, Paste
from textual.message import Message

from nimify_tui.ui.widgets.canvas import LineCanvas
from nimify_tui.ui.widgets.cells import Line, Run, clean_spans
from nimify_tui.ui.widgets.lineedit import LineEdit

Suggest = Callable[[str], Sequence[str]]


def _nothing(_: str) -> Sequence[str]:
    return ()


class Prompt(LineCanvas, can_focus=True):
    """Line 0 is the input, lines below (if the widget is higher) list suggestions.

    :meth:`start` opens it with a prefix and takes the focus. Tab completes the first suggestion, enter
    submits, escape cancels, ctrl+u clears, up and down walk the history of the prefix.
    """

    @dataclass(eq=False)
    class Changed(Message):
        """The value changed (filter as you type)."""

        prompt: Prompt
        value: str

        @property
        def control(self) -> Prompt:
            """For ``@on``."""
            return self.prompt

    @dataclass(eq=False)
    class Submitted(Message):
        """Enter."""

        prompt: Prompt
        value: str

        @property
        def control(self) -> Prompt:
            """For ``@on``."""
            return self.prompt

    @dataclass(eq=False)
    class Cancelled(Message):
        """Escape, or backspace in an empty prompt."""

        prompt: Prompt

        @property
        def control(self) -> Prompt:
            """For ``@on``."""
            return self.prompt

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's own parameter name
        super().__init__(id=id, classes=classes)
        self.prefix = ""
        self._hint = ""
        self._edits: dict[str, LineEdit] = {}
        self._edit = LineEdit()
        self._suggest: Suggest = _nothing
        self._suggestions: Sequence[str] = ()
        self._error = ""

    @property
    def value(self) -> str:
        """What is typed."""
        return self._edit.value

    def start(self, prefix: str, value: str = "", *, suggest: Suggest | None = None, hint: str = "") -> None:
        """Open with ``prefix`` (each has its own history); ``hint`` is shown while nothing is typed."""
        self.prefix = prefix
        self._hint = hint
        self._edit = LineEdit(value, self._edits[prefix].history if prefix in self._edits else ())
        self._edits[prefix] = self._edit
        self._suggest = suggest or _nothing
        self._error = ""
        self._refresh_suggestions()
        self.focus()

    def set_history(self, prefix: str, history: Sequence[str]) -> None:
        """History kept from earlier, oldest first."""
        self._edits[prefix] = LineEdit("", history)

    def show_error(self, text: str) -> None:
        """Say in place why the value is not accepted (until the next key)."""
        self._error = text
        self.redraw()

    def _refresh_suggestions(self) -> None:
        self._suggestions = tuple(self._suggest(self.value))[:50]
        self.redraw()

    def draw(self, y: int) -> Line:
        """Input line, or a suggestion."""
        if y:
            if self._error and y == 1:
                return clean_spans([" ", (self._error, "bad")], self.cols)
            index = y - 1
            if index < len(self._suggestions):
                return clean_spans([" ", (self._suggestions[index], "dim")], self.cols)
            return ()
        value, caret = self.value, self._edit.caret
        left = max(0, caret - max(1, self.cols - 8))
        runs: list[Run] = [(self.prefix, "key"), (value[left:caret], "")]
        if caret < len(value):
            runs += [(value[caret], "reverse"), (value[caret + 1 :], "")]
        else:
            rest = self._ghost()
            runs += [(rest[:1] or " ", "reverse"), (rest[1:], "dim")]
        if not value and self._hint:
            runs += [(" ", "dim"), (self._hint, "dim")]
        if self._error and self.rows_high == 1:
            runs += [("  ", "bad"), (self._error, "bad")]
        return clean_spans(runs, self.cols)

    def _ghost(self) -> str:
        """The rest of the first suggestion, when it continues what is typed."""
        first = self._suggestions[0] if self._suggestions and self.value else ""
        return first[len(self.value) :] if first.startswith(self.value) else ""

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Printable keys belong to the input, not to the screen's bindings."""
        return character is not None and character.isprintable()

    def on_paste(self, event: Paste) -> None:
        """Paste the first line of what the terminal sent, made inert."""
        event.stop()
        self._edit.insert(event.text.splitlines()[0] if event.text else "")
        self._changed()

    def on_key(self, event: Key) -> None:
        """Edit, complete, submit or cancel."""
        key = event.key
        edit = self._edit
        if key == "escape" or (key == "backspace" and not edit.value):
            self.post_message(self.Cancelled(self))
        elif key == "enter":
            edit.remember()
            self.post_message(self.Submitted(self, edit.value))
        elif key in ("tab", "right") and (key == "tab" or edit.caret == len(edit.value)):
            if self._suggestions and (key == "tab" or self._ghost()):
                edit.set(self._suggestions[0])
                self._changed()
        elif edit.key(key):
            self._changed()
        elif event.character is not None and event.character.isprintable():
            edit.insert(event.character)
            self._changed()
        else:
            return
        event.stop()
        event.prevent_default()

    def _changed(self) -> None:
        self._error = ""
        self._refresh_suggestions()
        self.post_message(self.Changed(self, self.value))
