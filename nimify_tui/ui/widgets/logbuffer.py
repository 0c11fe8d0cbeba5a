"""The bounded store behind a log view: lines by number, a filter that looks at each line once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, repeat
from sys import getsizeof
from typing import NamedTuple

from nimify_tui.base.text import MAX_LINE_CHARS

#: How many old lines a filter looks at in one go (a batch stays below about 10 ms).
SCAN_BATCH = 5_000


class Origin(NamedTuple):
    """Where a line comes from. ``lead`` characters of ours stand before its own; ``mark``: it is all ours."""

    region: str = ""
    replica: str = ""
    container: str = ""
    lead: int = 0
    mark: bool = False


NOWHERE = Origin()
#: A filter: whether a line from somewhere is shown.
Test = Callable[[str, Origin], bool]


def matcher(wanted: str) -> Callable[[str], bool]:
    """A test for a text in a line; it ignores case unless ``wanted`` has capitals (smart case)."""
    if wanted != wanted.lower():
        return lambda text: wanted in text
    return lambda text: wanted in text.lower()


class LogBuffer:
    """Lines numbered from 0 as they came; the oldest go when ``max_lines`` or ``max_bytes`` is reached."""

    def __init__(self, max_lines: int = 50_000, max_bytes: int = 16_000_000) -> None:
        self.max_lines = max_lines
        self.max_bytes = max_bytes
        self.first = 0
        self.bytes_held = 0
        self._lines: list[str] = []
        self._origins: list[Origin] = []  # of the same lines; few different ones, shared
        self._start = 0
        self._test: Test | None = None
        self._older: list[int] = []  # matches found looking back, newest first
        self._newer: list[int] = []  # matches among lines that came since, oldest first
        self._newer_start = 0
        self._scan_at = 0

    def __len__(self) -> int:
        return len(self._lines) - self._start

    @property
    def end(self) -> int:
        """Number of the next line; also how many there ever were."""
        return self.first + len(self)

    def line(self, number: int) -> str:
        """Line ``number``; IndexError when it was dropped or has not come yet."""
        if not self.first <= number < self.end:
            raise IndexError(number)
        return self._lines[self._start + number - self.first]

    def origin(self, number: int) -> Origin:
        """Where line ``number`` comes from; IndexError as for :meth:`line`."""
        self.line(number)
        return self._origins[self._start + number - self.first]

    def append(self, lines: Iterable[str], origins: Iterable[Origin] = ()) -> None:
        """Add lines; a longer one than 4096 characters is cut (and says so with an ellipsis).

        ``origins`` tells where they come from, one after the other.
        """
        test = self._test
        for text, origin in zip(lines, chain(origins, repeat(NOWHERE))):  # noqa: B905 - the second is endless
            if len(text) > MAX_LINE_CHARS:
                text = text[: MAX_LINE_CHARS - 1] + "…"  # noqa: PLW2901 - the cut line is the line
            if test is not None and test(text, origin):
                self._newer.append(self.end)
            self._lines.append(text)
            self._origins.append(origin)
            self.bytes_held += getsizeof(text)
        while len(self) > self.max_lines or (self.bytes_held > self.max_bytes and len(self) > 1):
            self.bytes_held -= getsizeof(self._lines[self._start])
            self._lines[self._start] = ""
            self._start += 1
            self.first += 1
        if self._start > 4096 and self._start * 2 > len(self._lines):
            del self._lines[: self._start], self._origins[: self._start]
            self._start = 0
        self._forget()

    def clear(self) -> None:
        """Forget all lines; numbering goes on, nothing counts as dropped."""
        self.__init__(self.max_lines, self.max_bytes)  # type: ignore[misc]  # a fresh start is a fresh object

    # -- filter ------------------------------------------------------------------------------
    def set_filter(self, test: Test | None) -> None:
        """Select lines; None selects all. Old lines are looked at by :meth:`scan`."""
        self._older, self._newer, self._newer_start = [], [], 0
        self._test = test
        self._scan_at = self.end

    def scan(self, batch: int = SCAN_BATCH) -> bool:
        """Look at some more old lines, newest first; True when all have been looked at."""
        if self._test is None:
            return True
        stop = max(self.first, self._scan_at - batch)
        test, lines, origins, offset = self._test, self._lines, self._origins, self._start - self.first
        for number in range(self._scan_at - 1, stop - 1, -1):
            if test(lines[number + offset], origins[number + offset]):
                self._older.append(number)
        self._scan_at = stop
        return stop <= self.first

    @property
    def scanning(self) -> bool:
        """Whether a filter has old lines left to look at."""
        return self._test is not None and self._scan_at > self.first

    @property
    def selected(self) -> int:
        """How many lines the filter selects (all without one)."""
        if self._test is None:
            return len(self)
        return len(self._older) + len(self._newer) - self._newer_start

    def number_at(self, index: int) -> int:
        """Line number of the ``index``-th selected line."""
        if self._test is None:
            return self.first + index
        if index < len(self._older):
            return self._older[len(self._older) - 1 - index]
        return self._newer[self._newer_start + index - len(self._older)]

    def _forget(self) -> None:
        while self._older and self._older[-1] < self.first:
            self._older.pop()
        newer, start = self._newer, self._newer_start
        while start < len(newer) and newer[start] < self.first:
            start += 1
        if start > 4096 and start * 2 > len(newer):
            del newer[:start]
            start = 0
        self._newer_start = start
        self._scan_at = max(self._scan_at, self.first)
