"""The text of a one-line input: value, caret, history. No drawing, no Textual."""

from __future__ import annotations

from collections.abc import Sequence

from nimify_tui.base.text import clean_line

#: Longer input than this is of no use in a filter or a command.
MAX_INPUT_CHARS = 256


class LineEdit:
    """A value with a caret; up and down walk the history, newest first."""

    def __init__(self, value: str = "", history: Sequence[str] = ()) -> None:
        self.value = value
        self.caret = len(value)
        self.history = list(history)
        self._at = len(self.history)
        self._draft = ""

    def set(self, value: str) -> None:
        """Replace the value, caret at the end."""
        self.value = value
        self.caret = len(value)

    def insert(self, text: str) -> None:
        """Put ``text`` (made inert) at the caret."""
        text = clean_line(text, MAX_INPUT_CHARS)[: max(0, MAX_INPUT_CHARS - len(self.value))]
        self.value = self.value[: self.caret] + text + self.value[self.caret :]
        self.caret += len(text)

    def key(self, key: str) -> bool:
        """Apply an editing key by Textual's name; False when it is not one."""
        before, after = self.value[: self.caret], self.value[self.caret :]
        if key == "backspace":
            self.value, self.caret = before[:-1] + after, max(0, self.caret - 1)
        elif key == "delete":
            self.value = before + after[1:]
        elif key == "ctrl+u":
            self.set("")
        elif key == "ctrl+w":
            kept = before.rstrip().rpartition(" ")[0]
            kept = kept + " " if kept else ""
            self.value, self.caret = kept + after, len(kept)
        elif key == "ctrl+k":
            self.value = before
        elif key == "left":
            self.caret = max(0, self.caret - 1)
        elif key == "right":
            self.caret = min(len(self.value), self.caret + 1)
        elif key in ("home", "ctrl+a"):
            self.caret = 0
        elif key in ("end", "ctrl+e"):
            self.caret = len(self.value)
        elif key in ("up", "down"):
            self._walk(-1 if key == "up" else 1)
        else:
            return False
        return True

    def _walk(self, step: int) -> None:
        if self._at == len(self.history):
            self._draft = self.value
        at = min(len(self.history), max(0, self._at + step))
        if at != self._at:
            self._at = at
            self.set(self._draft if at == len(self.history) else self.history[at])

    def remember(self) -> None:
        """Put the value at the end of the history (once, at most 100)."""
        if self.value:
            self.history = [*[one for one in self.history if one != self.value][-99:], self.value]
        self._at = len(self.history)
