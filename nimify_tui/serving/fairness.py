"""The queue before a model: round robin over clients, so that a greedy one only ever waits for itself.

Source: fair queueing of Nagle (RFC 970) with Suter's longest queue drop when it is full (as RFC 8290 does):
a client with less than its share takes the newest place of the client that holds the most.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar

#: So far into one client's queue a batch is looked for; beyond it, the next run will.
_LOOK = 64


class Queued(Protocol):
    """What stands in the queue. ``key``: what may share a run is equal in it, None: it runs alone."""

    client: str
    key: Hashable
    rows: float


Q = TypeVar("Q", bound=Queued)


class FairQueue(Generic[Q]):
    """Places of waiting requests, by client. Not safe for threads: the scheduler holds its lock."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[Q]] = OrderedDict()
        self._count = 0
        #: Sum of the rows that wait.
        self.rows = 0.0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Q]:
        for line in self._clients.values():
            yield from line

    @property
    def clients(self) -> int:
        """Clients with something that waits."""
        return len(self._clients)

    def of(self, client: str) -> int:
        """How many of this client's wait."""
        return len(self._clients.get(client, ()))

    def ahead(self, client: str) -> tuple[int, float]:
        """How many requests and rows are run before a new one of this client, about."""
        own = self.of(client) + 1
        count, rows = 0, 0.0
        mean = self.rows / self._count if self._count else 0.0
        for name, line in self._clients.items():
            before = len(line) if name == client else min(len(line), own)
            count += before
            rows += before * mean
        return count, rows

    def push(self, item: Q) -> None:
        """To the end of its client's line."""
        self._clients.setdefault(item.client, deque()).append(item)
        self._count += 1
        self.rows += item.rows

    def remove(self, item: Q) -> bool:
        """Take it out, wherever it stands; False when it is not here."""
        line = self._clients.get(item.client)
        if line is None:
            return False
        try:
            line.remove(item)
        except ValueError:
            return False
        self._left(item, line)
        return True

    def displaceable(self, client: str) -> Q | None:
        """Whose place a new one of ``client`` may take: the newest of the longest line, if that is longer by two.

        By two: else two clients of equal need would push each other out forever.
        """
        longest = max(self._clients.values(), key=len, default=None)
        if longest is None or len(longest) < self.of(client) + 2:
            return None
        return longest[-1]

    def take(self, max_rows: float) -> list[Q]:
        """The next run: the oldest of the client whose turn it is, and what may share its run, up to the rows."""
        if not self._count:
            return []
        first = self._next(None, float("inf"))
        assert first is not None
        taken, rows = [first], first.rows
        if first.key is None:
            return taken
        while rows < max_rows and (item := self._next(first.key, max_rows - rows)) is not None:
            taken.append(item)
            rows += item.rows
        return taken

    def _next(self, key: Hashable, room: float) -> Q | None:
        """One fitting item of the next client that has one; that client goes to the end of the round."""
        for client, line in self._clients.items():
            for at, item in enumerate(line):
                if key is None or (item.key == key and item.rows <= room):
                    del line[at]
                    self._clients.move_to_end(client)
                    self._left(item, line)
                    return item
                if at >= _LOOK:
                    break
        return None

    def _left(self, item: Q, line: deque[Q]) -> None:
        self._count -= 1
        self.rows = self.rows - item.rows if self._count else 0.0
        if not line:
            del self._clients[item.client]
