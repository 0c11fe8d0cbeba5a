"""The bytes of a pod's log stream as stamped lines, and which of them were seen before. No I/O, no clock.

A line comes as ``2026-11-23T10:00:00.123456789Z text`` (``timestamps=true``); its zone is the node's own.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter, deque
from typing import NamedTuple

#: A line is cut here: nobody reads more, and a writer without newlines must not fill the memory.
LINE_BYTES = 32 * 1024
#: ``sinceTime`` reaches a node in whole seconds, and the two outputs of a container are not quite in order:
#: so much is asked for again after a break, and so much is remembered.
AGAIN_NS = 1_000_000_000
WINDOW_NS = 2 * AGAIN_NS
#: Lines remembered for each stream.
WINDOW_LINES = 8_192
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")


class Stamped(NamedTuple):
    """One line: when it was written (unix nanoseconds, None when it bears no stamp) and its text."""

    at_ns: int | None
    text: bytes


class Cutter:
    """Pieces of a stream as whole lines; of a line above ``LINE_BYTES`` the beginning, always the same."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False
        self._second: tuple[bytes, int] = (b"", 0)

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are complete now, without their newlines."""
        if self._skipping:
            _, found, piece = piece.partition(b"\n")
            if not found:
                return []
            self._skipping = False
        *lines, self._rest = (self._rest + piece).split(b"\n")
        lines = [line[:LINE_BYTES] for line in lines]
        if len(self._rest) >= LINE_BYTES:
            lines.append(self._rest[:LINE_BYTES])
            self._rest, self._skipping = b"", True
        return lines

    def pass_over(self, piece: bytes) -> tuple[int, bytes]:
        """Count the lines of a piece without reading them: (how many, the last one)."""
        head, found, tail = piece.rpartition(b"\n")
        if not found:
            # At most one piece of a line is in hand, so this ends soon.
            lines = self.feed(piece)
            return len(lines), lines[-1] if lines else b""
        count = head.count(b"\n") + 1
        last = head.rpartition(b"\n")[2] if b"\n" in head else b"" if self._skipping else self._rest + head
        self._rest, self._skipping = tail, False
        if len(tail) >= LINE_BYTES:
            self._rest, self._skipping = b"", True
        return count, last[:LINE_BYTES]

    def stamped(self, line: bytes) -> Stamped:
        """A line taken apart; most lines share their second with the one before."""
        match = _STAMP.match(line)
        if match is None:
            return Stamped(None, line)
        second, digits, zone = match.groups()
        key = second + zone
        if key != self._second[0]:
            try:
                moment = datetime.datetime.fromisoformat(key.decode())
            except ValueError:
                return Stamped(None, line)
            self._second = (key, round(moment.timestamp()))
        return Stamped(
            self._second[1] * 1_000_000_000 + int((digits or b"").ljust(9, b"0")), line[match.end() :]
        )


class Overlap:
    """The end of a stream as it was seen, so that what is sent again after a break is known as such."""

    def __init__(self) -> None:
        self.last_ns = 0
        self._seen: deque[tuple[int, int]] = deque()
        self._forgotten_ns = -1
        self._again: Counter[int] = Counter()
        self._again_until_ns = -1

    def new(self, at_ns: int, line: bytes) -> bool:
        """Whether ``line`` (stamp and text) was not seen before the last break; it is remembered."""
        key = hash(line)
        if at_ns <= self._again_until_ns:
            if at_ns <= self._forgotten_ns:
                return False
            if self._again[key] > 0:
                self._again[key] -= 1
                return False
        self._seen.append((at_ns, key))
        self.last_ns = max(self.last_ns, at_ns)
        oldest_ns = self.last_ns - WINDOW_NS
        while self._seen[0][0] < oldest_ns:
            self._forgotten_ns = max(self._forgotten_ns, self._seen.popleft()[0])
        if len(self._seen) > WINDOW_LINES:
            self._forgotten_ns = max(self._forgotten_ns, self._seen.popleft()[0])
        return True

    def passed_over(self, at_ns: int) -> None:
        """Lines up to ``at_ns`` were left out: they are not asked for again."""
        self._seen.clear()
        self.last_ns = self._forgotten_ns = max(self.last_ns, at_ns)

    def resume(self) -> str:
        """After a break: ``sinceTime`` for the next request ("" when no line was seen yet)."""
        if not self.last_ns:
            return ""
        self._again = Counter(key for _, key in self._seen)
        self._again_until_ns = self.last_ns
        since_s = (self.last_ns - AGAIN_NS) // 1_000_000_000
        moment = datetime.datetime.fromtimestamp(since_s, datetime.UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
