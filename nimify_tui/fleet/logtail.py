"""The newest lines of a demanded log: a bounded ring between the thread that reads logs and the screen."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice

from nimify_tui.domain.demands import LogLine

#: What a screen can be scrolled through; at 5,000 lines/s that is the last four seconds and more than anybody reads.
MAX_LINES = 20_000
#: Characters kept in all, so that few very long lines are bounded too.
MAX_CHARS = 8_000_000


class LogTail:
    """Lines numbered from 0 in the order they came; the oldest fall out first. Safe from any thread."""

    def __init__(self, max_lines: int = MAX_LINES, max_chars: int = MAX_CHARS) -> None:
        self._lines: deque[LogLine] = deque()
        self._max_lines = max(1, max_lines)
        self._max_chars = max_chars
        self._chars = 0
        self._next = 0
        self._left_out = 0
        self._lock = threading.Lock()

    def append(self, lines: Sequence[LogLine]) -> None:
        """Take ``lines`` in, oldest first."""
        with self._lock:
            ring = self._lines
            ring.extend(lines)
            self._next += len(lines)
            self._chars += sum(len(line.text) for line in lines)
            while len(ring) > self._max_lines or (self._chars > self._max_chars and len(ring) > 1):
                self._chars -= len(ring.popleft().text)

    def gap(self, text: str, at: float | None = None) -> None:
        """Mark a place where the stream broke, in the stream itself (run 0, no replica)."""
        with self._lock:
            when = at if at is not None else self._lines[-1].at if self._lines else 0.0
        self.append([LogLine(when, "", 0, f"-- {text} --", mark=True)])

    def leave_out(self, count: int) -> None:
        """Count lines that came faster than they could be read: they were never here, and they are dropped."""
        with self._lock:
            self._left_out += count

    def since(self, seq: int) -> tuple[int, list[LogLine], int]:
        """Lines from number ``seq`` on: (number of the first one given, lines, dropped in all so far)."""
        with self._lock:
            dropped = self._next - len(self._lines)
            first = min(max(seq, dropped), self._next)
            wanted = self._next - first
            tail = list(islice(reversed(self._lines), wanted))
        tail.reverse()
        return first, tail, dropped + self._left_out
